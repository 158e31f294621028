// Where reports wait: in memory, then in a file, and back as they were.
#include "commands/report_shelf.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <sstream>

#include "base/ids.hpp"
#include "json/value.hpp"
#include "term/writer.hpp"

using namespace kfab;
using namespace kfab::commands;

namespace {

struct Folder {
  std::filesystem::path path = std::filesystem::temp_directory_path() / ("kfab-shelf-test-" + random_hex(6));
  Folder() { std::filesystem::create_directories(path); }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

ValidatedNode node_of(const std::string& name) {
  ValidatedNode node;
  node.name = name;
  node.report.accelerators.push_back({"GPU-" + name, "cuda", "H200", "", "", 0});
  node.report.measurements.push_back({"GPU-" + name, "cuda", "memory", "memory.gbps", "gbps", 4321.5, {1, 2, 3}, "", "by " + name});
  node.report.statuses.push_back({"GPU-" + name, "cuda", "memory", validation::TestState::ran, "", "", 1});
  node.report.truncated = true;
  node.judgement.verdict = Verdict::fail;
  node.judgement.reasons = {"slow", "hot"};
  node.judgement.accelerators.push_back({"GPU-" + name, "cuda", "H200", 0, Verdict::fail, {"slow", "hot"}});
  node.judgement.criteria.push_back({});
  return node;
}

}  // namespace

TEST_CASE("what is more than the shelf holds goes to a file without a name, and all of it comes back") {
  const Folder folder;
  Shelf shelf(folder.path, 1000);
  std::vector<std::string> all;
  for (int i = 0; i < 50; ++i) all.push_back(std::string(static_cast<std::size_t>(i * 7), static_cast<char>('a' + i % 26)) + std::to_string(i));
  for (const auto& bytes : all) shelf.put(bytes);
  CHECK(shelf.bytes_in_file() > 5000);
  CHECK(std::filesystem::is_empty(folder.path));
  for (std::size_t i = all.size(); i-- > 0;) CHECK(shelf.get(i) == all[i]);
}

TEST_CASE("where there can be no file it stays in memory") {
  Shelf shelf("/nowhere/at/all", 10);
  const std::string bytes(100, 'x');
  const std::size_t first = shelf.put(bytes), second = shelf.put(bytes + "y");
  CHECK(shelf.bytes_in_file() == 0);
  CHECK(shelf.get(first) == bytes);
  CHECK(shelf.get(second) == bytes + "y");
}

TEST_CASE("a node that was put away says the same in short, and is whole when it is asked for") {
  const Folder folder;
  for (const std::size_t held : {std::size_t{0}, Shelf::held}) {
    auto shelf = std::make_shared<Shelf>(folder.path, held);
    ValidatedNode node = node_of("n1"), other = node_of("n2");
    put_away(node, shelf);
    put_away(other, shelf);
    CHECK((shelf->bytes_in_file() > 0) == (held == 0));
    shelf.reset();   // the nodes keep it
    CHECK(node.judgement.verdict == Verdict::fail);
    CHECK(node.judgement.reason() == node_of("n1").judgement.reason());
    CHECK(node.judgement.accelerators.at(0).reason() == node_of("n1").judgement.accelerators.at(0).reason());
    CHECK(node.judgement.criteria.capacity() == 0);
    CHECK(node.report.measurements.capacity() == 0);
    CHECK(node.report.statuses.capacity() == 0);
    CHECK(node.report.accelerators.size() == 1);
    const WithReport whole(node);
    CHECK(whole->report.measurements.at(0).detail == "by n1");
    CHECK(whole->report.measurements.at(0).samples.size() == 3);
    CHECK(whole->report.statuses.size() == 1);
    CHECK(whole->report.truncated);
    CHECK(whole->judgement.reasons == std::vector<std::string>{"slow", "hot"});
    CHECK(whole->judgement.criteria.size() == 1);
    // Judged anew, with another outcome: that is what there is from then on.
    take_report(node);
    CHECK(node.report.measurements.size() == 1);
    node.judgement = {};
    node.judgement.verdict = Verdict::pass;
    put_away(node, nullptr);
    CHECK(node.report.measurements.empty());
    CHECK(WithReport(node)->judgement.verdict == Verdict::pass);
    CHECK(WithReport(node)->judgement.criteria.empty());
    CHECK(WithReport(node)->report.measurements.at(0).detail == "by n1");
    CHECK(WithReport(other)->report.measurements.at(0).detail == "by n2");
  }
}

TEST_CASE("the rows of a result are whole, one at a time and in the order of the nodes") {
  const Folder folder;
  const auto shelf = std::make_shared<Shelf>(folder.path, 0);
  ValidateResult result;
  for (const char* name : {"b", "a"}) {
    result.nodes.push_back(node_of(name));
    result.nodes.back().row.set("node", name);
  }
  std::vector<std::string> before, after;
  const auto rows = [](const ValidateResult& of, std::vector<std::string>& into) {
    rows_of_nodes(std::make_shared<const ValidateResult>(of)).each([&](json::Value row) { into.push_back(json::dump(row)); });
  };
  rows(result, before);
  for (auto& node : result.nodes) put_away(node, shelf);
  rows(result, after);
  REQUIRE(after.size() == 2);
  CHECK(after == before);
  CHECK(after[0].find("by b") != std::string::npos);
  const json::Value told = to_json(result);
  REQUIRE(told["nodes"].as_array());
  CHECK(told["nodes"].as_array()->empty());
  CHECK(told["verdicts"].int_or("fail", 0) == 2);
}

TEST_CASE("a node that lacks an accelerator is no pass in the table, though all that are there pass") {
  ValidateResult result;
  ValidatedNode node = node_of("n1");
  node.judgement.accelerators[0].verdict = Verdict::pass;
  node.judgement.accelerators[0].reasons.clear();
  node.judgement.reasons = {"1 of 2 accelerators found"};
  node.judgement.of_node = node.judgement.reasons;
  node.judgement.of_node_verdict = Verdict::fail;
  const auto shown = [&] {
    result.nodes = {node};
    std::ostringstream text;
    term::Writer out(text, {});
    render(result, out);
    return text.str();
  };
  for (const bool away : {false, true}) {
    const Folder folder;
    if (away) put_away(node, std::make_shared<Shelf>(folder.path, 0));
    CHECK(shown().find("fail     the node") != std::string::npos);
    CHECK(shown().find("1 of 2 accelerators found") != std::string::npos);
    CHECK(shown().find("pass     GPU-n1") != std::string::npos);
  }
}

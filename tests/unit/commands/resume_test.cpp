// Which run `kfab resume` means where none is named, and what it says of the newest where that is not it.
#include <doctest/doctest.h>

#include <filesystem>

#include "base/codes/plan.hpp"
#include "base/ids.hpp"
#include "commands/resume.hpp"
#include "fake_env.hpp"

using namespace kfab;
using namespace kfab::commands;

namespace {

struct History : kfab::test::World {
  std::filesystem::path dir = std::filesystem::temp_directory_path() / ("kfab-resume-test-" + random_hex(6));
  int count = 0;

  History() { env.state_dir = dir; }
  ~History() {
    std::error_code ignored;
    std::filesystem::remove_all(dir, ignored);
  }

  // A run that began after all before it; its nodes ended so. Without nodes it kept no work.
  struct Node { std::string name; NodeOutcome outcome; Verdict verdict; };
  std::string run(const std::string& command, const std::vector<Node>& nodes, std::optional<Outcome> outcome, const std::string& continues = {}) {
    auto store = store::Store::open(dir, "here");
    REQUIRE(store);
    store::RunRecord run;
    run.id = "20261121T00000" + std::to_string(++count) + "Z-000000";
    run.command = command;
    run.argv = {command, "site.yaml"};
    run.site = "here";
    run.started_at = clock.now() + std::chrono::minutes(count);
    REQUIRE((*store)->begin_run(run, continues));
    if (!nodes.empty()) {
      std::vector<std::pair<std::string, std::string>> work;
      for (const auto& node : nodes) work.emplace_back(node.name, "digest");
      REQUIRE((*store)->put_work(run.id, work_document(run.argv, "", work)));
    }
    for (const auto& [name, node_outcome, verdict] : nodes) {
      store::NodeRecord record;
      record.run_id = run.id;
      record.node = name;
      record.step = std::string(step_of(command));
      record.at = run.started_at;
      record.outcome = node_outcome;
      record.verdict = verdict;
      REQUIRE((*store)->put(record));
    }
    if (outcome) REQUIRE((*store)->finish_run(run.id, *outcome, run.started_at));
    return run.id;
  }

  ToResume found(const std::string& wanted = {}) {
    auto found = find_resumable(wanted, env);
    REQUIRE(found);
    return std::move(*found);
  }
  CommandOutput told() {
    const ToResume newest = found();
    REQUIRE(std::holds_alternative<PassedOver>(newest.what));
    return run_resume(std::get<PassedOver>(newest.what));
  }
};

constexpr auto ok = NodeOutcome::ok, refused = NodeOutcome::failed;
constexpr auto pass = Verdict::pass, fail = Verdict::fail, not_judged = Verdict::not_judged;
bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE_FIXTURE(History, "the newest run speaks, and not an older one of which nothing is left") {
  run("provision", {{"a", ok, pass}}, Outcome::yes);
  SUBCASE("its tests failed") {
    const std::string id = run("validate", {{"a", ok, fail}, {"b", ok, pass}}, Outcome::no);
    const CommandOutput output = told();
    CHECK(output.outcome == Outcome::no);
    CHECK(contains(test::rendered(output), "The newest run, " + id + ", ended with no: kfab validate site.yaml"));
    REQUIRE(output.diagnostics.size() == 1);
    CHECK(output.diagnostics[0].code == code::run_passed_over);
    CHECK(contains(output.diagnostics[0].help.at(0), "its tests of 2 nodes are over"));
  }
  SUBCASE("nodes refused its tests") {
    const std::string id = run("validate", {{"a", refused, not_judged}, {"b", ok, pass}}, Outcome::incomplete);
    const CommandOutput output = told();
    CHECK(output.outcome == Outcome::incomplete);
    REQUIRE(output.diagnostics.size() == 1);
    CHECK(contains(output.diagnostics[0].message, id + ", ended with incomplete"));
    CHECK(contains(output.diagnostics[0].help.at(0), "1 of 2 nodes not tested to the end: kfab resume " + id));
    CHECK(std::get<Resumable>(found(id).what).left.contains("a"));   // what is advised can be done
  }
  SUBCASE("it kept no work") {
    const std::string id = run("inventory", {}, Outcome::no);
    const CommandOutput output = told();
    CHECK(output.outcome == Outcome::no);
    CHECK(contains(output.diagnostics.at(0).help.at(0), "kfab runs " + id));
  }
  SUBCASE("it was killed before it kept any") {
    run("provision", {}, {});
    const CommandOutput output = told();
    CHECK(output.outcome == Outcome::incomplete);
    CHECK(contains(test::rendered(output), "has no end on record"));
  }
  SUBCASE("its answer was yes: there is nothing to warn of") {
    run("validate", {{"a", ok, pass}}, Outcome::yes);
    const CommandOutput output = told();
    CHECK(output.outcome == Outcome::yes);
    CHECK(output.diagnostics.empty());
  }
}

TEST_CASE_FIXTURE(History, "an older run of which something is left is gone on with, and the newest is told beside it") {
  const std::string cut = run("provision", {{"a", ok, pass}, {"b", refused, fail}}, Outcome::no);
  const std::string tests = run("validate", {{"a", ok, fail}}, Outcome::no);
  run("inventory", {}, Outcome::yes);   // hides nothing
  ToResume found = this->found();
  REQUIRE(std::holds_alternative<Resumable>(found.what));
  CHECK(std::get<Resumable>(found.what).run_id == cut);
  REQUIRE(found.newer);
  CHECK(found.newer->run.id == tests);
  CHECK(told_of(*found.newer));
  run("validate", {{"a", ok, pass}}, Outcome::yes);   // made good
  found = this->found();
  CHECK(std::holds_alternative<Resumable>(found.what));
  CHECK_FALSE(told_of(found.newer.value()));
}

TEST_CASE_FIXTURE(History, "a plan or an inventory that went well hides no older run") {
  const std::string done = run("provision", {{"a", ok, pass}}, Outcome::yes);
  run("plan", {}, Outcome::yes);
  const ToResume found = this->found();
  REQUIRE(std::holds_alternative<Resumable>(found.what));
  CHECK(std::get<Resumable>(found.what).run_id == done);
}

TEST_CASE_FIXTURE(History, "a run that goes on with another is not told as the newest beside it") {
  const std::string first = run("provision", {{"a", ok, pass}, {"b", refused, fail}}, Outcome::no);
  run("provision", {}, Outcome::invalid, first);   // asked, and not agreed to
  const ToResume found = this->found();
  CHECK(std::holds_alternative<Resumable>(found.what));
  CHECK_FALSE(found.newer);
}

TEST_CASE_FIXTURE(History, "only a run that is named, or a history without any, has nothing to be gone on with") {
  const auto none = find_resumable("", env);
  REQUIRE_FALSE(none);
  CHECK(none.error().code == code::nothing_to_resume);
  const std::string id = run("inventory", {}, Outcome::yes);
  CHECK(find_resumable("", env));
  const auto named = find_resumable(id, env);
  REQUIRE_FALSE(named);
  CHECK(named.error().code == code::nothing_to_resume);
  CHECK_FALSE(find_resumable("", env, Wanted::detached_tests));
}

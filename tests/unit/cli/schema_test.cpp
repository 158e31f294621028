#include <doctest/doctest.h>

#include <filesystem>
#include <sstream>

#include "base/text.hpp"
#include "cli/process.hpp"
#include "json/schema.hpp"
#include "unit/cli/schema_check.hpp"

using namespace kfab;

namespace {

std::string output_of(std::vector<std::string> words) {
  std::istringstream in;
  std::ostringstream out, err;
  const auto clock = make_system_clock();
  cli::Process process({.words = std::move(words),
                        .in = in,
                        .out = out,
                        .err = err,
                        .getenv = [](std::string_view name) { return name == "HOME" ? std::optional<std::string>("/nonexistent") : std::nullopt; },
                        .clock = *clock,
                        .facts = [](int, term::ColourChoice, const term::Getenv&) { return term::StreamFacts{}; }});
  process.run();
  return out.str();
}

// The document fits the schema that it names, and says everything that the schema knows of its root.
void check_document(const json::Value& document) {
  const json::PublishedSchema* published = json::find_schema(document.string_or("schema"));
  REQUIRE(published != nullptr);
  const auto schema = json::parse(published->text);
  REQUIRE(schema.has_value());
  for (const std::string& problem : SchemaCheck(*schema).problems(document)) FAIL_CHECK(problem);
}

const std::string small_site = std::string(KFAB_SOURCE_DIR) + "/tests/golden/site.yaml";

}  // namespace

TEST_CASE("every schema is a schema, and every file of them is published") {
  std::size_t files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(std::string(KFAB_SOURCE_DIR) + "/lib/json/schemas")) ++files;
  CHECK(files == json::published_schemas().size());
  std::string_view before;
  for (const json::PublishedSchema& row : json::published_schemas()) {
    CAPTURE(row.name);
    CHECK(before < row.name);
    before = row.name;
    CHECK_FALSE(row.about.empty());
    const auto schema = json::parse(row.text);
    REQUIRE(schema.has_value());
    CHECK(schema->string_or("$schema") == "https://json-schema.org/draft/2020-12/schema");
    CHECK(json::find_schema(row.name) == &row);
    for (const std::string& problem : SchemaCheck(*schema).problems(json::Value(1)))
      CHECK_MESSAGE(problem.find("does not know") == std::string::npos, problem);
  }
  CHECK(json::find_schema("kfab.exec/1") == json::find_schema("kfab.exec/1.1"));
  CHECK(json::find_schema("exec") == json::find_schema("kfab.exec/1.1"));
  CHECK(json::find_schema("kfab.exec/2") == nullptr);
  CHECK(json::find_schema("") == nullptr);
}

TEST_CASE("the check itself finds what is missing, of a wrong type, or no word of an enumeration") {
  const auto schema = json::parse(json::find_schema("kfab.version/1.1")->text);
  auto document = json::parse(output_of({"version", "-o", "json"}));
  REQUIRE(document.has_value());
  CHECK(SchemaCheck(*schema).problems(*document).empty());
  json::Object changed = *document->as_object();
  changed.set("outcome", "perhaps").set("exit_code", "0").set("data", json::Object{{"version", 1}});
  const auto problems = join(SchemaCheck(*schema).problems(changed), "\n");
  CHECK(problems.find("$.outcome") != std::string::npos);
  CHECK(problems.find("$.exit_code") != std::string::npos);
  CHECK(problems.find("$.data: has no devices") != std::string::npos);
}

TEST_CASE("what commands print fits the schema that it names, failures too") {
  for (const auto& words : std::vector<std::vector<std::string>>{{"version"},
                                                                  {"explain"},
                                                                  {"explain", "nonsense"},
                                                                  {"help"},
                                                                  {"help", "exec"},
                                                                  {"schema"},
                                                                  {"schema", "exec"},
                                                                  {"completion", "zsh"},
                                                                  {"lint", small_site, "/nonexistent.yaml"},
                                                                  {"show", small_site, "--each-node"},
                                                                  {"nodeset", "expand", "a[1-3]"},
                                                                  {"nodeset", "split", "a[1-3]", "--parts", "2"},
                                                                  {"readiness", small_site},
                                                                  {"report", small_site, "--format", "csv"},
                                                                  {"plan", "/nonexistent.yaml"},
                                                                  {"exec", small_site, "-w", "nobody", "--", "true"}}) {
    CAPTURE(join(words, " "));
    auto with_json = words;
    with_json.insert(with_json.begin(), {"-o", "json"});
    const auto document = json::parse(output_of(with_json));
    REQUIRE(document.has_value());
    check_document(*document);
  }
}

TEST_CASE("every shipped site shows and is judged in documents of their schemas") {
  const std::filesystem::path sites = std::string(KFAB_SOURCE_DIR) + "/manifests/sites";
  if (!std::filesystem::exists(sites)) return;
  for (const auto& entry : std::filesystem::directory_iterator(sites)) {
    if (entry.path().extension() != ".yaml") continue;
    CAPTURE(entry.path().string());
    for (const char* command : {"lint", "show", "readiness"}) {
      const auto document = json::parse(output_of({command, entry.path().string(), "-o", "json"}));
      REQUIRE(document.has_value());
      check_document(*document);
    }
  }
}

TEST_CASE("every line of -o ndjson fits the schema of events") {
  const auto schema = json::parse(json::find_schema("kfab.events/1.0")->text);
  const std::string stream = output_of({"explain", "KF1201", "-o", "ndjson"});
  const auto lines = split_lines(stream);
  REQUIRE(lines.size() == 2);
  for (const auto line : lines) {
    const auto document = json::parse(line);
    REQUIRE(document.has_value());
    for (const std::string& problem : SchemaCheck(*schema).problems(*document)) FAIL_CHECK(problem);
  }
}

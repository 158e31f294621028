#include <doctest/doctest.h>

#include <cerrno>
#include <map>
#include <sstream>

#include "base/codes/internal.hpp"
#include "base/codes/manifest.hpp"
#include "cli/diagnostics.hpp"
#include "cli/process.hpp"
#include "json/value.hpp"

using namespace kfab;
using namespace kfab::cli;

namespace {

struct Ended {
  int code;
  std::string out, err;
};

Ended run(std::vector<std::string> words, std::map<std::string, std::string> variables = {{"HOME", "/nonexistent"}}) {
  std::istringstream in;
  std::ostringstream out, err;
  const auto clock = make_system_clock();
  Process process({.words = std::move(words),
                   .in = in,
                   .out = out,
                   .err = err,
                   .getenv = [&](std::string_view name) -> std::optional<std::string> {
                     const auto found = variables.find(std::string(name));
                     return found == variables.end() ? std::nullopt : std::optional(found->second);
                   },
                   .clock = *clock,
                   .facts = [](int, term::ColourChoice, const term::Getenv&) { return term::StreamFacts{}; }});
  const int code = process.run();
  return {code, out.str(), err.str()};
}

const std::vector<std::string> envelope_keys{"schema", "kfab", "run", "site", "outcome", "exit_code", "data", "diagnostics"};

std::vector<std::string> keys(const json::Value& object) {
  std::vector<std::string> out;
  if (object.as_object() != nullptr)
    for (const auto& [key, value] : object.as_object()->members()) out.push_back(key);
  return out;
}

}  // namespace

TEST_CASE("a usage error leaves stdout empty and ends with 2, whatever the format") {
  for (const auto& words : {std::vector<std::string>{}, {"nonsense", "-o", "json"}, {"version", "--bogus", "-o", "ndjson"}, {"plan", "-o", "json"}}) {
    const Ended ended = run(words);
    CHECK(ended.code == 2);
    CHECK(ended.out.empty());
    CHECK_FALSE(ended.err.empty());
  }
}

TEST_CASE("-o json is one document with every key, also when the command was not started") {
  for (const auto& words : {std::vector<std::string>{"version", "-o", "json"}, {"explain", "nonsense", "-o", "json"}}) {
    const Ended ended = run(words);
    const auto document = json::parse(ended.out);
    REQUIRE(document.has_value());
    CHECK(keys(*document) == envelope_keys);
    CHECK(ended.out.ends_with("}\n"));
    CHECK(ended.err.empty());
    CHECK((*document)["exit_code"].as_int() == std::optional<std::int64_t>(ended.code));
  }
  const auto bad = json::parse(run({"explain", "nonsense", "-o", "json"}).out);
  CHECK(bad->string_or("outcome") == "invalid");
  CHECK((*bad)["data"].is_null());
  CHECK(bad->array_at("diagnostics").size() == 1);
}

TEST_CASE("-o ndjson begins with hello and ends with the same document") {
  const Ended ended = run({"version", "-o", "ndjson"});
  const auto first_end = ended.out.find('\n');
  const auto hello = json::parse(ended.out.substr(0, first_end));
  const auto last = json::parse(ended.out.substr(ended.out.rfind('\n', ended.out.size() - 2) + 1));
  REQUIRE(hello.has_value());
  REQUIRE(last.has_value());
  CHECK(hello->string_or("type") == "hello");
  CHECK(hello->string_or("schema") == "kfab.events/1.0");
  CHECK(last->string_or("type") == "result");
  auto wanted = envelope_keys;
  wanted.insert(wanted.begin(), "type");
  CHECK(keys(*last) == wanted);
}

TEST_CASE("a command that reaches nodes needs a place for its records") {
  const Ended ended = run({"plan", "site.yaml"}, {});
  CHECK(ended.code == 2);
  CHECK(ended.err.find("KF1211") != std::string::npos);
}

TEST_CASE("a bug is told in the format that was asked for") {
  std::istringstream in;
  std::ostringstream out, err;
  const auto clock = make_system_clock();
  Process process({.words = {"version", "-o", "json"}, .in = in, .out = out, .err = err,
                   .getenv = [](std::string_view) { return std::optional<std::string>(); }, .clock = *clock,
                   .facts = [](int, term::ColourChoice, const term::Getenv&) { return term::StreamFacts{}; }});
  process.run();
  out.str("");
  CHECK(process.report_bug("a map had no \x1b[2J key") == 4);
  const auto document = json::parse(out.str());
  REQUIRE(document.has_value());
  CHECK(document->string_or("outcome") == "bug");
  CHECK(keys(*document) == envelope_keys);
  CHECK(err.str().find("KF9001") != std::string::npos);
  CHECK(err.str().find('\x1b') == std::string::npos);
}

TEST_CASE("an answer that could not be written was not given, and stderr says so; a reader that left is no error") {
  std::istringstream in;
  std::ostringstream out, err;
  const auto clock = make_system_clock();
  Process process({.words = {"explain"}, .in = in, .out = out, .err = err, .getenv = [](std::string_view) { return std::optional<std::string>(); }, .clock = *clock,
                   .facts = [](int, term::ColourChoice, const term::Getenv&) { return term::StreamFacts{}; }});
  CHECK(process.run() == 0);
  for (const int code : {0, 1, 2, 3, 4, 130, 143}) {
    CHECK(process.after_output(code, 0) == code);
    CHECK(process.after_output(code, EPIPE) == code);
  }
  CHECK(err.str().empty());
  CHECK(process.after_output(0, ENOSPC) == 3);
  CHECK(err.str().find("error[KF1290]") != std::string::npos);
  CHECK(err.str().find("No space left on device") != std::string::npos);
  CHECK(process.after_output(1, EIO) == 3);
  for (const int code : {2, 3, 4, 130, 143}) CHECK(process.after_output(code, ENOSPC) == code);   // they say more
}

TEST_CASE("carets stand under the token, in columns, also after wide characters and tabs") {
  Diagnostic d = make_diagnostic(code::internal, "expected a number");
  d.span = SourceSpan{"site.yaml", 2, 6, 2, 11, 0};
  d.label = "found the string 'eight'";
  const std::vector<manifest::SourceText> sources{{"site.yaml", "a: 1\n\t울산: eight\nlast"}};
  CHECK(render_diagnostics({d}, sources, {}, {}) ==
        "error[KF9001]: expected a number\n"
        " --> site.yaml:2:6\n"
        "  |\n"
        "2 |  울산: eight\n"
        "  |        ^^^^^ found the string 'eight'\n");
  CHECK(render_diagnostics({d}, sources, {.one_line = true}, {}) == "site.yaml:2:6: error[KF9001]: expected a number\n");
}

TEST_CASE("a place that the text does not have, or a line of megabytes, does no harm") {
  Diagnostic d = make_diagnostic(code::internal, "x");
  d.span = SourceSpan{"f", 99, 1, 99, 2, 0};
  CHECK(render_diagnostics({d}, {{"f", "one line"}}, {}, {}).find("--> f:99:1") != std::string::npos);
  d.span = SourceSpan{"f", 1, 5, 1, 90000000, 0};
  CHECK(render_diagnostics({d}, {{"f", std::string(1 << 20, 'x')}}, {}, {}).size() < 300);
}

TEST_CASE("a hint names the manifest that the user has named") {
  Diagnostic d = make_diagnostic(code::internal, "MANIFEST is a word here");
  d.help.push_back("kfab hostkeys trust MANIFEST --replace 'n[1-2]'");
  CHECK(render_diagnostics({d}, {}, {.manifest = "'my site.yaml'"}, {}).find("= kfab hostkeys trust 'my site.yaml' --replace") != std::string::npos);
  CHECK(render_diagnostics({d}, {}, {.manifest = "MANIFEST.yaml"}, {}).find("trust MANIFEST.yaml --replace") != std::string::npos);
  CHECK(render_diagnostics({d}, {}, {.manifest = "s.yaml"}, {}).find("MANIFEST is a word here") != std::string::npos);
  CHECK(render_diagnostics({d}, {}, {}, {}).find("trust MANIFEST --replace") != std::string::npos);
}

TEST_CASE("past twenty findings the rest is counted, and quiet keeps only errors") {
  Diagnostics many(25, make_diagnostic(code::internal, "x"));
  const std::string text = render_diagnostics(many, {}, {}, {});
  CHECK(text.find("and 5 more") != std::string::npos);
  CHECK(text.find("25 errors") != std::string::npos);
  Diagnostic note = make_diagnostic(code::too_many_findings, "y");
  CHECK(render_diagnostics({note}, {}, {.only_errors = true}, {}).empty());
  CHECK_FALSE(render_diagnostics({note}, {}, {}, {}).empty());
}

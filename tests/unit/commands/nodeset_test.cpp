#include "commands/nodeset.hpp"

#include <doctest/doctest.h>

#include <sstream>

#include "json/value.hpp"

using namespace kfab;
using commands::NodesetAction;
using commands::NodesetOptions;

namespace {

std::string shown(const CommandOutput& output) {
  std::ostringstream text;
  term::Writer writer(text, {});
  if (output.render) output.render(writer);
  return text.str();
}

CommandOutput run(NodesetAction action, std::vector<std::string> expressions, NodesetOptions options = {}) {
  options.action = action;
  options.expressions = std::move(expressions);
  return commands::to_output(commands::run_nodeset(options, nullptr));
}

}  // namespace

TEST_CASE("nodeset: each action for people and for scripts") {
  CHECK(shown(run(NodesetAction::expand, {"n[1-3]"})) == "n1\nn2\nn3\n");
  CHECK(shown(run(NodesetAction::expand, {"n[1-3]"}, {.separator = " "})) == "n1 n2 n3\n");
  CHECK(shown(run(NodesetAction::expand, {"n[3,1]", "n2,n3"}, {.keep_order = true})) == "n3\nn1\nn2\nn3\n");
  CHECK(shown(run(NodesetAction::fold, {"n1 n2", "n3"})) == "n[1-3]\n");
  CHECK(shown(run(NodesetAction::fold, {"n[1-9]"}, {.exclude = "n[2-8]"})) == "n[1,9]\n");
  CHECK(shown(run(NodesetAction::count, {"n[1-3],n2"})) == "3\n");
  CHECK(shown(run(NodesetAction::count, {"n1!n1"})) == "0\n");
  CHECK(shown(run(NodesetAction::split, {"n[0-6]"}, {.parts = 4})) == "n[0-1]\nn[2-3]\nn[4-5]\nn6\n");
  CHECK(shown(run(NodesetAction::slice, {"n[0-20]"}, {.positions = "0-18/9"})) == "n[0,9,18]\n");
  const auto output = run(NodesetAction::expand, {"n[1-2]"});
  CHECK(output.outcome == Outcome::yes);
  CHECK(json::dump(output.data) ==
        R"({"action":"expand","count":2,"folded":"n[1-2]","nodes":[{"node":"n1"},{"node":"n2"}],"parts":[]})");
}

TEST_CASE("nodeset: every wrong expression is told, with the text for its caret") {
  const auto output = run(NodesetAction::fold, {"n[1-03]", "n1", "n["}, {.exclude = ",x"});
  CHECK(output.outcome == Outcome::invalid);
  REQUIRE(output.diagnostics.size() == 3);
  CHECK(output.diagnostics[0].span->file == "expression 1");
  CHECK(output.diagnostics[1].span->file == "expression 3");
  CHECK(output.diagnostics[2].span->file == "exclude");
  REQUIRE(output.sources.size() == 3);
  CHECK(output.sources[0].text == "n[1-03]");
  CHECK(run(NodesetAction::split, {"n1"}).outcome == Outcome::invalid);
  CHECK(run(NodesetAction::slice, {"n1"}, {.positions = "x"}).outcome == Outcome::invalid);
  CHECK(run(NodesetAction::fold, {}).outcome == Outcome::invalid);
}

TEST_CASE("nodeset: action words") {
  CHECK(commands::parse_nodeset_action("split") == NodesetAction::split);
  CHECK_FALSE(commands::parse_nodeset_action("Split"));
}

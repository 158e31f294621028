#include <doctest/doctest.h>

#include <map>

#include "term/stream.hpp"

using namespace kfab::term;

namespace {

Getenv environment(std::map<std::string, std::string> variables) {
  return [variables = std::move(variables)](std::string_view name) -> std::optional<std::string> {
    const auto found = variables.find(std::string(name));
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  };
}

}  // namespace

TEST_CASE("the option wins over every variable") {
  CHECK(decide_colour(ColourChoice::always, environment({{"NO_COLOR", "1"}, {"TERM", "dumb"}}), false));
  CHECK_FALSE(decide_colour(ColourChoice::never, environment({{"FORCE_COLOR", "1"}, {"TERM", "xterm"}}), true));
}

TEST_CASE("colour by variables, the first that decides wins") {
  const auto automatic = [](std::map<std::string, std::string> variables, bool terminal) {
    return decide_colour(ColourChoice::automatic, environment(std::move(variables)), terminal);
  };
  CHECK(automatic({{"TERM", "xterm"}}, true));
  CHECK_FALSE(automatic({{"TERM", "xterm"}}, false));
  CHECK_FALSE(automatic({{"TERM", "dumb"}}, true));
  CHECK_FALSE(automatic({}, true));
  CHECK_FALSE(automatic({{"TERM", "xterm"}, {"NO_COLOR", "1"}, {"CLICOLOR_FORCE", "1"}}, true));
  CHECK(automatic({{"TERM", "xterm"}, {"NO_COLOR", ""}}, true));
  CHECK(automatic({{"CLICOLOR_FORCE", "1"}}, false));
  CHECK(automatic({{"FORCE_COLOR", "true"}, {"CLICOLOR", "0"}}, false));
  CHECK_FALSE(automatic({{"FORCE_COLOR", "0"}, {"TERM", "xterm"}}, false));
  CHECK_FALSE(automatic({{"CLICOLOR", "0"}, {"TERM", "xterm"}}, true));
}

TEST_CASE("the first locale variable that is set decides on UTF-8") {
  CHECK(locale_is_utf8(environment({{"LANG", "ko_KR.UTF-8"}})));
  CHECK(locale_is_utf8(environment({{"LC_CTYPE", "C.utf8"}, {"LANG", "C"}})));
  CHECK_FALSE(locale_is_utf8(environment({{"LC_ALL", "C"}, {"LANG", "en_US.UTF-8"}})));
  CHECK_FALSE(locale_is_utf8(environment({})));
}

TEST_CASE("a forced terminal has the size that was said; a pipe has no width") {
  const StreamFacts forced = stream_facts(99, ColourChoice::automatic, environment({{"KFAB_FORCE_TTY", "60x24"}, {"TERM", "xterm"}}));
  CHECK(forced.terminal);
  CHECK(forced.colour);
  CHECK(forced.width == std::optional<std::size_t>(60));
  const StreamFacts none = stream_facts(99, ColourChoice::automatic, environment({{"COLUMNS", "40"}, {"TERM", "xterm"}}));
  CHECK_FALSE(none.terminal);
  CHECK_FALSE(none.width.has_value());
}

#include <doctest/doctest.h>

#include <map>
#include <stdexcept>

#include "cli/parse.hpp"

#include "base/codes/cli.hpp"

using namespace kfab;
using namespace kfab::cli;

namespace {

Parsed read(std::vector<std::string> words, std::map<std::string, std::string> variables = {}) {
  return parse(words, [&](std::string_view name) -> std::optional<std::string> {
    const auto found = variables.find(std::string(name));
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  });
}

Code only_error(const Parsed& parsed) {
  REQUIRE(parsed.wish == Parsed::Wish::refused);
  REQUIRE(parsed.errors.size() == 1);
  return parsed.errors.front().code;
}

}  // namespace

TEST_CASE("options before and after the command mean the same") {
  for (const auto& words : {std::vector<std::string>{"-o", "json", "-q", "exec", "site.yaml", "-w", "a[1-2]", "--", "x"},
                            {"exec", "-qo", "json", "-wa[1-2]", "site.yaml", "--", "x"},
                            {"-q", "exec", "site.yaml", "--output=json", "--nodes=a[1-2]", "--", "x"}}) {
    const Parsed parsed = read(words);
    REQUIRE(parsed.wish == Parsed::Wish::run);
    CHECK(parsed.args.command()->name == "exec");
    CHECK(parsed.args.text("output") == "json");
    CHECK(parsed.args.flag("quiet"));
    CHECK(parsed.args.list("nodes") == std::vector<std::string>{"a[1-2]"});
    CHECK(parsed.args.positional("MANIFEST") == "site.yaml");
    CHECK(parsed.args.rest() == std::vector<std::string>{"x"});
  }
}

TEST_CASE("values are taken as they are: brackets, blanks, a leading dash after =, and repeated options in order") {
  const Parsed parsed = read({"exec", "-w", "[1-3,5]", "-w", "b c", "--exclude=-x", "-t", "p1", "-t", "p2", "--", "x"});
  REQUIRE(parsed.wish == Parsed::Wish::run);
  CHECK(parsed.args.list("nodes") == std::vector<std::string>{"[1-3,5]", "b c"});
  CHECK(parsed.args.list("exclude") == std::vector<std::string>{"-x"});
  CHECK(parsed.args.list("tranche") == std::vector<std::string>{"p1", "p2"});
}

TEST_CASE("what stands after -- belongs to the command, word by word, also what looks like an option of kfab") {
  const Parsed parsed = read({"exec", "m.yaml", "--", "ls", "-l", "--output", "json", "--", "kfab"});
  REQUIRE(parsed.wish == Parsed::Wish::run);
  CHECK(parsed.args.rest() == std::vector<std::string>{"ls", "-l", "--output", "json", "--", "kfab"});
  CHECK(parsed.args.text("output") == "table");
  CHECK(read({"explain", "--", "1201"}).args.positionals("CODE") == std::vector<std::string>{"1201"});
}

TEST_CASE("defaults, variables and the command line, in this order of weight") {
  CHECK(read({"version"}).args.text("color") == "auto");
  CHECK_FALSE(read({"version"}).args.given("color"));
  CHECK(read({"version"}, {{"KFAB_COLOR", "never"}}).args.text("color") == "never");
  CHECK(read({"version", "--color", "always"}, {{"KFAB_COLOR", "never"}}).args.text("color") == "always");
  CHECK(read({"version"}, {{"KFAB_NO_INPUT", "1"}}).args.flag("no-input"));
  CHECK_FALSE(read({"version"}, {{"KFAB_NO_INPUT", "0"}}).args.flag("no-input"));
  CHECK_FALSE(read({"version"}, {{"KFAB_NO_INPUT", ""}}).args.flag("no-input"));
  CHECK(read({"version", "-vv"}).args.count("verbose") == 2);
  CHECK(only_error(read({"version"}, {{"KFAB_COLOR", "blue"}})) == code::bad_value);
}

TEST_CASE("a mistyped command or option is refused with a suggestion and never run") {
  const Parsed command = read({"exce", "-w", "x"});
  CHECK(only_error(command) == code::unknown_command);
  CHECK(command.errors.front().suggestions == std::vector<std::string>{"exec"});
  const Parsed option = read({"exec", "--nodse", "x", "--", "y"});
  CHECK(only_error(option) == code::unknown_option);
  CHECK(option.errors.front().suggestions.front() == "--nodes");
  CHECK(only_error(read({"--outptu", "json", "version"})) == code::unknown_option);
  CHECK(only_error(read({"version", "-Z"})) == code::unknown_option);
  CHECK(only_error(read({"--", "version"})) == code::unknown_command);
  CHECK(only_error(read({""})) == code::unknown_command);
}

TEST_CASE("nothing is abbreviated") {
  CHECK(only_error(read({"vers"})) == code::unknown_command);
  CHECK(only_error(read({"version", "--outp", "json"})) == code::unknown_option);
  CHECK(only_error(read({"version", "--verb"})) == code::unknown_option);
}

TEST_CASE("values that are missing, empty, wrong or given twice") {
  const Parsed missing = read({"exec", "m.yaml", "-w"});
  CHECK(only_error(missing) == code::missing_value);
  CHECK(missing.errors.front().message.find("--nodes SET") != std::string::npos);
  CHECK(only_error(read({"-o"})) == code::missing_value);
  CHECK(only_error(read({"exec", "-w", "", "--", "x"})) == code::missing_value);
  CHECK(only_error(read({"version", "-o", "jsn"})) == code::bad_value);
  CHECK(only_error(read({"version", "--yes=no"})) == code::bad_value);
  CHECK(only_error(read({"version", "-o", "json", "-o", "table"})) == code::given_twice);
  CHECK(only_error(read({"exec", "--timeout", "5 parsecs", "--", "x"})) == code::bad_value);
  for (const char* bad : {"0", "-1", "1.5", "abc", "99999999999999999999", "70000"}) {
    CAPTURE(bad);
    CHECK(only_error(read({"exec", std::string("--port=") + bad, "--", "x"})) == code::bad_value);
  }
  CHECK(read({"exec", "--port", "65535", "--", "x"}).args.integer("port") == std::optional<std::int64_t>(65535));
}

TEST_CASE("arguments: missing, too many, and choices") {
  CHECK(only_error(read({"plan"})) == code::missing_argument);
  CHECK(only_error(read({"version", "x"})) == code::too_many_arguments);
  CHECK(only_error(read({"completion", "tcsh"})) == code::bad_value);
  CHECK(only_error(read({"exec", "m.yaml", "uptime"})) == code::missing_argument);
  CHECK(only_error(read({"exec", "m.yaml", "uptime", "--", "x"})) == code::too_many_arguments);
  CHECK(only_error(read({"exec", "m.yaml"})) == code::missing_argument);
  CHECK(read({"explain", "-", "KF1201"}).args.positionals("CODE").size() == 2);
}

TEST_CASE("several mistakes are told at once") {
  const Parsed parsed = read({"exec", "--timeout", "x", "--port", "0", "m.yaml"});
  CHECK(parsed.wish == Parsed::Wish::refused);
  CHECK(parsed.errors.size() == 3);
}

TEST_CASE("help and version wherever they stand; no words at all") {
  CHECK(read({}).wish == Parsed::Wish::nothing);
  CHECK(read({"-q"}).wish == Parsed::Wish::nothing);
  CHECK(read({"--help"}).wish == Parsed::Wish::help);
  CHECK(read({"-h"}).args.command() == nullptr);
  CHECK(read({"--version"}).wish == Parsed::Wish::version);
  for (const auto& words : {std::vector<std::string>{"exec", "--help"}, {"-h", "exec"}, {"exec", "--bogus", "-h"}}) {
    const Parsed parsed = read(words);
    CHECK(parsed.wish == Parsed::Wish::help);
    REQUIRE(parsed.args.command() != nullptr);
    CHECK(parsed.args.command()->name == "exec");
  }
}

TEST_CASE("durations and percentages") {
  CHECK(parse_duration_s("30s") == std::optional(30.0));
  CHECK(parse_duration_s("87600h").has_value());
  for (const auto* one : {"87601h", "100000h", "9999999999999999999999999d"}) {
    CHECK_FALSE(parse_duration_s(one));
    CHECK(is_too_long(one));
  }
  for (const auto* one : {"87600h", "3", "soon", "-5s", ""}) CHECK_FALSE(is_too_long(one));
  CHECK(parse_duration_s("1h30m") == std::optional(5400.0));
  CHECK(parse_duration_s("250ms") == std::optional(0.25));
  CHECK(parse_duration_s("1.5m") == std::optional(90.0));
  CHECK(parse_duration_s("0") == std::optional(0.0));
  CHECK(parse_duration_s("2d") == std::optional(172800.0));
  for (const char* bad : {"", "s", "5x", "45", "0 ", "00x", "-5s", "1e3", "5 s", "1h30", "30 ", "99999999999d", "..s", "1..2s"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_duration_s(bad).has_value());
  }
  CHECK(parse_percent("98%") == std::optional(98.0));
  CHECK(parse_percent("99.5") == std::optional(99.5));
  for (const char* bad : {"", "%", "101", "-1", "9 8", "98%%"}) CHECK_FALSE(parse_percent(bad).has_value());
}

TEST_CASE("asking for what a command does not declare is a bug") {
  const Parsed parsed = read({"version"});
  CHECK_THROWS_AS(parsed.args.text("no-such-option"), std::logic_error);
  CHECK_THROWS_AS(parsed.args.positional("MANIFEST"), std::logic_error);
}

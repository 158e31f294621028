#include <doctest/doctest.h>

#include <algorithm>
#include <cctype>
#include <set>
#include <sstream>

#include "base/text.hpp"
#include "base/words.hpp"
#include "cli/complete.hpp"
#include "cli/help.hpp"
#include "cli/man.hpp"
#include "cli/option_table.hpp"
#include "cli/parse.hpp"
#include "json/schema.hpp"

using namespace kfab;
using namespace kfab::cli;

// The lint of the tables: what every command and option must have, whoever writes its row.
namespace {

std::optional<std::string> no_variables(std::string_view) { return std::nullopt; }

std::vector<OptionSpec> everything(const CommandSpec& command) {
  std::vector<OptionSpec> all = command.options;
  all.insert(all.end(), global_options().begin(), global_options().end());
  return all;
}

// Splits an example as a shell would, as far as examples go: blanks, single quotes, and nothing after > | &&.
std::vector<std::string> shell_words(std::string_view line) {
  std::vector<std::string> words;
  std::string word;
  bool quoted = false, any = false;
  for (const char c : line) {
    if (c == '\'') { quoted = !quoted; any = true; continue; }
    if (c == ' ' && !quoted) {
      if (any) words.push_back(word);
      word.clear();
      any = false;
      continue;
    }
    word += c;
    any = true;
  }
  if (any) words.push_back(word);
  for (std::size_t i = 0; i < words.size(); ++i)
    if (words[i] == ">" || words[i] == "|" || words[i] == "&&") words.resize(i);
  return words;
}

bool is_plain_line(std::string_view text) {
  return !text.empty() && !text.ends_with('.') && !text.ends_with(' ') && text.find('\n') == std::string_view::npos;
}

}  // namespace

TEST_CASE("every command has a name, one line of help, an example, exit codes, a schema and something to run") {
  std::set<std::string_view> names;
  for (const CommandSpec& command : all_commands()) {
    CAPTURE(command.name);
    CHECK(names.insert(command.name).second);
    CHECK(command.name.size() <= 12);
    CHECK(is_plain_line(command.help));
    CHECK(command.help.size() <= 66);
    CHECK_FALSE(command.examples.empty());
    CHECK_FALSE(command.exit_codes.empty());
    CHECK((command.run != nullptr));
    REQUIRE_FALSE(command.schema.empty());
    CHECK_MESSAGE(json::find_schema(command.schema) != nullptr, "no schema is published for " << command.schema);
    CHECK(command_page(command).find(command.schema) != std::string::npos);
    for (const auto schema : command.other_schemas) {
      CHECK_MESSAGE(json::find_schema(schema) != nullptr, "no schema is published for " << schema);
      CHECK(std::any_of(all_commands().begin(), all_commands().end(), [&](const CommandSpec& other) { return other.schema == schema; }));
    }
    for (const int code : command.exit_codes) {
      const auto rows = exit_code_table();
      CHECK(std::any_of(rows.begin(), rows.end(), [&](const ExitCodeRow& row) { return row.code == code; }));
    }
    if (command.reaches_nodes) CHECK(std::count(command.exit_codes.begin(), command.exit_codes.end(), 130) == 1);
  }
  CHECK(names.size() >= 5);
}

TEST_CASE("no option is declared twice for a command, each says what it is, and each value has a name") {
  for (const CommandSpec& command : all_commands()) {
    std::set<std::string_view> names;
    std::set<char> letters;
    for (const OptionSpec& option : everything(command)) {
      CAPTURE(command.name);
      CAPTURE(option.name);
      CHECK(names.insert(option.name).second);
      if (option.letter != 0) CHECK(letters.insert(option.letter).second);
      CHECK(is_plain_line(option.help));
      CHECK((option.kind == Kind::flag) == option.value.empty());
      CHECK(std::all_of(option.name.begin(), option.name.end(), [](char c) { return (c >= 'a' && c <= 'z') || c == '-'; }));
      CHECK(std::all_of(option.value.begin(), option.value.end(), [](char c) { return (c >= 'A' && c <= 'Z') || c == '=' || c == ':'; }));
      CHECK((option.kind == Kind::choice) == !option.choices.empty());
      if (option.kind == Kind::choice && !option.fallback.empty())
        CHECK(std::count(option.choices.begin(), option.choices.end(), option.fallback) == 1);
      if (option.kind == Kind::duration && !option.fallback.empty()) CHECK(parse_duration_s(option.fallback));
      if (!option.env.empty()) CHECK(option.env.starts_with("KFAB_"));
    }
  }
}

TEST_CASE("only the last argument may be repeated, and none that is required follows one that is not") {
  for (const CommandSpec& command : all_commands()) {
    CAPTURE(command.name);
    bool optional = false;
    for (std::size_t i = 0; i < command.positionals.size(); ++i) {
      const PositionalSpec& spec = command.positionals[i];
      CHECK(is_plain_line(spec.help));
      if (i + 1 < command.positionals.size()) CHECK_FALSE(spec.repeatable);
      if (optional) CHECK_FALSE(spec.required);
      optional = optional || !spec.required;
    }
  }
}

TEST_CASE("every example is a command line that kfab accepts") {
  for (const CommandSpec& command : all_commands()) {
    for (const Example& example : command.examples) {
      CAPTURE(example.line);
      CHECK(is_plain_line(example.what));
      std::vector<std::string> words = shell_words(example.line);
      REQUIRE(words.size() >= 2);
      CHECK(words[0] == "kfab");
      words.erase(words.begin());
      const Parsed parsed = parse(words, no_variables);
      CHECK_MESSAGE(parsed.wish != Parsed::Wish::refused, (parsed.errors.empty() ? "" : parsed.errors.front().message));
      if (parsed.wish == Parsed::Wish::run) CHECK(parsed.args.command()->name == command.name);
    }
  }
}

TEST_CASE("every option is in the help, the manual page and the completion of its command") {
  for (const CommandSpec& command : all_commands()) {
    const std::string help = command_help(command, {});
    std::istringstream nothing;
    const std::string page = command_page(command);
    const std::vector<std::string> words{"kfab", std::string(command.name), "-"};
    const Completion offered = complete(words, 2, [](const std::string&) { return ManifestNames{}; });
    for (const OptionSpec& option : everything(command)) {
      CAPTURE(command.name);
      CAPTURE(option.name);
      const std::string name = "--" + std::string(option.name);
      const bool selects = option.name == "tranche" || option.name == "nodes" || option.name == "exclude";
      if (!selects || command.selects_nodes) CHECK(help.find(name) != std::string::npos);
      CHECK(std::any_of(offered.candidates.begin(), offered.candidates.end(), [&](const Candidate& c) { return c.value == name; }));
    }
    for (const OptionSpec& option : command.options) {
      CHECK(page.find(std::string(option.name).substr(0, option.name.find('-'))) != std::string::npos);
    }
    for (const Example& example : command.examples) CHECK(help.find(example.line) != std::string::npos);
    CHECK(help.find("EXAMPLES") < help.find("USAGE"));
    CHECK(help.find("EXIT CODES") != std::string::npos);
  }
}

TEST_CASE("the overview and the main page name every command and every option of all") {
  const std::string overview = overview_help({});
  std::istringstream prose("%commands%\n%options%\n%exit-codes%\n%environment%\n%topics%\n");
  std::ostringstream page;
  CHECK(write_manual("kfab", prose, page) == 0);
  CHECK(page.str().find('%') == std::string::npos);
  for (const CommandSpec& command : all_commands()) {
    CHECK(overview.find(command.name) != std::string::npos);
    CHECK(page.str().find("kfab-" + std::string(command.name)) != std::string::npos);
  }
  for (const OptionSpec& option : global_options()) CHECK(overview.find("--" + std::string(option.name)) != std::string::npos);
  for (const ExitCodeRow& row : exit_code_table()) CHECK(page.str().find("*" + std::to_string(row.code) + "*") != std::string::npos);
  std::ostringstream none;
  CHECK(write_manual("kfab-nonsense", prose, none) == 2);
  CHECK(none.str().empty());
}

TEST_CASE("no line of help is wider than 80 columns, or than a narrow terminal where words allow it") {
  const auto widest = [](const std::string& text) {
    std::size_t width = 0;
    for (const auto line : split_lines(text)) width = std::max(width, display_width(line));
    return width;
  };
  CHECK(widest(overview_help({})) <= 80);
  for (const HelpTopic& topic : help_topics()) CHECK(widest(topic.text({})) <= 80);
  for (const CommandSpec& command : all_commands()) {
    CAPTURE(command.name);
    const std::string help = command_help(command, {});
    for (const auto line : split_lines(help))
      if (!line.starts_with("  kfab ")) CHECK_MESSAGE(display_width(line) <= 80, line);
  }
}

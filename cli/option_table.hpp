#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

// Options and commands are declared once, as data. The parser, the help, the manual pages and the completions all read
// these tables, so none of them can forget one.
namespace kfab {
struct CommandOutput;
struct Env;
}  // namespace kfab

namespace kfab::cli {

class Args;

// What a value is: decides how it is checked, read (Args) and completed.
enum class Kind : std::uint8_t {
  flag,       // no value
  text,
  integer,    // within [min, max]
  duration,   // "30s", "5m", "1h30m", "500ms"; a bare number is seconds
  percent,    // "98", "98%", 0 to 100
  share,      // a number of nodes, "5", or a share of them, "2%"
  choice,     // one of `choices`
  path,       // a file or directory; "-" where the help says so
  directory,
  nodeset,    // node set expression over the manifest's nodes and groups
  tranche,    // a tranche of the manifest
  manifest,   // a YAML file
  code,       // KFnnnn
  schema,     // a name of `kfab schema list`
  command,    // a command of kfab
};

struct OptionSpec {
  std::string_view name;                  // long name without dashes
  char letter = 0;                        // short name, 0 for none
  Kind kind = Kind::flag;
  std::string_view value{};               // what the value is called in help: "SET"
  std::string_view help{};                // one line, no final full stop
  std::string_view fallback{};            // the default as it would be typed; empty: none
  std::vector<std::string_view> choices{};
  std::string_view env{};                 // variable that gives it when the option is not there
  bool repeatable = false;                // may be given several times; else twice is an error
  bool required = false;
  std::int64_t min = 0;
  std::int64_t max = INT64_MAX;
};

struct PositionalSpec {
  std::string_view name;                  // "MANIFEST"
  Kind kind = Kind::text;
  std::string_view help{};
  bool required = true;
  bool repeatable = false;                // only the last one
  std::vector<std::string_view> choices{};
};

struct Example {
  std::string_view line;                  // "kfab lint site.yaml"
  std::string_view what;                  // what it does, no final full stop
};

using Adapter = CommandOutput (*)(const Args&, Env&);

struct CommandSpec {
  std::string_view name;
  std::string_view help;                        // one line, no final full stop
  std::string_view description{};               // paragraphs separated by a blank line; no markup
  std::vector<Example> examples{};              // shown first; at least one
  std::vector<PositionalSpec> positionals{};
  std::vector<OptionSpec> options{};            // besides the global ones
  std::string_view rest{};                      // "CMD [ARG...]": words after `--` belong to the command; empty: none
  std::vector<int> exit_codes{};                // of exit_code_table(); 2 and 4 are every command's
  std::string_view schema{};                    // "kfab.lint/1.0"
  std::vector<std::string_view> other_schemas{};   // of results that are those of another command: resume
  bool selects_nodes = false;                   // -t, -w and -x mean something here: shown in its help
  bool takes_sets = false;                      // -w adds to its sets and -x takes from them
  bool selects_tranches = false;                // of these only -t does
  bool reaches_nodes = false;                   // set by all_commands() and test_commands(): an interrupt ends it in order
  Adapter run = nullptr;
};

// Options that every command takes.
std::span<const OptionSpec> global_options();

// Every command, in the order of `kfab --help`.
std::span<const CommandSpec> all_commands();
const CommandSpec* find_command(std::string_view name);
const OptionSpec* find_option(const CommandSpec*, std::string_view long_name);   // the command's own, then global

// The rows of the commands that reach nodes (commands_fleet.cpp), of those that test accelerators (commands_tests.cpp), of those
// about files (commands_files.cpp) and of those about kfab itself (commands_self.cpp); all_commands() puts them in order.
std::vector<CommandSpec> fleet_commands();
std::vector<CommandSpec> test_commands();
std::vector<CommandSpec> file_commands();
std::vector<CommandSpec> self_commands();

}  // namespace kfab::cli

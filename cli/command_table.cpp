#include <algorithm>
#include <array>

#include "cli/option_table.hpp"

namespace kfab::cli {
namespace {

// The order of `kfab --help`: as a site comes into being.
constexpr std::array<std::string_view, 41> order{
    "lint",   "show",     "import", "export", "nodeset",   "inventory", "learn", "plan", "provision", "undo", "reboot", "resume", "runs", "lock", "hostkeys", "exec",   "copy", "health", "memtest",  "bandwidth", "burnin",
    "validate", "judge", "readiness", "report", "demo",      "doctor", "selftest", "explain", "schema", "completion", "version", "help"};

std::vector<CommandSpec> assemble() {
  std::vector<CommandSpec> all = file_commands();
  for (CommandSpec& command : fleet_commands()) all.push_back(std::move(command)), all.back().reaches_nodes = true;
  for (CommandSpec& command : test_commands()) all.push_back(std::move(command));
  for (CommandSpec& command : self_commands()) all.push_back(std::move(command));
  const auto rank = [](const CommandSpec& c) { return std::find(order.begin(), order.end(), c.name) - order.begin(); };
  std::stable_sort(all.begin(), all.end(), [&](const CommandSpec& a, const CommandSpec& b) { return rank(a) < rank(b); });
  return all;
}

std::vector<OptionSpec> make_globals() {
  return {
      {.name = "tranche", .letter = 't', .kind = Kind::tranche, .value = "NAME",
       .help = "only nodes of this tranche; may be given several times", .repeatable = true},
      {.name = "nodes", .letter = 'w', .kind = Kind::nodeset, .value = "SET",
       .help = "only these nodes: gpu[001-128], @group, @tranche:t1", .repeatable = true},
      {.name = "exclude", .letter = 'x', .kind = Kind::nodeset, .value = "SET", .help = "not these nodes", .repeatable = true},
      {.name = "output", .letter = 'o', .kind = Kind::choice, .value = "FORMAT",
       .help = "table for people, json for one document at the end, ndjson for events as they happen and the document last",
       .fallback = "table", .choices = {"table", "json", "ndjson"}},
      {.name = "state", .kind = Kind::directory, .value = "DIR",
       .help = "where runs, verdicts and host keys are kept; default $XDG_STATE_HOME/kfab, else ~/.local/state/kfab",
       .env = "KFAB_STATE_DIR"},
      {.name = "quiet", .letter = 'q', .help = "only results and findings"},
      {.name = "verbose", .letter = 'v', .help = "say more on stderr, also when it is no terminal", .repeatable = true},
      {.name = "color", .kind = Kind::choice, .value = "WHEN", .help = "when to colour; NO_COLOR and CLICOLOR_FORCE are heeded",
       .fallback = "auto", .choices = {"auto", "always", "never"}, .env = "KFAB_COLOR"},
      {.name = "yes", .letter = 'y', .help = "answer the question whether to go on with yes"},
      {.name = "no-input", .help = "never ask; what would have to be asked ends with exit code 2", .env = "KFAB_NO_INPUT"},
      {.name = "diagnostics", .kind = Kind::choice, .value = "FORM",
       .help = "full shows the line with a caret, short is one line file:line:column for editors", .fallback = "full",
       .choices = {"full", "short"}},
      {.name = "help", .letter = 'h', .help = "show help; after a command, its own"},
      {.name = "version", .help = "show the version number; `kfab version` says more"},
  };
}

template <class Rows>
auto find_named(const Rows& rows, std::string_view name) -> decltype(rows.data()) {
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const auto& row) { return row.name == name; });
  return found == rows.end() ? nullptr : &*found;
}

}  // namespace

std::span<const OptionSpec> global_options() {
  static const std::vector<OptionSpec> options = make_globals();
  return options;
}

std::span<const CommandSpec> all_commands() {
  static const std::vector<CommandSpec> commands = assemble();
  return commands;
}

const CommandSpec* find_command(std::string_view name) { return find_named(all_commands(), name); }

const OptionSpec* find_option(const CommandSpec* command, std::string_view long_name) {
  if (command != nullptr)
    if (const OptionSpec* own = find_named(command->options, long_name)) return own;
  return find_named(global_options(), long_name);
}

}  // namespace kfab::cli

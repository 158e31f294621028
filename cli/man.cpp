#include "cli/man.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.hpp"
#include "base/words.hpp"
#include "cli/help.hpp"
#include "cli/man_checks.hpp"
#include "cli/man_roles.hpp"
#include "cli/scdoc.hpp"

namespace kfab::cli {
namespace {

std::string option_term(const OptionSpec& option) {
  std::string out;
  if (option.letter != 0) out += bold(std::string("-") + option.letter) + ", ";
  out += bold("--" + std::string(option.name));
  if (!option.value.empty()) out += " " + slanted(option.value);
  return out;
}

std::string option_list(std::span<const OptionSpec> options) {
  std::string out;
  for (const OptionSpec& option : options) out += definition(option_term(option), option_text(option));
  return out;
}

std::string exit_code_list(const std::vector<int>* only) {
  std::string out;
  for (const ExitCodeRow& row : exit_code_table()) {
    const bool wanted = only == nullptr || row.code == 2 || row.code == 4 || std::find(only->begin(), only->end(), row.code) != only->end();
    if (wanted) out += definition(bold(std::to_string(row.code)), fmt::format("{}: {}", row.meaning, row.next_move));
  }
  return out;
}

std::string command_list() {
  std::string out;
  for (const CommandSpec& command : all_commands())
    out += definition("*kfab-" + escape(command.name) + "*(1)", command.help);
  return out;
}

std::string variable_list() {
  std::string out;
  for (const VariableRow& row : environment_table()) out += definition(bold(row.name), row.meaning);
  return out;
}

std::string topic_list() {
  std::string out;
  for (const HelpTopic& topic : help_topics()) out += definition(bold("kfab help " + std::string(topic.name)), topic.about);
  return out;
}

// Pages whose prose is written by hand around tables from here.
constexpr std::array<std::string_view, 3> framed_pages{"kfab", "kfab-roles", "kfab-checks"};

struct Marker {
  std::string_view line;
  std::string (*text)();
};
constexpr std::array markers{
    Marker{"%commands%", command_list},
    Marker{"%options%", +[] { return option_list(global_options()); }},
    Marker{"%exit-codes%", +[] { return exit_code_list(nullptr); }},
    Marker{"%environment%", variable_list},
    Marker{"%topics%", topic_list},
    Marker{"%resources%", resource_list},
    Marker{"%roles%", role_list},
    Marker{"%levels%", level_table},
    Marker{"%checks%", check_table},
    Marker{"%common-metrics%", common_metric_table},
    Marker{"%criteria%", criteria_table},
    Marker{"%xids%", xid_list},
    Marker{"%derived-floors%", derived_floor_table},
    Marker{"%peers%", peer_rules},
    Marker{"%facts%", fact_list},
    Marker{"%test-codes%", test_code_table},
};

std::string synopsis(const CommandSpec& command) {
  std::string out = bold("kfab " + std::string(command.name));
  for (const PositionalSpec& spec : command.positionals) {
    const std::string name = slanted(spec.name) + (spec.repeatable ? "..." : "");
    out += spec.required ? " " + name : " \\[" + name + "\\]";
  }
  for (const OptionSpec& option : command.options)
    if (option.required) out += " " + bold("--" + std::string(option.name)) + " " + slanted(option.value);
  out += " \\[" + slanted("options") + "\\]";
  if (!command.rest.empty()) out += " \\-- " + escape(command.rest);
  return out;
}

std::string schema_words(const CommandSpec& command) {
  std::string out = slanted(command.schema);
  for (std::size_t i = 0; i < command.other_schemas.size(); ++i) out += (i + 1 < command.other_schemas.size() ? ", " : " or ") + slanted(command.other_schemas[i]);
  return command.other_schemas.empty() ? out : out + ", as of the command that is gone on with";
}

std::string paragraphs(std::string_view text) {
  std::string out;
  for (const std::string_view line : split_lines(text)) out += escape_line(line) + "\n";
  return out + "\n";
}

}  // namespace

std::string command_page(const CommandSpec& command) {
  std::string out = fmt::format("kfab-{}(1) \"kfab\" \"kfab manual\"\n\n# NAME\n\nkfab-{} - {}\n\n", command.name, command.name, escape(command.help));
  out += "# SYNOPSIS\n\n" + synopsis(command) + "\n\n";
  if (!command.description.empty()) out += "# DESCRIPTION\n\n" + paragraphs(command.description);
  if (!command.positionals.empty()) {
    out += "# ARGUMENTS\n\n";
    for (const PositionalSpec& spec : command.positionals) {
      std::string text(spec.help);
      for (std::size_t i = 0; i < spec.choices.size(); ++i) text += (i == 0 ? ": " : ", ") + std::string(spec.choices[i]);
      out += definition(slanted(spec.name), text);
    }
  }
  out += "# OPTIONS\n\n" + option_list(command.options);
  if (command.selects_nodes) {
    out += "Which nodes, by default all of the manifest:\n\n";
    for (const std::string_view name : {"tranche", "nodes", "exclude"}) {
      const OptionSpec& option = *find_option(nullptr, name);
      out += definition(option_term(option), option_text(option));
    }
  }
  if (command.takes_sets)
    for (const std::string_view name : {"nodes", "exclude"}) out += definition(option_term(*find_option(nullptr, name)), option_text(*find_option(nullptr, name)));
  if (command.selects_tranches) out += definition(option_term(*find_option(nullptr, "tranche")), option_text(*find_option(nullptr, "tranche")));
  out += "The options of every command are in *kfab*(1).\n\n# EXAMPLES\n\n";
  for (const Example& example : command.examples) out += definition(bold(example.line), example.what);
  out += "# EXIT STATUS\n\n" + exit_code_list(&command.exit_codes);
  if (!command.schema.empty())
    out += "# JSON\n\nWith *-o json* the result is a document of schema " + schema_words(command) + "; *kfab schema* prints it.\n\n";
  return out + "# SEE ALSO\n\n*kfab*(1), *kfab-site*(5), *kfab-json*(5), *kfab-checks*(7), *kfab-roles*(7)\n";
}

int write_manual(const std::string& page, std::istream& in, std::ostream& out) {
  if (page == "list") {
    out << "kfab\n";
    for (const CommandSpec& command : all_commands()) out << "kfab-" << command.name << '\n';
    return exit_code(Outcome::yes);
  }
  const bool framed = std::find(framed_pages.begin(), framed_pages.end(), page) != framed_pages.end();
  if (page.starts_with("kfab-") && !framed) {
    const CommandSpec* command = find_command(page.substr(5));
    if (command == nullptr) return exit_code(Outcome::invalid);
    out << command_page(*command);
    return exit_code(Outcome::yes);
  }
  if (!framed) return exit_code(Outcome::invalid);
  for (std::string line; std::getline(in, line);) {
    const auto marker = std::find_if(markers.begin(), markers.end(), [&](const Marker& m) { return m.line == line; });
    if (marker == markers.end()) out << line << '\n';
    else out << marker->text();
  }
  return exit_code(Outcome::yes);
}

}  // namespace kfab::cli

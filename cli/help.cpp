#include "cli/help.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.hpp"
#include "base/words.hpp"
#include "manifest/load.hpp"
#include "manifest/resource_types.hpp"
#include "term/writer.hpp"

namespace kfab::cli {
namespace {

using term::StreamFacts;
using term::Style;

constexpr std::size_t margin = 2;
constexpr std::size_t widest_heading = 28;   // longer ones get a line of their own

std::size_t page_width(const StreamFacts& facts) { return std::min<std::size_t>(facts.width.value_or(80), 100); }

std::string title(const StreamFacts& facts, std::string_view text) { return paint(facts, Style::strong, text) + "\n"; }

struct Entry {
  std::string heading, text;
};

// Headings in one column, their texts in another.
std::string entries(const std::vector<Entry>& all, const StreamFacts& facts) {
  std::size_t column = 0;
  for (const Entry& entry : all)
    if (entry.heading.size() <= widest_heading) column = std::max(column, entry.heading.size());
  std::string out;
  for (const Entry& entry : all) {
    out += std::string(margin, ' ') + paint(facts, Style::accent, entry.heading);
    std::string text = wrap(entry.text, page_width(facts), margin + column + 2);
    if (entry.heading.size() > column) out += "\n" + text;
    else out += std::string(column - entry.heading.size() + 2, ' ') + text.substr(std::min(text.size(), margin + column + 2));
    if (text.empty()) out += "\n";
  }
  return out;
}

std::string option_entries(std::span<const OptionSpec> options, const StreamFacts& facts) {
  std::vector<Entry> all;
  for (const OptionSpec& option : options) all.push_back({option_heading(option), option_text(option)});
  return entries(all, facts);
}

std::string positional_heading(const PositionalSpec& spec) {
  std::string out(spec.name);
  if (spec.repeatable) out += "...";
  return spec.required ? out : "[" + out + "]";
}

std::string positional_text(const PositionalSpec& spec) {
  std::string out(spec.help);
  for (std::size_t i = 0; i < spec.choices.size(); ++i) out += (i == 0 ? ": " : ", ") + std::string(spec.choices[i]);
  return out;
}

std::string exit_code_entries(const std::vector<int>& codes, const StreamFacts& facts) {
  std::vector<Entry> all;
  for (const ExitCodeRow& row : exit_code_table()) {
    const bool every = row.code == 2 || row.code == 4;
    if (every || std::find(codes.begin(), codes.end(), row.code) != codes.end())
      all.push_back({std::to_string(row.code), std::string(row.meaning)});
  }
  return entries(all, facts);
}

std::string exit_codes_topic(const StreamFacts& facts) {
  std::string out = title(facts, "EXIT CODES");
  std::vector<Entry> all;
  for (const ExitCodeRow& row : exit_code_table())
    all.push_back({fmt::format("{:<4} {}", row.code, row.outcome), fmt::format("{}: {}", row.meaning, row.next_move)});
  out += entries(all, facts) + "\n";
  out += wrap("When several apply, 4 comes first, then 130 and 143, then 2, 3, 1 and 0. The same word and number are in every "
              "JSON document as `outcome` and `exit_code`.\n\nAn answer that could not be written to stdout, as on a full disk, was not "
              "given: 0 and 1 become 3 on every command, and stderr says KF1290. A reader that left (`| head`) is no error.\n\nFor `kfab lint` an invalid manifest is an answer: 1. No target, "
              "an unknown group or tranche is 2, never \"nothing to do\".", page_width(facts), margin);
  return out;
}

std::string environment_topic(const StreamFacts& facts) {
  std::vector<Entry> all;
  for (const VariableRow& row : environment_table()) all.push_back({std::string(row.name), std::string(row.meaning)});
  return title(facts, "ENVIRONMENT") + entries(all, facts) + "\n" +
         wrap("An option on the command line wins over its variable, and the variable over the default. A manifest is input: "
              "no variable changes what it says.", page_width(facts), margin);
}

std::string formats_topic(const StreamFacts& facts) {
  return title(facts, "FORMATS") +
         wrap("stdout carries the result and nothing else; messages, findings and progress go to stderr.\n\n"
              "-o table is for people: no borders, one line per thing, and no columns cut when stdout is no terminal.\n\n"
              "-o json prints one document at the end. Its keys are the same on every command, also on failure: schema, kfab, "
              "run, site, outcome, exit_code, data, diagnostics. What there is not is null, never absent.\n\n"
              "-o ndjson prints one document per line: first {\"type\": \"hello\"}, then events as they happen, last "
              "{\"type\": \"result\"} with the keys of -o json.\n\n"
              "A usage error (exit code 2 before a command ran) leaves stdout empty. Units are suffixes of names (_s, _ms, _kw, "
              "_gbps, _bytes), times are RFC 3339 in UTC. Ignore keys you do not know; a new major version of a schema is a "
              "different thing. `kfab schema list` has them all.", page_width(facts), margin);
}

// Each type with what it takes in brief; what an attribute means is in the manual, from the same table.
std::string roles_topic(const StreamFacts& facts) {
  std::vector<Entry> all;
  for (const auto& type : manifest::resource_types()) {
    std::vector<std::string> needs, takes;
    for (const auto& attribute : type.attributes) (attribute.required ? needs : takes).emplace_back(attribute.name);
    std::string text = fmt::format("{}.", type.help);
    if (!needs.empty()) text += fmt::format(" Needs {}.", join(needs, ", "));
    if (!takes.empty()) text += fmt::format(" {} {}.", needs.empty() ? "Takes" : "May have", join(takes, ", "));
    all.push_back({std::string(type.name), std::move(text)});
  }
  std::vector<std::string> common, roles;
  for (const auto& key : manifest::common_resource_keys())
    if (!key.required) common.emplace_back(key.name);
  for (const auto& built_in : manifest::built_ins())
    if (built_in.kind == "Role") roles.emplace_back(built_in.name);
  return title(facts, "RESOURCES OF A ROLE") + entries(all, facts) + "\n" +
         wrap(fmt::format("Every resource has a type, and may have {}.", join(common, ", ")), page_width(facts), margin) + "\n" + title(facts, "ROLES THAT KFAB BRINGS") +
         wrap(join(roles, ", "), page_width(facts), margin) + "\n" +
         wrap("What each attribute means, and what each role does and takes, is in kfab-roles(7); how a role is written in a manifest in kfab-site(5).",
              page_width(facts), margin);
}

constexpr std::array topics{
    HelpTopic{"exit-codes", "what each exit code means", exit_codes_topic},
    HelpTopic{"environment", "the environment variables that kfab heeds", environment_topic},
    HelpTopic{"formats", "what is printed where, and the JSON documents", formats_topic},
    HelpTopic{"roles", "the resources that a role may declare, and the roles that kfab brings", roles_topic},
};

constexpr std::array variables{
    VariableRow{"KFAB_STATE_DIR", "as --state"},
    VariableRow{"KFAB_COLOR", "as --color"},
    VariableRow{"KFAB_NO_INPUT", "as --no-input, unless empty or 0"},
    VariableRow{"KFAB_JOBS_DIR", "where an agent keeps tests that go on by themselves; heeded on the node, default /var/lib/kfab/jobs for root, /var/tmp/kfab-UID/jobs for others"},
    VariableRow{"KFAB_RECORDS_DIR", "where an agent keeps copies of what it replaced and what undo needs; heeded on the node, default /var/lib/kfab for root, ~/.local/state/kfab for others"},
    VariableRow{"KFAB_COMPLETE_WAIT", "how long a completion may read the manifest on the line; default 35ms"},
    VariableRow{"KFAB_FORCE_TTY", "act as on a terminal of this size (80x24): for tests"},
    VariableRow{"NO_COLOR", "not empty: no colour"},
    VariableRow{"CLICOLOR_FORCE", "not empty and not 0: colour also where there is no terminal; FORCE_COLOR means the same"},
    VariableRow{"CLICOLOR", "0: no colour"},
    VariableRow{"TERM", "dumb or unset: no colour"},
    VariableRow{"COLUMNS", "width of the terminal where it does not tell"},
    VariableRow{"LC_ALL", "with LC_CTYPE and LANG: symbols outside ASCII are shown only in a UTF-8 locale"},
    VariableRow{"HOME", "where ~/.ssh and the default state directory are"},
    VariableRow{"XDG_STATE_HOME", "where kfab/ with runs, verdicts and host keys is kept; default ~/.local/state"},
    VariableRow{"SSH_AUTH_SOCK", "the ssh-agent that is asked for keys"},
    VariableRow{"SOURCE_DATE_EPOCH", "the date in generated manual pages"},
};

}  // namespace

std::span<const HelpTopic> help_topics() { return topics; }
std::span<const VariableRow> environment_table() { return variables; }

std::string wrap(std::string_view text, std::size_t width, std::size_t indent) {
  std::string out;
  const std::string blanks(indent, ' ');
  const std::size_t room = std::max<std::size_t>(width > indent ? width - indent : 20, 20);
  for (const std::string_view paragraph : split_lines(text)) {
    std::string line;
    for (const std::string& word : split(paragraph, ' ')) {
      if (word.empty()) continue;
      if (!line.empty() && display_width(line) + 1 + display_width(word) > room) {
        out += blanks + line + "\n";
        line.clear();
      }
      line += (line.empty() ? "" : " ") + word;
    }
    out += line.empty() ? "\n" : blanks + line + "\n";
  }
  return out;
}

std::string option_heading(const OptionSpec& option) {
  std::string out = option.letter != 0 ? std::string("-") + option.letter + ", " : std::string("    ");
  out += "--" + std::string(option.name);
  if (!option.value.empty()) out += " " + std::string(option.value);
  return out;
}

std::string option_text(const OptionSpec& option) {
  std::string out(option.help);
  if (!option.choices.empty()) {
    bool all_named = true;   // the help may already say what each choice is
    for (const std::string_view choice : option.choices) all_named = all_named && out.find(choice) != std::string::npos;
    if (!all_named) {
      out += ": ";
      for (std::size_t i = 0; i < option.choices.size(); ++i) out += (i > 0 ? ", " : "") + std::string(option.choices[i]);
    }
  }
  std::string notes;
  const auto note = [&](const std::string& text) { notes += (notes.empty() ? "" : ", ") + text; };
  if (option.required) note("required");
  if (!option.fallback.empty()) note("default " + std::string(option.fallback));
  if (!option.env.empty()) note("$" + std::string(option.env));
  return notes.empty() ? out : out + " (" + notes + ")";
}

std::string usage_line(const CommandSpec& command) {
  std::string out = "kfab " + std::string(command.name);
  for (const PositionalSpec& spec : command.positionals) out += " " + positional_heading(spec);
  for (const OptionSpec& option : command.options)
    if (option.required) out += " --" + std::string(option.name) + " " + std::string(option.value);
  out += " [options]";
  if (!command.rest.empty()) out += command.rest.front() == '[' ? " [-- " + std::string(command.rest.substr(1)) : " -- " + std::string(command.rest);
  return out;
}

std::string short_help() {
  return "usage: kfab COMMAND [MANIFEST] [options]\n"
         "       kfab --help for the commands, kfab help COMMAND for one of them\n";
}

std::string overview_help(const StreamFacts& facts) {
  std::string out = "kfab provisions, validates and reports on GPU sites.\n\n";
  out += title(facts, "EXAMPLES");
  out += entries({{"kfab demo", "the whole job on this machine, on four nodes that it starts itself"},
                  {"kfab lint site.yaml", "is the manifest right"},
                  {"kfab plan site.yaml -t t1", "what would change on the nodes of tranche t1"},
                  {"kfab readiness site.yaml", "which tranches are ready, and if not, why and when"}}, facts);
  out += "\n" + title(facts, "USAGE") + "  kfab COMMAND [MANIFEST] [options]\n\n" + title(facts, "COMMANDS");
  std::vector<Entry> commands;
  for (const CommandSpec& command : all_commands()) commands.push_back({std::string(command.name), std::string(command.help)});
  out += entries(commands, facts);
  out += "\n" + title(facts, "OPTIONS OF EVERY COMMAND") + option_entries(global_options(), facts);
  out += "\n" + title(facts, "MORE");
  std::vector<Entry> more{{"kfab help COMMAND", "a command, with examples"}};
  for (const HelpTopic& topic : topics) more.push_back({"kfab help " + std::string(topic.name), std::string(topic.about)});
  return out + entries(more, facts);
}

std::string command_help(const CommandSpec& command, const StreamFacts& facts) {
  std::string out = fmt::format("{}: {}\n\n", paint(facts, Style::strong, "kfab " + std::string(command.name)), command.help);
  out += title(facts, "EXAMPLES");
  for (const Example& example : command.examples)
    out += "  " + paint(facts, Style::accent, example.line) + "\n" + wrap(example.what, page_width(facts), 6);
  out += "\n" + title(facts, "USAGE") + "  " + usage_line(command) + "\n\n";
  if (!command.description.empty()) out += wrap(command.description, page_width(facts), margin) + "\n";
  if (!command.positionals.empty()) {
    std::vector<Entry> all;
    for (const PositionalSpec& spec : command.positionals) all.push_back({positional_heading(spec), positional_text(spec)});
    out += title(facts, "ARGUMENTS") + entries(all, facts) + "\n";
  }
  if (!command.options.empty()) out += title(facts, "OPTIONS") + option_entries(command.options, facts) + "\n";
  std::vector<OptionSpec> selecting, common;
  for (const OptionSpec& option : global_options()) {
    const bool selects = option.name == "tranche" || option.name == "nodes" || option.name == "exclude";
    const bool useful = command.selects_nodes || (command.selects_tranches && option.name == "tranche") ||
                        (command.takes_sets && option.name != "tranche");
    if (!selects) common.push_back(option);
    else if (useful) selecting.push_back(option);
  }
  if (!selecting.empty()) out += title(facts, command.selects_nodes || command.takes_sets ? "WHICH NODES" : "WHICH TRANCHES") + option_entries(selecting, facts) + "\n";
  out += title(facts, "OPTIONS OF EVERY COMMAND") + option_entries(common, facts) + "\n";
  out += title(facts, "EXIT CODES") + exit_code_entries(command.exit_codes, facts);
  if (!command.schema.empty()) out += "\n" + title(facts, "JSON") + "  " + std::string(command.schema) + ": kfab schema " + std::string(command.schema) + "\n";
  for (const std::string_view schema : command.other_schemas) out += fmt::format("  {}: kfab schema {}\n", schema, schema);
  return out;
}

}  // namespace kfab::cli

#include "base/codes/cli.hpp"
#include "base/result.hpp"
#include "base/text.hpp"
#include "cli/args.hpp"
#include "cli/build_info.hpp"
#include "cli/help.hpp"
#include "commands/completion.hpp"
#include "commands/env.hpp"
#include "commands/explain.hpp"
#include "commands/schema.hpp"
#include "commands/version.hpp"

// The commands about kfab itself: they read nothing and reach nobody.
namespace kfab::cli {
namespace {

CommandOutput run_explain(const Args& args, Env&) {
  return commands::to_output(commands::run_explain({.codes = args.positionals("CODE")}));
}

CommandOutput run_schema(const Args& args, Env&) {
  const std::string name = args.positional("NAME");
  return commands::run_schema({.name = name.empty() ? "list" : name});
}

CommandOutput run_completion(const Args& args, Env&) { return commands::run_completion(args.positional("SHELL")); }

CommandOutput run_version(const Args&, Env&) { return commands::to_output(commands::run_version(build_facts())); }

CommandOutput run_help(const Args& args, Env& env) {
  const std::string topic = args.positional("TOPIC");
  CommandOutput output;
  std::string text;
  if (topic.empty()) text = overview_help(env.out_facts);
  if (const CommandSpec* command = find_command(topic)) text = command_help(*command, env.out_facts);
  std::vector<std::string> known;
  for (const HelpTopic& row : help_topics()) {
    known.emplace_back(row.name);
    if (row.name == topic) text = row.text(env.out_facts);
  }
  if (text.empty()) {
    Diagnostic problem = error(code::unknown_command, "there is no command or help topic '" + one_line(topic, 80) + "'");
    for (const CommandSpec& command : all_commands()) known.emplace_back(command.name);
    problem.suggestions = nearest(topic, known);
    return not_started(std::move(problem));
  }
  output.data = json::Object{{"topic", topic.empty() ? json::Value() : json::Value(topic)}, {"text", text}};
  output.render = [text](term::Writer& writer) { writer.raw(text); };   // the page brings its own colours
  return output;
}

}  // namespace

std::vector<CommandSpec> self_commands() {
  return {
      {.name = "explain",
       .help = "what a code means and what to do about it",
       .description = "Every finding of kfab has a code, KF and four digits, that never changes its meaning. Without an argument all codes are listed.",
       .examples = {{"kfab explain KF1003", "cause and next step of one code"}, {"kfab explain -o json", "all codes, for a script"}},
       .positionals = {{.name = "CODE", .kind = Kind::code, .help = "KF and four digits, the digits alone, or the name of the code",
                        .required = false, .repeatable = true}},
       .exit_codes = {0},
       .schema = "kfab.explain/1.0",
       .run = run_explain},
      {.name = "schema",
       .help = "the JSON schemas of what kfab prints",
       .description = "JSON Schema 2020-12, one for the result of each command, one for the lines of -o ndjson. A published schema changes only "
                      "by its version: the minor one for new keys, the major one for anything else.",
       .examples = {{"kfab schema list", "all names"}, {"kfab schema kfab.exec/1", "the schema of what `kfab exec -o json` prints"}},
       .positionals = {{.name = "NAME", .kind = Kind::schema, .help = "list, or a name with or without its version", .required = false}},
       .exit_codes = {0},
       .schema = "kfab.schema/1.0",
       .run = run_schema},
      {.name = "completion",
       .help = "the completion file for a shell",
       .description = "The same file that a package installs. It asks kfab what may stand on the line, so it knows the tranches, groups and "
                      "nodes of the manifest there.",
       .examples = {{"kfab completion bash > ~/.local/share/bash-completion/completions/kfab", "for bash, without root"},
                    {"kfab completion fish > ~/.config/fish/completions/kfab.fish", "for fish"}},
       .positionals = {{.name = "SHELL", .kind = Kind::choice, .help = "the shell", .choices = {"bash", "zsh", "fish"}}},
       .exit_codes = {0},
       .schema = "kfab.completion/1.0",
       .run = run_completion},
      {.name = "version",
       .help = "version, built-in devices, agent and libraries",
       .examples = {{"kfab version", "what this kfab is made of and what it cannot do"}, {"kfab --version", "the number alone"}},
       .exit_codes = {0},
       .schema = "kfab.version/1.1",
       .run = run_version},
      {.name = "help",
       .help = "help for a command or a topic",
       .examples = {{"kfab help exec", "the command, with examples"}, {"kfab help exit-codes", "what each exit code means"}},
       .positionals = {{.name = "TOPIC", .kind = Kind::command, .help = "a command, or exit-codes, environment, formats", .required = false}},
       .exit_codes = {0},
       .schema = "kfab.help/1.0",
       .run = run_help},
  };
}

}  // namespace kfab::cli

#include "cli/parse.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <charconv>

#include "base/codes/cli.hpp"
#include "base/result.hpp"
#include "base/text.hpp"

// CLI11 splits the words into options and the rest. All judgement is ours: which words are allowed, what is said about
// those that are not, and the exit code.
namespace kfab::cli {
namespace {

std::string shown(const OptionSpec& option) { return "--" + std::string(option.name); }

std::vector<const OptionSpec*> options_of(const CommandSpec* command) {
  std::vector<const OptionSpec*> all;
  if (command != nullptr)
    for (const OptionSpec& option : command->options) all.push_back(&option);
  // What selects nodes or tranches is refused where it selects nothing: to leave it unheard would answer another question.
  for (const OptionSpec& option : global_options()) {
    const bool tranche = option.name == "tranche", nodes = option.name == "nodes" || option.name == "exclude";
    if (command != nullptr && tranche && !command->selects_nodes && !command->selects_tranches) continue;
    if (command != nullptr && nodes && !command->selects_nodes && !command->takes_sets) continue;
    all.push_back(&option);
  }
  return all;
}

std::string in_quotes(std::string_view word) { return "'" + one_line(word, 80) + "'"; }

std::string list_of(const std::vector<std::string_view>& words) {
  std::string out;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) out += i + 1 == words.size() ? " or " : ", ";
    out += words[i];
  }
  return out;
}

Diagnostic suggesting(Diagnostic diagnostic, std::string_view word, const std::vector<std::string>& known, std::string_view prefix) {
  for (std::string& near : nearest(word, known)) diagnostic.suggestions.push_back(std::string(prefix) + near);
  return diagnostic;
}

std::string usage_hint(const CommandSpec* command) {
  return command == nullptr ? "run `kfab --help` for the commands and options"
                            : "run `kfab " + std::string(command->name) + " --help` for its options";
}

// One parse by CLI11: the values of every option by name, and the words that are none.
struct Split {
  std::vector<std::pair<const OptionSpec*, std::vector<std::string>>> values;
  std::vector<std::string> words;
  std::vector<Diagnostic> errors;
};

Split split_options(const std::vector<const OptionSpec*>& options, std::vector<std::string> words, bool stop_at_first_word) {
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  app.allow_windows_style_options(false);
  app.prefix_command(stop_at_first_word);
  std::vector<std::pair<const OptionSpec*, CLI::Option*>> declared;
  const CLI::callback_t take_as_is = [](const CLI::results_t&) { return true; };
  for (const OptionSpec* option : options) {
    std::string names = "--" + std::string(option->name);
    if (option->letter != 0) names += std::string(",-") + option->letter;
    CLI::Option* made = app.add_option(names, take_as_is);
    made->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)->allow_extra_args(false);
    if (option->kind == Kind::flag) made->type_size(0)->expected(0)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    else made->type_size(1)->expected(1);
    declared.emplace_back(option, made);
  }
  Split split;
  std::reverse(words.begin(), words.end());   // CLI11 takes them from the end
  try {
    app.parse(std::move(words));
  } catch (const CLI::ArgumentMismatch& problem) {
    split.errors.push_back(error(code::missing_value, one_line(problem.what())));
  } catch (const CLI::Error& problem) {
    split.errors.push_back(error(code::bad_value, one_line(problem.what())));
  }
  for (const auto& [option, made] : declared)
    if (made->count() > 0 || !made->results().empty()) split.values.emplace_back(option, made->results());
  split.words = app.remaining();
  return split;
}

std::optional<Diagnostic> check_choice(std::string_view what, const std::vector<std::string_view>& choices, const std::string& value) {
  if (std::find(choices.begin(), choices.end(), value) != choices.end()) return std::nullopt;
  return suggesting(error(code::bad_value, std::string(what) + ": expected " + list_of(choices) + ", found " + in_quotes(value)), value,
                    std::vector<std::string>(choices.begin(), choices.end()), "");
}

// Nothing when the value is of its kind. Sets, tranches and paths are judged by those who know the manifest.
std::optional<Diagnostic> check_value(const OptionSpec& option, const std::string& value) {
  const std::string name = shown(option);
  const auto bad = [&](const std::string& expected) { return error(code::bad_value, name + ": expected " + expected + ", found " + in_quotes(value)); };
  switch (option.kind) {
    case Kind::choice: return check_choice(name, option.choices, value);
    case Kind::integer: {
      std::int64_t number = 0;
      const auto [end, problem] = std::from_chars(value.data(), value.data() + value.size(), number);
      const bool whole = problem == std::errc{} && end == value.data() + value.size() && !value.empty();
      if (whole && number >= option.min && number <= option.max) return std::nullopt;
      if (option.max == INT64_MAX) return bad("a whole number from " + std::to_string(option.min));
      return bad("a whole number from " + std::to_string(option.min) + " to " + std::to_string(option.max));
    }
    case Kind::duration:
      if (parse_duration_s(value)) return std::nullopt;
      if (is_too_long(value)) return bad("a duration of at most 87600h, which are ten years");
      return bad("a duration with its unit, such as 30s, 5m or 1h30m");
    case Kind::percent:
      if (parse_percent(value)) return std::nullopt;
      return bad("a percentage from 0 to 100");
    case Kind::share:
      if (parse_share(value)) return std::nullopt;
      return bad("a number of nodes, or a percentage of them such as 2%");
    default:
      if (!value.empty()) return std::nullopt;
      return error(code::missing_value, name + " has an empty value");
  }
}

// The values by option name, each checked. Reports the option, not CLI11's words, when a value is missing.
void take_values(const Split& split, Args& args, Diagnostics& errors) {
  for (const auto& [option, values] : split.values) {
    if (option->kind == Kind::flag) {
      for (const std::string& value : values)
        if (!value.empty() && value != "true")
          errors.push_back(error(code::bad_value, shown(*option) + " takes no value, found " + in_quotes(value)));
    } else {
      if (values.size() > 1 && !option->repeatable)
        errors.push_back(error(code::given_twice, shown(*option) + " was given " + std::to_string(values.size()) + " times"));
      for (const std::string& value : values)
        if (auto problem = check_value(*option, value)) errors.push_back(std::move(*problem));
    }
    args.set(option->name, values);
  }
}

void take_environment(const CommandSpec* command, const term::Getenv& getenv, Args& args, Diagnostics& errors) {
  for (const OptionSpec* option : options_of(command)) {
    if (option->env.empty() || args.given(option->name)) continue;
    const std::string value = getenv(option->env).value_or(std::string{});
    if (value.empty() || (option->kind == Kind::flag && value == "0")) continue;
    if (option->kind == Kind::flag) {
      args.set(option->name, {"true"});
    } else if (auto problem = check_value(*option, value)) {
      problem->help.push_back("the value comes from the variable " + std::string(option->env));
      errors.push_back(std::move(*problem));
    } else {
      args.set(option->name, {value});
    }
  }
}

Diagnostic unknown_option(const CommandSpec* command, std::string_view word) {
  const std::string_view name = word.substr(0, word.find('='));
  std::vector<std::string> known;
  for (const OptionSpec* option : options_of(command)) known.push_back(std::string(option->name));
  std::string message = in_quotes(name) + " is not an option of kfab";
  if (command != nullptr) message += " " + std::string(command->name);
  Diagnostic diagnostic = error(code::unknown_option, std::move(message));
  if (name.starts_with("--")) diagnostic = suggesting(std::move(diagnostic), name.substr(2), known, "--");
  return diagnostic;
}

void take_positionals(const CommandSpec& command, const std::vector<std::string>& words, Args& args, Diagnostics& errors) {
  std::size_t next = 0;
  for (const PositionalSpec& spec : command.positionals) {
    std::vector<std::string> values;
    while (next < words.size() && (values.empty() || spec.repeatable)) values.push_back(words[next++]);
    if (values.empty() && spec.required) {
      std::string what = spec.choices.empty() ? std::string(spec.help) : list_of(spec.choices);
      errors.push_back(error(code::missing_argument, std::string(spec.name) + " is missing: " + what));
    }
    if (!spec.choices.empty())
      for (const std::string& value : values)
        if (auto problem = check_choice(spec.name, spec.choices, value)) errors.push_back(std::move(*problem));
    args.set_positional(spec.name, std::move(values));
  }
  if (next < words.size())
    errors.push_back(error(code::too_many_arguments, "kfab " + std::string(command.name) + " has no use for " + in_quotes(words[next])));
}

Parsed refused(Diagnostic problem, const CommandSpec* command) {
  problem.help.push_back(usage_hint(command));
  Parsed parsed;
  parsed.args = Args(command);
  parsed.errors.push_back(std::move(problem));
  return parsed;
}

Parsed no_command(const Split& split) {
  Parsed parsed;
  Args args(nullptr);
  take_values(split, args, parsed.errors);
  if (args.flag("help")) parsed.wish = Parsed::Wish::help;
  else if (args.flag("version")) parsed.wish = Parsed::Wish::version;
  else if (!split.errors.empty()) return refused(split.errors.front(), nullptr);
  else parsed.wish = Parsed::Wish::nothing;
  parsed.errors.clear();
  parsed.args = std::move(args);
  return parsed;
}

Diagnostic unknown_command(const std::string& word) {
  std::vector<std::string> known;
  for (const CommandSpec& command : all_commands()) known.emplace_back(command.name);
  return suggesting(error(code::unknown_command, in_quotes(word) + " is not a command of kfab"), word, known, "");
}

// The value that CLI11 missed belongs to the last option on the line; say which one it was and what it wants.
Diagnostic name_the_option(Diagnostic problem, const std::vector<const OptionSpec*>& options, const std::vector<std::string>& words) {
  if (problem.code != code::missing_value || words.empty()) return problem;
  const std::string& last = words.back();
  for (const OptionSpec* option : options) {
    const bool is_short = option->letter != 0 && last.size() >= 2 && last[0] == '-' && last[1] != '-' && last.back() == option->letter;
    if (option->kind == Kind::flag || (last != shown(*option) && !is_short)) continue;
    return error(code::missing_value, shown(*option) + " needs a value: " + shown(*option) + " " + std::string(option->value));
  }
  return problem;
}

}  // namespace

Parsed parse(std::span<const std::string> all, const term::Getenv& getenv) {
  const auto dashes = std::find(all.begin(), all.end(), "--");
  std::vector<std::string> words(all.begin(), dashes);
  std::vector<std::string> rest(dashes == all.end() ? dashes : dashes + 1, all.end());

  // First the global options before the command, to find it.
  const auto globals = options_of(nullptr);
  const Split before = split_options(globals, words, true);
  if (before.words.empty()) {
    if (!before.errors.empty()) return refused(name_the_option(before.errors.front(), globals, words), nullptr);
    if (!rest.empty()) return refused(unknown_command(rest.front()), nullptr);
    return no_command(before);
  }
  const std::string& name = before.words.front();
  if (name.size() > 1 && name[0] == '-') return refused(unknown_option(nullptr, name), nullptr);
  const CommandSpec* command = find_command(name);
  if (command == nullptr) return refused(unknown_command(name), nullptr);

  // Then everything but the command's own name.
  words.erase(words.begin() + static_cast<std::ptrdiff_t>(words.size() - before.words.size()));
  const auto options = options_of(command);
  Split split = split_options(options, words, false);
  Parsed parsed;
  parsed.args = Args(command);
  for (const auto& [option, values] : split.values) {
    if (option->name == "help") {
      parsed.wish = Parsed::Wish::help;
      return parsed;
    }
  }
  if (!split.errors.empty()) return refused(name_the_option(split.errors.front(), options, words), command);
  for (const std::string& word : split.words)
    if (word.size() > 1 && word[0] == '-') return refused(unknown_option(command, word), command);
  take_values(split, parsed.args, parsed.errors);
  take_environment(command, getenv, parsed.args, parsed.errors);

  std::vector<std::string> positionals = split.words;
  if (command->rest.empty()) positionals.insert(positionals.end(), rest.begin(), rest.end());
  else parsed.args.set_rest(rest);
  if (!command->rest.empty() && command->rest.front() != '[' && rest.empty()) {
    parsed.errors.push_back(error(code::missing_argument, "the command to run is missing: put it after `--`, as in -- " + std::string(command->rest)));
    positionals.resize(std::min(positionals.size(), command->positionals.size()));   // one mistake, one message
  }
  take_positionals(*command, positionals, parsed.args, parsed.errors);
  for (const OptionSpec& option : command->options)
    if (option.required && !parsed.args.given(option.name))
      parsed.errors.push_back(error(code::missing_argument, shown(option) + " " + std::string(option.value) + " is missing: " + std::string(option.help)));
  if (!parsed.errors.empty()) parsed.errors.back().help.push_back(usage_hint(command));
  parsed.wish = parsed.errors.empty() ? Parsed::Wish::run : Parsed::Wish::refused;
  return parsed;
}

}  // namespace kfab::cli

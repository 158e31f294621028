#include "cli/complete.hpp"

#include <algorithm>
#include <array>
#include <set>

#include "base/codes.hpp"
#include "base/text.hpp"
#include "cli/help.hpp"
#include "json/schema.hpp"

namespace kfab::cli {
namespace {

// What stands before the word in question.
struct Context {
  const CommandSpec* command = nullptr;
  std::size_t positionals = 0;              // already there
  std::string manifest;                     // the first of them that is one
  std::set<std::string, std::less<>> given;
  const OptionSpec* pending = nullptr;      // waits for its value
  bool after_dashes = false;
};

const OptionSpec* find_letter(const CommandSpec* command, char letter) {
  const auto among = [&](auto&& rows) -> const OptionSpec* {
    for (const OptionSpec& row : rows)
      if (row.letter == letter) return &row;
    return nullptr;
  };
  const OptionSpec* own = command == nullptr ? nullptr : among(command->options);
  return own != nullptr ? own : among(global_options());
}

bool takes_value(const OptionSpec& option) { return option.kind != Kind::flag; }

// Reads "-vt": the letters up to one that takes a value, which is the rest of the word or the next one.
void read_letters(Context& context, std::string_view letters) {
  for (std::size_t i = 0; i < letters.size(); ++i) {
    const OptionSpec* option = find_letter(context.command, letters[i]);
    if (option == nullptr) return;
    context.given.emplace(option->name);
    if (!takes_value(*option)) continue;
    if (i + 1 == letters.size()) context.pending = option;
    return;
  }
}

void read_word(Context& context, const std::string& word) {
  if (context.after_dashes) return;
  if (context.pending != nullptr) {
    context.pending = nullptr;
  } else if (word == "--") {
    context.after_dashes = true;
  } else if (word.starts_with("--")) {
    const auto equals = word.find('=');
    const OptionSpec* option = find_option(context.command, std::string_view(word).substr(2, equals == std::string::npos ? equals : equals - 2));
    if (option == nullptr) return;
    context.given.emplace(option->name);
    if (takes_value(*option) && equals == std::string::npos) context.pending = option;
  } else if (word.size() > 1 && word[0] == '-') {
    read_letters(context, std::string_view(word).substr(1));
  } else if (context.command == nullptr) {
    context.command = find_command(word);
  } else {
    if (context.positionals < context.command->positionals.size() &&
        context.command->positionals[context.positionals].kind == Kind::manifest && context.manifest.empty())
      context.manifest = word;
    ++context.positionals;
  }
}

class Collector {
 public:
  explicit Collector(std::string_view typed) : typed_(typed) {}
  void offer(std::string value, std::string_view description) {
    if (value.starts_with(typed_)) out.candidates.push_back({std::move(value), one_line(description, 100)});
  }
  Completion out;

 private:
  std::string_view typed_;
};

// Where the last term of a node set expression begins: after an operator that stands outside brackets.
std::size_t last_term(std::string_view expression) {
  std::size_t start = 0;
  int depth = 0;
  for (std::size_t i = 0; i < expression.size(); ++i) {
    if (expression[i] == '[') ++depth;
    else if (expression[i] == ']') --depth;
    else if (depth == 0 && std::string_view(",!&^(").find(expression[i]) != std::string_view::npos) start = i + 1;
  }
  return start;
}

void offer_nodes(Collector& to, const ManifestNames& names, std::string_view before) {
  for (const auto* list : {&names.groups, &names.nodes})
    for (const Candidate& one : *list) to.offer(std::string(before) + one.value, one.description);
  to.out.directive = Completion::Directive::nospace;
}

// Offers values of a kind. `before` stands in front of each: "--nodes=" and, in a node set, the terms before the last.
void offer_values(Collector& to, Kind kind, const std::vector<std::string_view>& choices, const std::string& before,
                  std::string_view typed, const ManifestNames& names) {
  switch (kind) {
    case Kind::choice:
      for (const std::string_view choice : choices) to.offer(before + std::string(choice), "");
      return;
    case Kind::tranche:
      for (const Candidate& one : names.tranches) to.offer(before + one.value, one.description);
      return;
    case Kind::nodeset:
      offer_nodes(to, names, before + std::string(typed.substr(0, last_term(typed))));
      return;
    case Kind::code:
      for (const CodeInfo& row : all_codes()) to.offer(before + to_string(row.code), std::string(row.name));
      return;
    case Kind::schema:
      to.offer(before + "list", "all schemas");
      for (const json::PublishedSchema& row : json::published_schemas()) to.offer(before + std::string(row.name), row.about);
      return;
    case Kind::command:
      for (const CommandSpec& row : all_commands()) to.offer(before + std::string(row.name), row.help);
      for (const HelpTopic& row : help_topics()) to.offer(before + std::string(row.name), row.about);
      return;
    case Kind::path:
    case Kind::manifest: to.out.directive = Completion::Directive::files; return;
    case Kind::directory: to.out.directive = Completion::Directive::dirs; return;
    default: return;
  }
}

void offer_options(Collector& to, const Context& context) {
  const auto offer = [&](const OptionSpec& option) {
    if (!option.repeatable && context.given.contains(option.name)) return;
    to.offer("--" + std::string(option.name), option.help);
  };
  if (context.command != nullptr)
    for (const OptionSpec& option : context.command->options) offer(option);
  for (const OptionSpec& option : global_options()) offer(option);
}

bool wants_manifest(Kind kind) { return kind == Kind::tranche || kind == Kind::nodeset; }

}  // namespace

Completion complete(std::span<const std::string> words, std::size_t index, const ManifestLookup& lookup) {
  Context context;
  for (std::size_t i = 1; i < std::min(index, words.size()); ++i) read_word(context, words[i]);
  // A manifest may also stand after the word in question: kfab exec -w <here> site.yaml
  if (context.manifest.empty() && context.command != nullptr) {
    Context whole = context;
    whole.pending = nullptr;   // its value is the word in question
    for (std::size_t i = index + 1; i < words.size(); ++i) read_word(whole, words[i]);
    context.manifest = whole.manifest;
  }
  const std::string current = index < words.size() ? words[index] : std::string{};
  Collector to(current);
  const auto names = [&](Kind kind) {
    return wants_manifest(kind) && !context.manifest.empty() ? lookup(context.manifest) : ManifestNames{};
  };
  if (context.after_dashes) {
    to.out.directive = Completion::Directive::files;
  } else if (context.pending != nullptr) {
    offer_values(to, context.pending->kind, context.pending->choices, "", current, names(context.pending->kind));
  } else if (const auto equals = current.find('='); current.starts_with("--") && equals != std::string::npos) {
    const OptionSpec* option = find_option(context.command, std::string_view(current).substr(2, equals - 2));
    if (option != nullptr && takes_value(*option))
      offer_values(to, option->kind, option->choices, current.substr(0, equals + 1), std::string_view(current).substr(equals + 1), names(option->kind));
  } else if (current.starts_with('-')) {
    offer_options(to, context);
  } else if (context.command == nullptr) {
    for (const CommandSpec& row : all_commands()) to.offer(std::string(row.name), row.help);
  } else if (!context.command->positionals.empty()) {
    const auto& all = context.command->positionals;
    if (context.positionals < all.size() || all.back().repeatable) {
      const PositionalSpec& spec = all[std::min(context.positionals, all.size() - 1)];
      offer_values(to, spec.kind, spec.choices, "", current, names(spec.kind));
    }
  }
  return std::move(to.out);
}

std::string to_protocol(const Completion& completion) {
  constexpr std::array<std::string_view, 4> words{"none", "files", "dirs", "nospace"};
  std::string out(words[static_cast<std::size_t>(completion.directive)]);
  out += '\n';
  for (const Candidate& candidate : completion.candidates) {
    out += one_line(candidate.value, 300);
    if (!candidate.description.empty()) out += "\t" + candidate.description;
    out += '\n';
  }
  return out;
}

}  // namespace kfab::cli

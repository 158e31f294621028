#include "provision/template.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/codes/provision.hpp"
#include "base/text.hpp"

namespace kfab::provision {
namespace {

constexpr std::string_view opening = "{{", closing = "}}", escaped_opening = "{{{{";

bool is_name(std::string_view text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  const auto other = [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '-'; };
  for (const auto& part : split(text, '.')) {
    if (part.empty() || !letter(part.front()) || !std::all_of(part.begin(), part.end(), other)) return false;
  }
  return true;
}

// Where a byte stands in a text.
SourceSpan span_at(std::string_view text, std::size_t offset, std::size_t size) {
  const std::string_view before = text.substr(0, offset);
  const auto newline = before.rfind('\n');
  SourceSpan span;
  span.line = span.end_line = static_cast<std::uint32_t>(1 + std::count(before.begin(), before.end(), '\n'));
  span.column = static_cast<std::uint32_t>(
      1 + code_points(newline == std::string_view::npos ? before : before.substr(newline + 1)));
  span.end_column = span.column + static_cast<std::uint32_t>(code_points(text.substr(offset, size)));
  span.byte_offset = offset;
  return span;
}

Diagnostic problem_at(Code code, std::string message, std::string_view text, std::size_t offset, std::size_t size) {
  Diagnostic problem = error(code, std::move(message));
  problem.span = span_at(text, offset, size);
  return problem;
}

std::vector<std::string> names_of(const Variables& variables) {
  std::vector<std::string> names;
  for (const auto& [name, value] : variables)
    if (!value.is_object()) names.push_back(name);
  return names;
}

// A value inside a text: a list is its items with blanks between, a mapping has no text.
std::optional<std::string> text_of(const json::Value& value) {
  if (const auto* text = value.as_string()) return *text;
  if (value.is_null() || value.is_object()) return std::nullopt;
  if (const auto* items = value.as_array()) {
    std::vector<std::string> parts;
    for (const auto& item : *items) {
      if (item.is_array()) return std::nullopt;
      auto part = text_of(item);
      if (!part) return std::nullopt;
      parts.push_back(std::move(*part));
    }
    return join(parts, " ");
  }
  return json::dump(value);
}

struct Placeholder {
  std::string_view name;      // without its blanks
  std::size_t name_offset;    // of the name, else of the braces
  std::size_t end;            // the byte after "}}"
};

// The placeholder that opens at `offset`, or what is wrong with it.
std::variant<Placeholder, Diagnostic> read_placeholder(std::string_view text, std::size_t offset) {
  const std::size_t inside = offset + opening.size();
  const auto close = text.find(closing, inside);
  const auto newline = text.find('\n', inside);
  if (close == std::string_view::npos || newline < close)
    return problem_at(code::template_syntax, "a placeholder is not closed on its line", text, offset, opening.size());
  const std::string_view raw = text.substr(inside, close - inside);
  const std::string_view name = trim(raw);
  if (!is_name(name))
    return problem_at(code::template_syntax,
                      name.empty() ? "a placeholder without a name"
                                   : fmt::format("'{}' is not a name; filters and expressions are not known here",
                                                 one_line(name, 60)),
                      text, offset, close + closing.size() - offset);
  return Placeholder{name, inside + raw.find(name), close + closing.size()};
}

const json::Value* find_variable(const Variables& variables, std::string_view text, const Placeholder& placeholder,
                                 Diagnostics& problems) {
  const auto it = variables.find(std::string(placeholder.name));
  if (it != variables.end()) return &it->second;
  Diagnostic problem =
      problem_at(code::template_undefined, fmt::format("nothing defines '{}'", one_line(placeholder.name, 80)), text,
                 placeholder.name_offset, placeholder.name.size());
  problem.suggestions = nearest(placeholder.name, names_of(variables));
  problems.push_back(std::move(problem));
  return nullptr;
}

// The variable that a text is a lone placeholder for; null when the text is anything else.
std::optional<Placeholder> lone_placeholder(std::string_view text) {
  const std::string_view bare = trim(text);
  if (!bare.starts_with(opening) || bare.starts_with(escaped_opening)) return std::nullopt;
  auto found = read_placeholder(bare, 0);
  const auto* placeholder = std::get_if<Placeholder>(&found);
  if (placeholder == nullptr || placeholder->end != bare.size()) return std::nullopt;
  return *placeholder;
}

}  // namespace

void add_variable(Variables& variables, const std::string& name, const json::Value& value) {
  variables[name] = value;
  if (const auto* object = value.as_object())
    for (const auto& [key, member] : object->members()) add_variable(variables, name + "." + key, member);
}

std::optional<std::string> expand_template(std::string_view text, const Variables& variables, Diagnostics& problems) {
  std::string out;
  bool good = true;
  std::size_t at = 0;
  for (;;) {
    const auto open = text.find(opening, at);
    out += text.substr(at, open == std::string_view::npos ? open : open - at);
    if (open == std::string_view::npos) break;
    if (text.substr(open).starts_with(escaped_opening)) {
      out += opening;
      at = open + escaped_opening.size();
      continue;
    }
    auto found = read_placeholder(text, open);
    if (auto* problem = std::get_if<Diagnostic>(&found)) {
      problems.push_back(std::move(*problem));
      good = false;
      at = open + opening.size();
      continue;
    }
    const auto& placeholder = std::get<Placeholder>(found);
    at = placeholder.end;
    const json::Value* value = find_variable(variables, text, placeholder, problems);
    const auto inserted = value != nullptr ? text_of(*value) : std::nullopt;
    if (value != nullptr && !inserted)
      problems.push_back(problem_at(code::template_undefined,
                                    fmt::format("'{}' has no value that can stand in a text", placeholder.name), text,
                                    placeholder.name_offset, placeholder.name.size()));
    good = good && inserted;
    if (inserted) out += *inserted;
  }
  if (!good) return std::nullopt;
  return out;
}

std::optional<json::Value> expand_value(const json::Value& value, const Variables& variables, Diagnostics& problems) {
  if (const auto* text = value.as_string()) {
    if (const auto placeholder = lone_placeholder(*text)) {
      const json::Value* whole = find_variable(variables, *text, *placeholder, problems);
      return whole != nullptr ? std::optional(*whole) : std::nullopt;
    }
    auto expanded = expand_template(*text, variables, problems);
    return expanded ? std::optional<json::Value>(std::move(*expanded)) : std::nullopt;
  }
  bool good = true;
  if (const auto* items = value.as_array()) {
    json::Array out;
    for (const auto& item : *items) {
      auto expanded = expand_value(item, variables, problems);
      good = good && expanded;
      if (!expanded) continue;
      if (item.is_string() && expanded->is_array())
        out.insert(out.end(), expanded->as_array()->begin(), expanded->as_array()->end());
      else out.push_back(std::move(*expanded));
    }
    return good ? std::optional<json::Value>(std::move(out)) : std::nullopt;
  }
  if (const auto* object = value.as_object()) {
    json::Object out;
    for (const auto& [key, member] : object->members()) {
      auto expanded = expand_value(member, variables, problems);
      good = good && expanded;
      if (expanded) out.set(key, std::move(*expanded));
    }
    return good ? std::optional<json::Value>(std::move(out)) : std::nullopt;
  }
  return value;
}

}  // namespace kfab::provision

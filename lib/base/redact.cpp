#include "base/redact.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "base/text.hpp"

namespace kfab {
namespace {

constexpr std::string_view standard = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view for_urls = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

// The characters of a base64 text that depend on nothing but `bytes`, when they stand `before` bytes (0, 1, 2) after a
// group's begin: what comes before and after them may be anything.
std::string base64_core(std::string_view bytes, std::size_t before, std::string_view alphabet) {
  std::string padded(before, '\0');
  padded += bytes;
  const std::size_t whole = padded.size() * 8 / 6;   // characters all bits of which are known
  while (padded.size() % 3 != 0) padded += '\0';
  std::string out;
  for (std::size_t i = 0; i < padded.size(); i += 3) {
    const auto byte = [&](std::size_t at) { return static_cast<unsigned>(static_cast<unsigned char>(padded[at])); };
    const unsigned group = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    for (const int shift : {18, 12, 6, 0}) out += alphabet[group >> shift & 63];
  }
  const std::size_t skip = before == 0 ? 0 : before + 1;
  return whole > skip ? out.substr(skip, whole - skip) : std::string();
}

// As it stands within a JSON text.
std::string json_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    static constexpr std::array<std::pair<char, std::string_view>, 7> escapes{
        {{'"', "\\\""}, {'\\', "\\\\"}, {'\n', "\\n"}, {'\t', "\\t"}, {'\r', "\\r"}, {'\b', "\\b"}, {'\f', "\\f"}}};
    const auto* escape = std::find_if(escapes.begin(), escapes.end(), [&](const auto& row) { return row.first == c; });
    if (escape != escapes.end()) out += escape->second;
    else out += c;
  }
  return out;
}

}  // namespace

void Redactor::add_form(std::string bytes, const std::string& instead) {
  if (bytes.size() < shortest_form) return;
  if (std::any_of(forms_.begin(), forms_.end(), [&](const Form& known) { return known.bytes == bytes; })) return;
  forms_.push_back({std::move(bytes), instead});
}

void Redactor::add(std::string_view name, std::string_view value) {
  const std::string instead = "(secret " + one_line(name, 60) + ")";
  std::vector<std::string_view> parts{value, trim(value)};
  const auto lines = split_lines(value);
  if (lines.size() > 1)
    for (const auto line : lines) parts.push_back(trim(line));
  for (const auto part : parts) {
    if (part.size() < shortest_form) continue;
    add_form(std::string(part), instead);
    add_form(json_escaped(part), instead);
    add_form(one_line(part, part.size() + 1), instead);   // as messages show it
    for (std::size_t before = 0; before < 3; ++before)
      for (const auto alphabet : {standard, for_urls}) add_form(base64_core(part, before, alphabet), instead);
  }
  std::stable_sort(forms_.begin(), forms_.end(), [](const Form& a, const Form& b) { return a.bytes.size() > b.bytes.size(); });
}

std::string Redactor::text(std::string text) const {
  for (const Form& form : forms_)
    for (std::size_t at = text.find(form.bytes); at != std::string::npos; at = text.find(form.bytes, at + form.instead.size()))
      text.replace(at, form.bytes.size(), form.instead);
  return text;
}

}  // namespace kfab

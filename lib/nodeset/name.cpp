#include "nodeset/name.hpp"

#include <fmt/format.h>

#include "base/text.hpp"
#include "nodeset/nodeset.hpp"

namespace kfab::nodeset {
namespace {

constexpr std::string_view reserved = ",!&^[]()*?@";

std::optional<NameFault> find_bad_byte(std::string_view name) {
  for (std::size_t i = 0; i < name.size(); ++i) {
    const auto byte = static_cast<unsigned char>(name[i]);
    if (byte == ' ' || (byte >= '\t' && byte <= '\r')) return NameFault{"a node name cannot hold a blank", i, 1};
    if (byte < 0x20 || byte == 0x7F) return NameFault{"a node name cannot hold a control character", i, 1};
    if (reserved.find(name[i]) != std::string_view::npos)
      return NameFault{fmt::format("'{}' cannot stand in a node name", name[i]), i, 1};
  }
  return std::nullopt;
}

std::optional<NameFault> find_long_number(std::string_view name) {
  for (std::size_t i = 0; i < name.size();) {
    std::size_t end = i;
    while (end < name.size() && is_digit(name[end])) ++end;
    if (end - i > max_width)
      return NameFault{fmt::format("a number of {} digits: at most {} are allowed", end - i, max_width), i, end - i};
    i = end + 1;
  }
  return std::nullopt;
}

}  // namespace

std::optional<NameFault> find_name_fault(std::string_view name) {
  if (name.empty()) return NameFault{"a node name cannot be empty", 0, 0};
  if (name.front() == '-') return NameFault{"a node name cannot start with '-'", 0, 1};
  if (name.size() > NodeSet::max_name_bytes)
    return NameFault{fmt::format("a node name of {} bytes: at most {} are allowed", name.size(), NodeSet::max_name_bytes), 0, name.size()};
  if (auto fault = find_bad_byte(name)) return fault;
  if (printable(name) != name) return NameFault{"a node name must be visible text in UTF-8", 0, name.size()};
  return find_long_number(name);
}

void append_literal(std::string& pattern, std::string_view text) {
  for (const char c : text) {
    if (c == '%') pattern += '%';
    pattern += c;
  }
}

void split_name(std::string_view name, std::string& pattern, std::vector<Rank>& numbers) {
  for (std::size_t i = 0; i < name.size();) {
    std::size_t end = i;
    while (end < name.size() && is_digit(name[end])) ++end;
    if (end > i) {
      pattern += "%s";
      numbers.push_back(rank_of(read_number(name.substr(i, end - i))));
      i = end;
    } else {
      if (name[i] == '%') pattern += '%';
      pattern += name[i++];
    }
  }
}

std::vector<std::string> pattern_texts(std::string_view pattern) {
  std::vector<std::string> texts(1);
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '%') { texts.back() += pattern[i]; continue; }
    if (pattern[++i] == 's') texts.emplace_back();
    else texts.back() += '%';
  }
  return texts;
}

std::string fold_numbers(const std::vector<Rank>& sorted) {
  std::string out;
  // Padding holds on for single numbers after a padded one: 08,99,100 and not 08,99-100, as ClusterShell writes it.
  bool padded = false;
  for (std::size_t i = 0; i < sorted.size();) {
    const Number first = number_of(sorted[i]);
    Number last = first;
    std::size_t end = i + 1;
    bool broken_by_padding = false;
    if (i == 0) padded = is_padded(first);
    for (; end < sorted.size(); ++end) {
      const Number next = number_of(sorted[end]);
      broken_by_padding = padded ? next.width != last.width : is_padded(next);
      if (broken_by_padding || next.value != last.value + 1) break;
      last = next;
    }
    if (!out.empty()) out += ',';
    append_number(out, first);
    if (end - i > 1) {
      out += '-';
      append_number(out, last);
    }
    if (end < sorted.size() && (end - i > 1 || broken_by_padding)) padded = is_padded(number_of(sorted[end]));
    i = end;
  }
  return out;
}

}  // namespace kfab::nodeset

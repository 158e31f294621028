#include "fleet/simulator/script.hpp"

#include <arpa/inet.h>

#include <charconv>

#include "base/file.hpp"
#include "base/text.hpp"

namespace kfab::sim {
namespace {

std::optional<std::uint32_t> parse_address(std::string_view text) {
  in_addr address{};
  if (::inet_pton(AF_INET, std::string(text).c_str(), &address) != 1) return std::nullopt;
  const std::uint32_t value = ntohl(address.s_addr);
  if (value >> 24 != 127) return std::nullopt;
  return value;
}

std::string wrong(std::string_view line, std::string_view why) {
  return "script line '" + one_line(line) + "': " + std::string(why);
}

}  // namespace

std::optional<AddressRange> parse_addresses(std::string_view text) {
  const std::size_t mark = text.find_first_of("-+");
  const auto first = parse_address(text.substr(0, mark));
  if (!first) return std::nullopt;
  if (mark == std::string_view::npos) return AddressRange{*first, *first};
  const std::string_view rest = text.substr(mark + 1);
  if (text[mark] == '-') {
    const auto last = parse_address(rest);
    if (!last || *last < *first) return std::nullopt;
    return AddressRange{*first, *last};
  }
  std::uint32_t count = 0;
  const auto [end, failed] = std::from_chars(rest.data(), rest.data() + rest.size(), count);
  if (failed != std::errc{} || end != rest.data() + rest.size() || count == 0 || count > 0x7fffffff - *first + 1) return std::nullopt;
  return AddressRange{*first, *first + count - 1};
}

std::string to_text(std::uint32_t address) {
  std::string text;
  for (int shift = 24; shift >= 0; shift -= 8) text += std::to_string(address >> shift & 255) + (shift > 0 ? "." : "");
  return text;
}

std::string Script::add(std::string_view line) {
  const std::string_view words = trim(line);
  const std::size_t gap = words.find_first_of(" \t");
  if (gap == std::string_view::npos) return wrong(line, "wanted ADDRESSES FAULT");
  const auto range = parse_addresses(words.substr(0, gap));
  if (!range) return wrong(line, "no addresses within 127.0.0.0/8");
  const auto fault = parse_fault(trim(words.substr(gap)));
  if (!fault) return wrong(line, "no such fault");
  const auto after = parts_.upper_bound(range->last);
  if (after != parts_.begin() && std::prev(after)->second.last >= range->first) return wrong(line, "an address is given twice");
  parts_.emplace(range->first, Part{range->last, *fault});
  return {};
}

std::string Script::add_file(const std::string& path) {
  auto text = read_file(path);
  if (!text) return text.error().message;
  for (const std::string_view line : split_lines(*text)) {
    const std::string_view words = trim(line.substr(0, line.find('#')));
    if (words.empty()) continue;
    if (std::string why = add(words); !why.empty()) return why;
  }
  return {};
}

const Fault& Script::of(std::uint32_t address) const {
  static const Fault healthy;
  const auto after = parts_.upper_bound(address);
  if (after == parts_.begin()) return healthy;
  const Part& part = std::prev(after)->second;
  return address <= part.last ? part.fault : healthy;
}

std::vector<std::uint32_t> Script::black_holes() const {
  std::vector<std::uint32_t> found;
  for (const auto& [first, part] : parts_) {
    if (part.fault.behaviour != Behaviour::black_hole) continue;
    for (std::uint32_t address = first; address <= part.last; ++address) found.push_back(address);
  }
  return found;
}

}  // namespace kfab::sim

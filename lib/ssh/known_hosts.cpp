#include "ssh/known_hosts.hpp"

#include <algorithm>

#include "base/text.hpp"
#include "ssh/codec.hpp"

namespace kfab::ssh {
namespace {

std::string_view take_word(std::string_view& rest) {
  const std::size_t begin = rest.find_first_not_of(" \t");
  if (begin == std::string_view::npos) { rest = {}; return {}; }
  const std::size_t end = std::min(rest.find_first_of(" \t", begin), rest.size());
  const std::string_view word = rest.substr(begin, end - begin);
  rest = rest.substr(end);
  return word;
}

// '*' any characters, '?' one. Iterative: a pattern from a file must not cost more than length times length.
bool wildcard_match(std::string_view pattern, std::string_view name) {
  std::size_t p = 0, n = 0, star = std::string_view::npos, resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') { star = p++; resume = n; }
    else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) { ++p; ++n; }
    else if (star != std::string_view::npos) { p = star + 1; n = ++resume; }
    else return false;
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

// A list matches when one of its words does and none of its negated words does.
bool list_match(const std::vector<std::string>& words, std::string_view name) {
  bool found = false;
  for (std::string_view word : words) {
    const bool negated = !word.empty() && word.front() == '!';
    if (negated) word.remove_prefix(1);
    if (!wildcard_match(word, name)) continue;
    if (negated) return false;
    found = true;
  }
  return found;
}

}  // namespace

std::string known_hosts_name(std::string_view host, unsigned port) {
  std::string name = to_lower(host);
  return port == 22 ? name : "[" + name + "]:" + std::to_string(port);
}

void KnownHosts::add(std::string_view text, std::size_t file) {
  std::size_t number = 0;
  for (std::string_view line : split_lines(text)) add_line(line, ++number, file);
}

void KnownHosts::add_line(std::string_view line, std::size_t line_number, std::size_t file) {
  const std::string_view first = take_word(line);
  if (first.empty() || first.front() == '#') return;
  std::string_view names = first;
  KnownHost entry;
  entry.line = line_number;
  entry.file = file;
  if (first.front() == '@') {
    if (first == "@revoked") entry.marker = Marker::revoked;
    else if (first == "@cert-authority") entry.marker = Marker::cert_authority;
    else { ++skipped_; return; }
    names = take_word(line);
  }
  entry.names = names;
  entry.type = take_word(line);
  auto blob = base64_decode(take_word(line));
  // The type stands in the blob as well; a line whose two types differ is not to be trusted either way.
  if (names.empty() || !blob || blob->empty() || key_type(*blob) != entry.type) { ++skipped_; return; }
  entry.blob = std::move(*blob);
  std::size_t hashed_at = not_hashed;
  if (names.front() == '|') {
    HashedNames& hashed = hashed_[static_cast<std::size_t>(entry.marker)];
    hashed_at = hashed.size();
    if (!hashed.add(names, entries_.size())) { ++skipped_; return; }
    if (entry.marker == Marker::none) ++hashed_types_[entry.type];
  }
  entries_.push_back(std::move(entry));
  const std::size_t at = entries_.size() - 1;
  by_key_[entries_[at].blob].push_back({at, hashed_at});
  if (hashed_at == not_hashed) add_names(names, at);
}

void KnownHosts::add_names(std::string_view names, std::size_t entry) {
  const std::string lower = to_lower(names);
  if (lower.find_first_of("*?!") != std::string::npos) {
    patterns_.push_back({split(lower, ','), entry});
    return;
  }
  for (std::string& name : split(lower, ',')) {
    if (!name.empty()) plain_[std::move(name)].push_back(entry);
  }
}

void KnownHosts::add_readable(std::string_view name, Marker marker, Lines& found) const {
  if (const auto it = plain_.find(std::string(name)); it != plain_.end()) {
    for (const std::size_t entry : it->second) {
      if (entries_[entry].marker == marker) found.push_back(&entries_[entry]);
    }
  }
  for (const Patterns& patterns : patterns_) {
    if (entries_[patterns.entry].marker == marker && list_match(patterns.words, name)) found.push_back(&entries_[patterns.entry]);
  }
}

KnownHosts::Lines KnownHosts::matching(std::string_view name, Marker marker) const {
  Lines found;
  add_readable(name, marker, found);
  for (const std::size_t entry : hashed_[static_cast<std::size_t>(marker)].find_all(name)) found.push_back(&entries_[entry]);
  return found;
}

KnownHosts::Lines KnownHosts::find_readable(std::string_view name) const {
  Lines found;
  add_readable(name, Marker::none, found);
  for (const std::size_t entry : hashed_[0].known(name)) found.push_back(&entries_[entry]);
  return found;
}

const KnownHost* KnownHosts::find_key(std::string_view name, std::string_view blob, Marker marker) const {
  const auto places = by_key_.find(blob);
  if (places == by_key_.end()) return nullptr;
  Lines readable;
  add_readable(name, marker, readable);
  for (const KnownHost* line : readable) {
    if (line->blob == blob) return line;
  }
  const HashedNames& hashed = hashed_[static_cast<std::size_t>(marker)];
  // Many hashed lines with one key, as cloned machines make them, are tried side by side instead, and only once.
  constexpr std::size_t few = 64;
  if (places->second.size() > few) {
    for (const std::size_t entry : hashed.find_all(name)) {
      if (entries_[entry].blob == blob) return &entries_[entry];
    }
    return nullptr;
  }
  for (const auto& [entry, at] : places->second) {
    if (at != not_hashed && entries_[entry].marker == marker && hashed.matches(at, name)) return &entries_[entry];
  }
  return nullptr;
}

std::size_t KnownHosts::sweep(const std::vector<std::string>& names) const {
  hashed_[0].sweep(names);
  return hashed_[0].size() - hashed_[0].found();
}

KnownHosts::Lines KnownHosts::lines_of_key(std::string_view blob) const {
  Lines found;
  if (const auto places = by_key_.find(blob); places != by_key_.end()) {
    for (const Place& place : places->second) found.push_back(&entries_[place.entry]);
  }
  return found;
}

std::vector<std::string> KnownHosts::types_not_tried(std::string_view name) const {
  if (hashed_[0].all_tried(name)) return {};
  std::vector<std::pair<std::size_t, std::string>> counted;
  for (const auto& [type, count] : hashed_types_) counted.emplace_back(count, type);
  std::stable_sort(counted.begin(), counted.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<std::string> types;
  for (auto& [count, type] : counted) types.push_back(std::move(type));
  return types;
}

bool KnownHosts::may_hide(std::string_view name, std::string_view type) const {
  return hashed_types_.contains(std::string(type)) && !hashed_[0].all_tried(name);
}

}  // namespace kfab::ssh

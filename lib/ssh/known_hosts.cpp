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
  std::string_view names = take_word(line);
  if (names.empty() || names.front() == '#') return;
  KnownHost entry;
  entry.line = line_number;
  entry.file = file;
  if (names.front() == '@') {
    if (names == "@revoked") entry.marker = KnownHost::Marker::revoked;
    else if (names == "@cert-authority") entry.marker = KnownHost::Marker::cert_authority;
    else { ++skipped_; return; }
    names = take_word(line);
  }
  entry.type = take_word(line);
  auto blob = base64_decode(take_word(line));
  // The type stands in the blob as well; a line whose two types differ is not to be trusted either way.
  if (names.empty() || !blob || blob->empty() || key_type(*blob) != entry.type) { ++skipped_; return; }
  entry.blob = std::move(*blob);
  entries_.push_back(std::move(entry));
  add_names(names, entries_.size() - 1);
}

void KnownHosts::add_names(std::string_view names, std::size_t entry) {
  if (names.starts_with("|1|")) {
    const std::size_t bar = names.find('|', 3);
    auto salt = bar == std::string_view::npos ? std::nullopt : base64_decode(names.substr(3, bar - 3));
    auto digest = salt ? base64_decode(names.substr(bar + 1)) : std::nullopt;
    if (!digest || digest->size() != 20) { ++skipped_; return; }
    hashed_.push_back({std::move(*salt), std::move(*digest), entry});
    return;
  }
  const std::string lower = to_lower(names);
  if (lower.find_first_of("*?!") != std::string::npos) {
    patterns_.push_back({split(lower, ','), entry});
    return;
  }
  for (std::string& name : split(lower, ',')) {
    if (!name.empty()) plain_[std::move(name)].push_back(entry);
  }
}

std::vector<const KnownHost*> KnownHosts::find(std::string_view name) const { return matching(name, false); }
std::vector<const KnownHost*> KnownHosts::find_marked(std::string_view name) const { return matching(name, true); }

std::vector<const KnownHost*> KnownHosts::matching(std::string_view name, bool marked) const {
  std::vector<const KnownHost*> found;
  const auto wanted = [&](std::size_t entry) { return (entries_[entry].marker != KnownHost::Marker::none) == marked; };
  if (const auto it = plain_.find(std::string(name)); it != plain_.end()) {
    for (std::size_t entry : it->second) {
      if (wanted(entry)) found.push_back(&entries_[entry]);
    }
  }
  for (const Patterns& patterns : patterns_) {
    if (wanted(patterns.entry) && list_match(patterns.words, name)) found.push_back(&entries_[patterns.entry]);
  }
  if (!found.empty() && !marked) return found;
  for (const Hashed& hashed : hashed_) {
    if (wanted(hashed.entry) && hmac_sha1(hashed.salt, name) == hashed.digest) found.push_back(&entries_[hashed.entry]);
  }
  return found;
}

}  // namespace kfab::ssh

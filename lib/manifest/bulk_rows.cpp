#include "manifest/bulk_rows.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace kfab::manifest {
namespace {

constexpr std::size_t worth_it = 64;   // fewer rows than this gain nothing

constexpr auto character_class = [](std::string_view members, bool alphanumeric) {
  std::array<bool, 256> table{};
  if (alphanumeric)
    for (int c = 0; c < 256; ++c)
      table[static_cast<std::size_t>(c)] = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  for (const char c : members) table[static_cast<unsigned char>(c)] = true;
  return table;
};
constexpr auto starts_word = character_class("", true);
constexpr auto in_word = character_class("._/-:@+", true);
bool is(const std::array<bool, 256>& table, char c) { return table[static_cast<unsigned char>(c)]; }

// Reads words, key-value pairs and whole items; every function says whether the text was of the simple shape.
class RowReader {
 public:
  explicit RowReader(const std::string& text) : text_(text) {}

  // An item whose "- " stands at `indent` on the line that begins at `at`. On success `at` is the beginning of the line
  // after the item and `item` holds the map.
  bool item(std::size_t& at, std::size_t& indent, YamlNode& item) {
    std::size_t p = at;
    while (p < text_.size() && text_[p] == ' ') ++p;
    if (p + 2 >= text_.size() || text_[p] != '-' || text_[p + 1] != ' ') return false;
    const std::size_t dash = p - at;
    if (indent != npos && dash != indent) return false;
    p += 2;
    item.shape = Shape::map;
    item.begin = static_cast<std::uint32_t>(p);
    const bool good = text_[p] == '{' ? flow_map(p, item) : block_map(p, dash + 2, item);
    if (!good) return false;
    indent = dash;
    at = p;
    return true;
  }

  static constexpr std::size_t npos = static_cast<std::size_t>(-1);

 private:
  bool word(std::size_t& p, YamlNode& out) const {
    const std::size_t begin = p;
    if (p < text_.size() && text_[p] == '"') return quoted_word(p, out);
    if (p >= text_.size() || !is(starts_word, text_[p])) return false;
    while (p < text_.size() && is(in_word, text_[p])) {
      if (text_[p] == ':' && (p + 1 >= text_.size() || !is(starts_word, text_[p + 1]))) break;   // ends a key
      ++p;
    }
    out.shape = Shape::scalar;
    out.begin = static_cast<std::uint32_t>(begin);
    out.end = static_cast<std::uint32_t>(p);
    out.text.assign(text_, begin, p - begin);
    return !(out.text == "null" || out.text == "Null" || out.text == "NULL");
  }

  // "text" of plain ASCII without a backslash, so that nothing in it means anything but itself.
  bool quoted_word(std::size_t& p, YamlNode& out) const {
    const std::size_t begin = p++;
    while (p < text_.size() && text_[p] >= 0x20 && text_[p] < 0x7f && text_[p] != '"' && text_[p] != '\\') ++p;
    if (p >= text_.size() || text_[p] != '"') return false;
    ++p;
    out.shape = Shape::scalar;
    out.quoted = true;
    out.begin = static_cast<std::uint32_t>(begin);
    out.end = static_cast<std::uint32_t>(p);
    out.text.assign(text_, begin + 1, p - begin - 2);
    return true;
  }

  bool pair(std::size_t& p, YamlNode& map) const {
    map.items.resize(map.items.size() + 2);
    YamlNode& key = map.items[map.items.size() - 2];
    if (!word(p, key) || p + 1 >= text_.size() || text_[p] != ':' || text_[p + 1] != ' ') return false;
    p += 2;
    return word(p, map.items.back());
  }

  bool end_of_line(std::size_t& p) const {
    if (p >= text_.size() || text_[p] != '\n') return false;
    ++p;
    return true;
  }

  bool flow_map(std::size_t& p, YamlNode& map) const {
    map.end = map.begin + 1;
    map.items.reserve(12);
    ++p;
    for (;;) {
      if (!pair(p, map) || p >= text_.size()) return false;
      if (text_[p] == '}') return end_of_line(++p);
      if (text_[p] != ',' || p + 1 >= text_.size() || text_[p + 1] != ' ') return false;
      p += 2;
    }
  }

  bool block_map(std::size_t& p, std::size_t indent, YamlNode& map) const {
    map.items.reserve(12);
    for (;;) {
      if (!pair(p, map) || !end_of_line(p)) return false;
      std::size_t q = p;
      while (q < text_.size() && text_[q] == ' ') ++q;
      if (q - p != indent || q >= text_.size() || text_[q] == '\n' || text_[q] == '-') break;
      p = q;
    }
    map.end = map.items.front().end;
    return true;
  }

  const std::string& text_;
};

}  // namespace

std::uint32_t BulkText::original(std::uint32_t offset) const {
  const auto after = std::upper_bound(cuts.begin(), cuts.end(), offset, [](std::uint32_t o, const Cut& c) { return o < c.at; });
  return after == cuts.begin() ? offset : offset + std::prev(after)->removed;
}

BulkText take_bulk_rows(const std::string& text) {
  BulkText out;
  RowReader reader(text);
  std::size_t copied = 0, removed = 0;   // of the original text
  for (std::size_t at = 0; at < text.size();) {
    const char* dash_line = static_cast<const char*>(std::memchr(text.data() + at, '\n', text.size() - at));
    const std::size_t next_line = dash_line ? static_cast<std::size_t>(dash_line - text.data()) + 1 : text.size();
    std::size_t indent = RowReader::npos, p = at;
    YamlNode first;
    if (!reader.item(p, indent, first)) {
      at = next_line;
      continue;
    }
    BulkRun run;
    run.first_item = first.begin;
    const std::size_t begin = p;   // of the second item
    std::size_t last_begin = p;
    for (;;) {
      last_begin = p;
      YamlNode item;
      if (!reader.item(p, indent, item)) break;
      run.items.push_back(std::move(item));
    }
    // Here `last_begin` is where the first line that is not of the run stands. The run's last item stays in the text.
    if (run.items.size() < worth_it) {
      at = std::max(last_begin, next_line);
      continue;
    }
    std::size_t line = run.items.back().begin;
    while (line > 0 && text[line - 1] != '\n') --line;
    run.items.pop_back();
    out.text.append(text, copied, begin - copied);
    removed += line - begin;
    out.cuts.push_back({static_cast<std::uint32_t>(out.text.size()), static_cast<std::uint32_t>(removed)});
    copied = line;
    out.runs.push_back(std::move(run));
    at = last_begin;
  }
  out.text.append(text, copied, text.size() - copied);
  return out;
}

}  // namespace kfab::manifest

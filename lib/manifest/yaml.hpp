#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/diagnostic.hpp"
#include "json/value.hpp"
#include "manifest/source.hpp"

namespace kfab::manifest {

enum class Shape : std::uint8_t { null, scalar, sequence, map };

// One value of a YAML text and where it stands. Scalars keep their text as written; what it means (a number, a date, a
// word) is for whoever asks for it. `begin` and `end` are byte offsets of the token; those of a sequence or map are of
// its first token, which is what a caret should point at. A value that is not written has its key's place.
struct YamlNode {
  Shape shape = Shape::null;
  bool quoted = false;               // a scalar in quotes or a block scalar: never a number, truth value or null
  std::uint32_t begin = 0, end = 0;
  std::string text{};                // of a scalar
  std::vector<YamlNode> items{};     // of a sequence: its values; of a map: key, value, key, value, ...

  std::size_t size() const { return shape == Shape::map ? items.size() / 2 : items.size(); }
  const YamlNode& key(std::size_t i) const { return items[2 * i]; }
  const YamlNode& value(std::size_t i) const { return items[2 * i + 1]; }
  const YamlNode* find(std::string_view key) const;   // of a map; the first of that name, or null
};

inline constexpr std::size_t max_manifest_bytes = std::size_t{64} << 20;
inline constexpr std::size_t max_values = 8'000'000;
inline constexpr int max_depth = 64;

// Reads all documents of a text; those that hold nothing are left out. Whatever is wrong with the text itself goes to
// `diagnostics`: not UTF-8, not YAML, tabs, duplicate keys, aliases, anchors and tags, nesting past max_depth, more
// than max_values values. After an error of syntax the documents before it are still returned. Never throws.
std::vector<YamlNode> parse_yaml(const Source& source, Diagnostics& diagnostics);

// What a value means by YAML 1.2's core schema: null, true, false, whole and decimal numbers; all else is text.
json::Value to_json_value(const YamlNode&);

// The value in one fixed spelling: keys sorted, no comments, no layout. Two documents that say the same have the same.
void append_canonical(const YamlNode&, std::string& out);

}  // namespace kfab::manifest

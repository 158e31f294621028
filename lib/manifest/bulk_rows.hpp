#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "manifest/yaml.hpp"

namespace kfab::manifest {

// Long lists of nodes are rows of one simple shape, and a general YAML scanner spends most of its time on them. These
// are taken out of the text before it is scanned and put back into the tree after the row that came before them.
//
// A run is a stretch of sibling items, `- {key: value, ...}` on one line each or `- key: value` with further keys
// below, of nothing but plain words and simple quoted ones. Its first and last item stay in the text, so that whatever stands around a run is
// read, and refused, by the scanner. Whether such lines really are items of a list (they could stand in a block of
// literal text) shows when the scanner meets the first one as a map at its place: a run that is not met so was none,
// and the text must be read again without this.
struct BulkRun {
  std::uint32_t first_item = 0;        // offset, in the original text, of the first token of the item that stays before
  std::vector<YamlNode> items{};       // those taken out, with their places in the original text
};

struct BulkText {
  struct Cut { std::uint32_t at, removed; };   // offset in the short text; bytes removed up to and including here
  std::string text;                  // what is left
  std::vector<Cut> cuts;             // ascending
  std::vector<BulkRun> runs;         // ascending by first_item

  std::uint32_t original(std::uint32_t offset) const;   // of the original text, for an offset of the short one
};

BulkText take_bulk_rows(const std::string& text);

}  // namespace kfab::manifest

#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kfab::agent {

// A unified diff with three lines of context, or one line that says that a side is not text. At most `max_bytes`:
// what is cut is said. Texts too large to compare line by line are shown as removed and added as a whole, then cut.
std::string unified_diff(std::string_view before, std::string_view after, std::string_view path,
                         std::size_t max_bytes = 16 * 1024);

// One difference: the lines [begin, end) of the text before became these, newlines included.
struct Hunk {
  std::size_t begin = 0, end = 0;
  std::vector<std::string> lines;
};
// All differences, in their order; no two of them touch.
std::vector<Hunk> hunks_between(std::string_view before, std::string_view after);

// What `mine` becomes when what leads from `base` to `theirs` is done to it as well: three versions of a file of lines.
// Where both changed the same lines, or added at the same place, otherwise than the other there is no answer, unless
// `theirs_wins`.
std::optional<std::string> merged_text(std::string_view base, std::string_view mine, std::string_view theirs, bool theirs_wins = false);

}  // namespace kfab::agent

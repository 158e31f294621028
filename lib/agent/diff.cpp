#include "agent/diff.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include <fmt/format.h>

#include "base/text.hpp"

namespace kfab::agent {
namespace {

constexpr std::size_t context_lines = 3;
constexpr std::size_t max_table_cells = 4'000'000;   // of the comparison, two bytes each

struct Edit {
  char kind;   // ' ' both, '-' only before, '+' only after
  std::string_view line;
};

// Lines with their newline, so that a missing last one is a difference.
std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const auto end = text.find('\n');
    const auto size = end == std::string_view::npos ? text.size() : end + 1;
    lines.push_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  return lines;
}

using Lines = std::vector<std::string_view>;

// The longest common subsequence of what is left between a common beginning and a common end.
void compare_middle(const Lines& a, const Lines& b, std::size_t first, std::size_t a_end, std::size_t b_end,
                    std::vector<Edit>& edits) {
  const std::size_t rows = a_end - first, columns = b_end - first;
  if (rows == 0 || columns == 0 || rows * columns > max_table_cells || std::min(rows, columns) > 65535) {
    for (std::size_t i = first; i < a_end; ++i) edits.push_back({'-', a[i]});
    for (std::size_t j = first; j < b_end; ++j) edits.push_back({'+', b[j]});
    return;
  }
  std::vector<std::uint16_t> common((rows + 1) * (columns + 1), 0);
  const auto at = [&](std::size_t i, std::size_t j) -> std::uint16_t& { return common[i * (columns + 1) + j]; };
  for (std::size_t i = rows; i-- > 0;)
    for (std::size_t j = columns; j-- > 0;)
      at(i, j) = a[first + i] == b[first + j] ? static_cast<std::uint16_t>(at(i + 1, j + 1) + 1)
                                              : std::max(at(i + 1, j), at(i, j + 1));
  std::size_t i = 0, j = 0;
  while (i < rows || j < columns) {
    if (i < rows && j < columns && a[first + i] == b[first + j]) {
      edits.push_back({' ', a[first + i]});
      ++i, ++j;
    } else if (j == columns || (i < rows && at(i + 1, j) >= at(i, j + 1))) {
      edits.push_back({'-', a[first + i++]});
    } else {
      edits.push_back({'+', b[first + j++]});
    }
  }
}

std::vector<Edit> compare(const Lines& a, const Lines& b) {
  std::size_t first = 0, a_end = a.size(), b_end = b.size();
  while (first < a_end && first < b_end && a[first] == b[first]) ++first;
  while (a_end > first && b_end > first && a[a_end - 1] == b[b_end - 1]) --a_end, --b_end;
  std::vector<Edit> edits;
  for (std::size_t i = 0; i < first; ++i) edits.push_back({' ', a[i]});
  compare_middle(a, b, first, a_end, b_end, edits);
  for (std::size_t i = a_end; i < a.size(); ++i) edits.push_back({' ', a[i]});
  return edits;
}

std::string range(std::size_t start, std::size_t count) {
  if (count == 1) return fmt::format("{}", start + 1);
  return fmt::format("{},{}", count == 0 ? start : start + 1, count);
}

bool is_text(std::string_view bytes) { return bytes.find('\0') == std::string_view::npos && is_valid_utf8(bytes); }

}  // namespace

std::string unified_diff(std::string_view before, std::string_view after, std::string_view path,
                         std::size_t max_bytes) {
  if (before == after) return {};
  if (!is_text(before) || !is_text(after))
    return fmt::format("binary content of {} differs ({} bytes before, {} after)\n", path, before.size(), after.size());
  const auto edits = compare(lines_of(before), lines_of(after));
  std::string out = fmt::format("--- {} (on the node)\n+++ {} (declared)\n", path, path);
  std::size_t line_a = 0, line_b = 0, next = 0;
  while (next < edits.size()) {
    // A hunk: from the context before one change to the context after the last that is near enough.
    std::size_t change = next;
    while (change < edits.size() && edits[change].kind == ' ') ++change;
    if (change == edits.size()) break;
    const std::size_t begin = change - std::min(change - next, context_lines);
    std::size_t end = change + 1;
    for (std::size_t i = end, quiet = 0; i < edits.size() && quiet < 2 * context_lines; ++i) {
      quiet = edits[i].kind == ' ' ? quiet + 1 : 0;
      if (quiet == 0) end = i + 1;
    }
    end = std::min(edits.size(), end + context_lines);
    line_a += begin - next;
    line_b += begin - next;
    std::size_t count_a = 0, count_b = 0;
    std::string body;
    for (std::size_t i = begin; i < end; ++i) {
      count_a += edits[i].kind != '+' ? 1 : 0;
      count_b += edits[i].kind != '-' ? 1 : 0;
      body += edits[i].kind;
      body += edits[i].line;
      if (!edits[i].line.ends_with('\n')) body += "\n\\ No newline at end of file\n";
    }
    out += fmt::format("@@ -{} +{} @@\n{}", range(line_a, count_a), range(line_b, count_b), body);
    line_a += count_a;
    line_b += count_b;
    next = end;
    if (out.size() > max_bytes) break;
  }
  if (out.size() <= max_bytes) return out;
  const auto cut = out.rfind('\n', max_bytes);
  out.resize(cut == std::string::npos ? 0 : cut + 1);
  return out + fmt::format("... (cut at {} bytes)\n", max_bytes);
}

std::vector<Hunk> hunks_between(std::string_view before, std::string_view after) {
  std::vector<Hunk> hunks;
  std::size_t line = 0;
  bool open = false;
  for (const auto& edit : compare(lines_of(before), lines_of(after))) {
    if (edit.kind == ' ') {
      open = false;
      ++line;
      continue;
    }
    if (!open) hunks.push_back({line, line, {}});
    open = true;
    if (edit.kind == '-') hunks.back().end = ++line;
    else hunks.back().lines.emplace_back(edit.line);
  }
  return hunks;
}

namespace {

// Whether both cannot be done: they take the same lines away, or add at the same place.
bool collide(const Hunk& a, const Hunk& b) {
  if (a.begin == a.end && b.begin == b.end) return a.begin == b.begin;
  return a.begin < b.end && b.begin < a.end;   // an addition at the edge of what goes is no obstacle
}

bool same(const Hunk& a, const Hunk& b) { return a.begin == b.begin && a.end == b.end && a.lines == b.lines; }

}  // namespace

std::optional<std::string> merged_text(std::string_view base, std::string_view mine, std::string_view theirs, bool theirs_wins) {
  auto ours = hunks_between(base, mine);
  std::vector<Hunk> all = hunks_between(base, theirs);
  for (auto& hunk : ours) {
    bool keep = true;
    for (const auto& other : all) {
      if (!collide(hunk, other)) continue;
      if (same(hunk, other) || theirs_wins) keep = false;
      else if (hunk.lines.empty() && other.lines.empty()) continue;   // both only take away: all of it goes
      else return std::nullopt;
    }
    if (keep) all.push_back(std::move(hunk));
  }
  const auto lines = lines_of(base);
  // An addition before the lines at its place go.
  std::stable_sort(all.begin(), all.end(), [](const Hunk& a, const Hunk& b) { return a.begin != b.begin ? a.begin < b.begin : a.end < b.end; });
  std::string out;
  const auto add = [&](std::string_view line) {   // a last line without a newline that is the last no more gets one
    if (!out.empty() && !out.ends_with('\n')) out += '\n';
    out += line;
  };
  std::size_t at = 0;
  for (const auto& hunk : all) {
    for (; at < hunk.begin; ++at) add(lines[at]);
    for (const auto& line : hunk.lines) add(line);
    at = std::max(at, hunk.end);
  }
  for (; at < lines.size(); ++at) add(lines[at]);
  return out;
}

}  // namespace kfab::agent

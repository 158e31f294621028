#include "manifest/source.hpp"

#include <algorithm>

#include "base/text.hpp"

namespace kfab::manifest {

Source::Source(std::string file, std::string text) : file_(std::move(file)), text_(std::move(text)) {
  line_starts_.push_back(0);
  for (std::size_t at = text_.find('\n'); at != std::string::npos; at = text_.find('\n', at + 1))
    line_starts_.push_back(static_cast<std::uint32_t>(at + 1));
}

std::size_t Source::line_of(std::size_t offset) const {
  const auto after = std::upper_bound(line_starts_.begin(), line_starts_.end(), offset);
  return static_cast<std::size_t>(after - line_starts_.begin());
}

std::string_view Source::line(std::size_t number) const {
  if (number == 0 || number > line_starts_.size()) return {};
  const std::size_t begin = line_starts_[number - 1];
  std::size_t end = number < line_starts_.size() ? line_starts_[number] - 1 : text_.size();
  if (end > begin && text_[end - 1] == '\r') --end;
  return std::string_view(text_).substr(begin, end - begin);
}

SourceSpan Source::span(std::size_t begin, std::size_t end) const {
  begin = std::min(begin, text_.size());
  end = std::clamp(end, begin, text_.size());
  const std::string_view all = text_;
  const std::size_t first = line_of(begin), last = line_of(end);
  const auto column = [&](std::size_t line, std::size_t offset) {
    const std::size_t start = line_starts_[line - 1];
    return static_cast<std::uint32_t>(code_points(all.substr(start, offset - start)) + 1);
  };
  SourceSpan out;
  out.file = file_;
  out.line = static_cast<std::uint32_t>(first);
  out.column = column(first, begin);
  out.end_line = static_cast<std::uint32_t>(last);
  out.end_column = column(last, end);
  out.byte_offset = begin;
  return out;
}

}  // namespace kfab::manifest

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/diagnostic.hpp"

namespace kfab::manifest {

// A text with an index of its lines: turns byte offsets into lines and columns (columns in code points).
class Source {
 public:
  Source(std::string file, std::string text);

  const std::string& file() const { return file_; }
  const std::string& text() const { return text_; }
  // The span of bytes [begin, end). Offsets past the end of the text are cut to it.
  SourceSpan span(std::size_t begin, std::size_t end) const;
  // The line (from 1) without its end of line; empty past the last one.
  std::string_view line(std::size_t number) const;
  std::size_t line_count() const { return line_starts_.size(); }
  std::size_t line_of(std::size_t offset) const;   // from 1
  std::size_t line_begin(std::size_t number) const { return line_starts_[number - 1]; }

 private:
  std::string file_, text_;
  std::vector<std::uint32_t> line_starts_;
};
using SourcePtr = std::shared_ptr<const Source>;

}  // namespace kfab::manifest

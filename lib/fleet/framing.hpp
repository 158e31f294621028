#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace kfab::fleet {

// Cuts a stream of bytes into lines. A line longer than the limit is never kept: the stream is broken from there on.
class LineFramer {
 public:
  static constexpr std::size_t default_max_line = std::size_t{8} << 20;
  explicit LineFramer(std::size_t max_line = default_max_line) : max_line_(max_line) {}

  // Calls `on_line(std::string_view)` for each line that `bytes` completes, without its end; stops when it returns
  // false. False when a line is too long.
  template <class OnLine>
  bool feed(std::string_view bytes, OnLine on_line) {
    while (!bytes.empty() && !broken_) {
      const std::size_t end = bytes.find('\n');
      const std::string_view piece = bytes.substr(0, end);
      if (partial_.size() + piece.size() > max_line_) {
        broken_ = true;
        partial_ = {};
        break;
      }
      if (end == std::string_view::npos) {
        partial_ += piece;
        break;
      }
      bytes.remove_prefix(end + 1);
      bool go_on = true;
      if (partial_.empty()) {
        go_on = on_line(without_cr(piece));
      } else {
        partial_ += piece;
        const std::string line = std::exchange(partial_, {});
        go_on = on_line(without_cr(line));
      }
      if (!go_on) break;
    }
    return !broken_;
  }
  bool empty() const { return partial_.empty(); }   // nothing of an unfinished line is held

 private:
  static std::string_view without_cr(std::string_view line) {
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    return line;
  }
  std::size_t max_line_;
  std::string partial_;
  bool broken_ = false;
};

}  // namespace kfab::fleet

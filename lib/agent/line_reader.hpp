#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace kfab::agent {

// Lines from a descriptor that is read only when poll() says so.
class LineReader {
 public:
  enum class State : std::uint8_t { open, ended, too_long };
  explicit LineReader(int fd) : fd_(fd) {}
  int fd() const { return fd_; }

  // Reads once (may block when nothing is there); more than `max_line_bytes` without a newline is too_long.
  State fill(std::size_t max_line_bytes);
  // The next whole line, without its newline.
  std::optional<std::string> next();

 private:
  int fd_;
  std::string buffer_;
  std::size_t searched_ = 0;
};

}  // namespace kfab::agent

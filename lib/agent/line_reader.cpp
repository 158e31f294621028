#include "agent/line_reader.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>

namespace kfab::agent {

LineReader::State LineReader::fill(std::size_t max_line_bytes) {
  std::array<char, 65536> chunk;
  ssize_t n = 0;
  do n = ::read(fd_, chunk.data(), chunk.size());
  while (n < 0 && errno == EINTR);
  if (n < 0 && errno == EAGAIN) return State::open;
  if (n <= 0) return State::ended;
  buffer_.append(chunk.data(), static_cast<std::size_t>(n));
  if (buffer_.size() > max_line_bytes && buffer_.find('\n', searched_) == std::string::npos) return State::too_long;
  return State::open;
}

std::optional<std::string> LineReader::next() {
  const auto end = buffer_.find('\n', searched_);
  if (end == std::string::npos) {
    searched_ = buffer_.size();   // a long line is searched once, not once per chunk
    return std::nullopt;
  }
  std::string line = buffer_.substr(0, end);
  buffer_.erase(0, end + 1);
  searched_ = 0;
  return line;
}

}  // namespace kfab::agent

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "base/codes/agent.hpp"
#include "base/codes/commands.hpp"
#include "base/codes/ssh.hpp"
#include "base/result.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"
#include "fleet/copy.hpp"

namespace kfab::fleet {

Result<LocalFile> LocalFile::open(const std::string& path, const Watch& watch) {
  const auto unusable = [&](std::string_view why) { return error(code::copy_source_unusable, fmt::format("{}: {}", one_line(path), why)); };
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return unusable(std::strerror(errno));
  LocalFile file;
  file.fd_ = fd;
  struct stat facts{};
  if (::fstat(fd, &facts) != 0) return unusable(std::strerror(errno));
  if (S_ISDIR(facts.st_mode)) return unusable("is a directory");
  if (!S_ISREG(facts.st_mode)) return unusable("is no regular file");
  file.size_ = static_cast<std::uint64_t>(facts.st_size);
  file.mode_ = facts.st_mode & 0777U;
  Sha256 sum;
  std::string chunk(grid_bytes, '\0');
  for (std::uint64_t at = 0; at < file.size_; at += chunk.size()) {
    chunk.resize(static_cast<std::size_t>(std::min(grid_bytes, file.size_ - at)));
    if (!file.read(at, chunk.data(), chunk.size())) return error(code::copy_source_changed, fmt::format("{}: cannot be read to its end", one_line(path)));
    sum.update(chunk);
    if (chunk.size() == grid_bytes) file.grid_.push_back(Sha256(sum).hex());
    if (watch && !watch(at + chunk.size(), file.size_)) return error(code::fleet_cancelled, fmt::format("{}: stopped while it was read for its checksum", one_line(path)));
  }
  file.sha256_ = sum.hex();
  return file;
}

bool LocalFile::read(std::uint64_t at, char* into, std::size_t count) const {
  while (count > 0) {
    const ssize_t got = ::pread(fd_, into, count, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      cut_short_ = true;
      return false;
    }
    at += static_cast<std::uint64_t>(got);
    into += got;
    count -= static_cast<std::size_t>(got);
  }
  return true;
}

LocalFile::~LocalFile() {
  if (fd_ >= 0) ::close(fd_);
}

LocalFile::LocalFile(LocalFile&& other) noexcept
    : ssh::ByteSource(), fd_(std::exchange(other.fd_, -1)), size_(other.size_), mode_(other.mode_), cut_short_(other.cut_short_.load()), sha256_(std::move(other.sha256_)),
      grid_(std::move(other.grid_)) {}

bool LocalFile::begins_with(std::uint64_t bytes, std::string_view sha256) const {
  const std::uint64_t steps = bytes / grid_bytes;
  return bytes % grid_bytes == 0 && steps > 0 && steps <= grid_.size() && grid_[steps - 1] == sha256;
}

}  // namespace kfab::fleet

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "base/codes/commands.hpp"
#include "base/result.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"
#include "fleet/copy.hpp"

namespace kfab::fleet {

Result<LocalFile> LocalFile::open(const std::string& path) {
  const auto unusable = [&](std::string_view why) { return error(code::copy_source_unusable, fmt::format("{}: {}", one_line(path), why)); };
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return unusable(std::strerror(errno));
  struct stat facts{};
  const bool told = ::fstat(fd, &facts) == 0;
  LocalFile file;
  if (told && S_ISREG(facts.st_mode) && facts.st_size > 0) {
    void* data = ::mmap(nullptr, static_cast<std::size_t>(facts.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
    if (data != MAP_FAILED) {
      file.data_ = data;
      file.size_ = static_cast<std::size_t>(facts.st_size);
    }
  }
  const int reason = errno;
  ::close(fd);
  if (!told || (file.data_ == nullptr && S_ISREG(facts.st_mode) && facts.st_size > 0)) return unusable(std::strerror(reason));
  if (S_ISDIR(facts.st_mode)) return unusable("is a directory");
  if (!S_ISREG(facts.st_mode)) return unusable("is no regular file");
  file.mode_ = facts.st_mode & 0777U;
  Sha256 sum;
  for (std::string_view rest = file.bytes(); !rest.empty();) {
    const std::string_view step = rest.substr(0, grid_bytes);
    sum.update(step);
    rest.remove_prefix(step.size());
    if (step.size() == grid_bytes) file.grid_.push_back(Sha256(sum).hex());
  }
  file.sha256_ = sum.hex();
  return file;
}

LocalFile::~LocalFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

LocalFile::LocalFile(LocalFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)), mode_(other.mode_), sha256_(std::move(other.sha256_)),
      grid_(std::move(other.grid_)) {}

bool LocalFile::begins_with(std::uint64_t bytes, std::string_view sha256) const {
  const std::uint64_t steps = bytes / grid_bytes;
  return bytes % grid_bytes == 0 && steps > 0 && steps <= grid_.size() && grid_[steps - 1] == sha256;
}

}  // namespace kfab::fleet

#include "base/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "base/codes/store.hpp"
#include "base/ids.hpp"
#include "base/text.hpp"

namespace kfab {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { if (fd_ >= 0) ::close(fd_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

Diagnostic system_error(Code code, std::string_view doing, const std::filesystem::path& path) {
  return error(code, fmt::format("cannot {} {}: {}", doing, one_line(path.string()), std::strerror(errno)));
}

}  // namespace

Result<std::string> read_file(const std::filesystem::path& path, std::size_t max_bytes) {
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.get() < 0) return system_error(code::file_unreadable, "open", path);
  std::string bytes;
  std::string chunk(std::size_t{1} << 16, '\0');
  for (;;) {
    const auto n = ::read(file.get(), chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error(code::file_unreadable, "read", path);
    if (n == 0) return bytes;
    bytes.append(chunk.data(), static_cast<std::size_t>(n));
    if (bytes.size() > max_bytes)
      return error(code::file_too_large, fmt::format("{} is larger than {} bytes", one_line(path.string()), max_bytes));
  }
}

Status write_file_atomically(const std::filesystem::path& path, std::string_view bytes, unsigned mode) {
  const std::filesystem::path beside = path.string() + ".tmp-" + random_hex(4);
  Descriptor file{::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)};
  if (file.get() < 0) return system_error(code::file_unwritable, "create", beside);
  const auto fail = [&](std::string_view doing) {
    Diagnostic why = system_error(code::file_unwritable, doing, path);
    ::unlink(beside.c_str());
    return why;
  };
  while (!bytes.empty()) {
    const auto n = ::write(file.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail("write");
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  if (::fsync(file.get()) != 0) return fail("sync");
  if (::close(file.release()) != 0) return fail("close");
  if (::rename(beside.c_str(), path.c_str()) != 0) return fail("replace");
  return ok();
}

}  // namespace kfab

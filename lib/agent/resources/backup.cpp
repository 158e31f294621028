#include "agent/resources/backup.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include <fmt/format.h>

#include "agent/resources/disk_file.hpp"
#include "base/codes/provision.hpp"
#include "base/file.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

constexpr std::size_t kept_per_path = 5;
constexpr std::size_t max_name_bytes = 160;

std::string time_stamp() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm parts{};
  ::gmtime_r(&now.tv_sec, &parts);
  return fmt::format("{:04}{:02}{:02}T{:02}{:02}{:02}.{:06}Z", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                     parts.tm_hour, parts.tm_min, parts.tm_sec, now.tv_nsec / 1000);
}

// The copies of one path, oldest first: the time in their names sorts them.
std::vector<std::string> copies(const std::string& directory, const std::string& name) {
  std::vector<std::string> found;
  std::error_code problem;
  for (const auto& entry : std::filesystem::directory_iterator(directory, problem)) {
    auto file = entry.path().filename().string();
    // Nothing but a time after the name: etc!fstab.d must not count for etc!fstab.
    if (file.size() == name.size() + 1 + 23 && file.starts_with(name + ".") && file.ends_with("Z"))
      found.push_back(std::move(file));
  }
  std::sort(found.begin(), found.end());
  return found;
}

Status copy_bytes(int from, const std::string& to, const std::string& path) {
  const auto beside = to + ".new";
  ::unlink(beside.c_str());
  Descriptor out(::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (out.get() < 0) return system_failure(errno, "keep a copy of", path);
  const auto give_up = [&]() -> Status {
    const int error_number = errno;
    ::unlink(beside.c_str());
    return system_failure(error_number, "keep a copy of", path);
  };
  std::string chunk(1 << 16, '\0');
  for (;;) {
    const auto n = ::read(from, chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return give_up();
    if (n == 0) break;
    for (ssize_t done = 0; done < n;) {
      const auto w = ::write(out.get(), chunk.data() + done, static_cast<std::size_t>(n - done));
      if (w < 0 && errno == EINTR) continue;
      if (w < 0) return give_up();
      done += w;
    }
  }
  if (::fsync(out.get()) != 0 || ::rename(beside.c_str(), to.c_str()) != 0) return give_up();
  return ok();
}

bool same_bytes(int fd, const struct stat& file, const std::string& copy) {
  struct stat kept {};
  if (::stat(copy.c_str(), &kept) != 0 || kept.st_size != file.st_size) return false;
  const auto bytes = read_file(copy, max_compared_bytes);
  if (!bytes) return false;
  std::string mine(static_cast<std::size_t>(file.st_size), '\0');
  const auto n = ::pread(fd, mine.data(), mine.size(), 0);
  return n == file.st_size && mine == *bytes;
}

}  // namespace

// Not everybody may write below /var/lib: an agent that is not root keeps its copies with its user.
std::string backup_directory(const NodeEnvironment& node) {
  if (!node.backup_directory.empty()) return node.backup_directory;
  const char* said = std::getenv("KFAB_RECORDS_DIR");
  if (said != nullptr && *said == '/') return fmt::format("{}/backups", said);
  if (::geteuid() == 0) return node.at("/var/lib/kfab/backups");
  const char* home = std::getenv("HOME");
  return home != nullptr && *home == '/' ? std::string(home) + "/.local/state/kfab/backups" : std::string();
}

std::string newest_backup(const std::string& path, const NodeEnvironment& node) {
  const auto directory = backup_directory(node);
  const auto kept = copies(directory, backup_name(path));
  return kept.empty() ? std::string() : directory + "/" + kept.back();
}

std::string backup_name(const std::string& path) {
  std::string name;
  for (const char c : std::string_view(path).substr(path.starts_with('/') ? 1 : 0)) {
    if (c == '!') name += "!!";   // paths hold no empty names, so this stays unambiguous
    else name += c == '/' ? '!' : c;
  }
  if (name.size() > max_name_bytes)
    name = sha256_hex(path).substr(0, 16) + "!!!" + name.substr(name.size() - (max_name_bytes - 19));
  return name;
}

Status keep_backup(const std::string& path, int directory_fd, const NodeEnvironment& node) {
  const auto directory = backup_directory(node);
  if (directory.empty())
    return error(code::backup_failed, fmt::format("there is no place for a copy of {}: HOME is not set", one_line(path)));
  KFAB_TRY_VOID(make_directories(directory_of(directory)));
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) return system_failure(errno, "make", directory);
  struct stat place {};
  if (::lstat(directory.c_str(), &place) != 0) return system_failure(errno, "look at", directory);
  if (!S_ISDIR(place.st_mode) || place.st_uid != ::geteuid())
    return error(code::backup_failed, fmt::format("{} is not a directory of the agent's own", one_line(directory)));
  if ((place.st_mode & 077) != 0 && ::chmod(directory.c_str(), 0700) != 0)
    return system_failure(errno, "set the mode of", directory);
  const Descriptor file(::openat(directory_fd, base_name(path).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat found {};
  if (file.get() < 0 || ::fstat(file.get(), &found) != 0) return system_failure(errno, "keep a copy of", path);
  if (static_cast<std::size_t>(found.st_size) > max_compared_bytes)
    return error(code::backup_failed, fmt::format("{} is too large to be kept: {} bytes", one_line(path), found.st_size));
  const auto name = backup_name(path);
  auto kept = copies(directory, name);
  if (!kept.empty() && same_bytes(file.get(), found, directory + "/" + kept.back())) return ok();
  KFAB_TRY_VOID(copy_bytes(file.get(), directory + "/" + name + "." + time_stamp(), path));
  kept = copies(directory, name);
  for (std::size_t i = 0; i + kept_per_path < kept.size(); ++i) ::unlink((directory + "/" + kept[i]).c_str());
  return ok();
}

}  // namespace kfab::agent

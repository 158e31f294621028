#include "agent/agent_cache.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <ctime>
#include <memory>
#include <string_view>

namespace kfab::agent {
namespace {

constexpr std::size_t most_entries = 10'000;         // of a folder that somebody fills

struct CloseDir {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

// The file behind a link such as /proc/self/exe; a path that is no link stands for itself.
std::string behind(const std::string& path) {
  std::array<char, PATH_MAX> target{};
  const ssize_t n = ::readlink(path.c_str(), target.data(), target.size() - 1);
  return n > 0 ? std::string(target.data(), static_cast<std::size_t>(n)) : path;
}

bool is_agent_name(std::string_view name) {
  constexpr std::string_view prefix = "agent-";
  return name.size() == prefix.size() + 64 && name.starts_with(prefix) && name.find_first_not_of("0123456789abcdef", prefix.size()) == std::string_view::npos;
}

// Whether nobody runs it: a file that is executed cannot be opened for writing, not even by root.
bool is_idle(int dir, const std::string& name) {
  const int fd = ::openat(dir, name.c_str(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return false;
  ::close(fd);
  return true;
}

}  // namespace

void mark_used(const std::string& executable) { (void)::utimensat(AT_FDCWD, executable.c_str(), nullptr, 0); }

std::vector<std::string> prune_agents(const std::string& executable, std::chrono::system_clock::time_point now, const CacheLimits& limits) {
  const std::string path = behind(executable);
  const auto slash = path.rfind('/');
  if (slash == std::string::npos || !is_agent_name(std::string_view(path).substr(slash + 1))) return {};
  const std::string own = path.substr(slash + 1);
  const std::unique_ptr<DIR, CloseDir> dir(::opendir(path.substr(0, slash + 1).c_str()));
  struct stat folder {};
  if (!dir || ::fstat(::dirfd(dir.get()), &folder) != 0 || (folder.st_mode & 022) != 0) return {};

  struct Old { std::time_t used; std::string name; };
  std::vector<Old> others;
  for (std::size_t seen = 0; seen < most_entries; ++seen) {
    const dirent* entry = ::readdir(dir.get());
    if (entry == nullptr) break;
    struct stat file {};
    if (!is_agent_name(entry->d_name) || entry->d_name == own || ::fstatat(::dirfd(dir.get()), entry->d_name, &file, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (S_ISREG(file.st_mode) && file.st_uid == folder.st_uid) others.push_back({file.st_mtime, entry->d_name});
  }
  std::sort(others.begin(), others.end(), [](const Old& a, const Old& b) { return a.used != b.used ? a.used > b.used : a.name < b.name; });
  const std::time_t young = std::chrono::system_clock::to_time_t(now - limits.unused);
  std::vector<std::string> removed;
  for (std::size_t i = std::max<std::size_t>(limits.newest, 1) - 1; i < others.size(); ++i)
    if (others[i].used < young && is_idle(::dirfd(dir.get()), others[i].name) && ::unlinkat(::dirfd(dir.get()), others[i].name.c_str(), 0) == 0) removed.push_back(others[i].name);
  return removed;
}

}  // namespace kfab::agent

#include "ssh/private_dir.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <utility>
#include <vector>

#include "base/codes/ssh.hpp"
#include "base/ids.hpp"
#include "base/text.hpp"

namespace kfab::ssh {
namespace {

namespace fs = std::filesystem;

// sun_path holds 108 bytes; ssh adds a dot and 16 letters while it makes its socket, and the names in here have 16.
constexpr std::size_t longest_path = 108 - 1 - 17 - 17 - 1;
constexpr int most_looked_at = 2000;
constexpr auto young = std::chrono::minutes(2);   // its owner may not have come to its lock yet

bool usable(const std::string& parent) {
  const bool plain = parent.starts_with('/') && std::all_of(parent.begin(), parent.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '/' || c == '.' || c == '-' || c == '_';
  });
  return plain && ::access(parent.c_str(), W_OK | X_OK) == 0;
}

// What processes of this user that are gone have left.
void sweep(const std::string& parent, const std::string& prefix) {
  std::error_code failed;
  int looked_at = 0;
  for (fs::directory_iterator entry(parent, failed), end; !failed && entry != end && looked_at < most_looked_at; entry.increment(failed), ++looked_at) {
    if (!entry->path().filename().string().starts_with(prefix)) continue;
    struct stat about {};
    if (::lstat(entry->path().c_str(), &about) != 0 || !S_ISDIR(about.st_mode) || about.st_uid != ::geteuid()) continue;
    const int lock = ::open((entry->path() / "lock").c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    const bool free = lock >= 0 && ::flock(lock, LOCK_EX | LOCK_NB) == 0;
    std::error_code unknown;
    const auto changed = fs::last_write_time(entry->path(), unknown);
    const bool old = !unknown && fs::file_time_type::clock::now() - changed > young;
    std::error_code ignored;
    if (old && (free || lock < 0)) fs::remove_all(entry->path(), ignored);
    if (lock >= 0) ::close(lock);
  }
}

}  // namespace

Result<PrivateDir> PrivateDir::make(const std::string& purpose) {
  std::vector<std::string> parents;
  for (const char* variable : {"XDG_RUNTIME_DIR", "TMPDIR"})
    if (const char* value = std::getenv(variable); value != nullptr && *value == '/') parents.emplace_back(value);
  parents.emplace_back("/tmp");
  const std::string prefix = "kfab-" + purpose + "-";
  for (const std::string& parent : parents) {
    const std::string path = parent + "/" + prefix + random_hex(4);
    if (path.size() > longest_path || !usable(parent)) continue;
    sweep(parent, prefix);
    if (::mkdir(path.c_str(), 0700) != 0) continue;
    const int lock = ::open((path + "/lock").c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (lock >= 0 && ::flock(lock, LOCK_EX | LOCK_NB) == 0) return PrivateDir(path, lock);
    if (lock >= 0) ::close(lock);
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  return error(code::private_dir_unusable, "no private directory could be made in " + one_line(join(parents, ", ")));
}

PrivateDir::PrivateDir(PrivateDir&& other) noexcept : path_(std::exchange(other.path_, {})), lock_(std::exchange(other.lock_, -1)) {}

PrivateDir& PrivateDir::operator=(PrivateDir&& other) noexcept {
  if (this == &other) return *this;
  remove();
  path_ = std::exchange(other.path_, {});
  lock_ = std::exchange(other.lock_, -1);
  return *this;
}

PrivateDir::~PrivateDir() { remove(); }

void PrivateDir::remove() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
  if (lock_ >= 0) ::close(lock_);
}

}  // namespace kfab::ssh

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "agent/diff.hpp"
#include "agent/resources/ownership.hpp"
#include "agent/resources/resource.hpp"
#include "base/codes/provision.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

constexpr std::size_t max_compared_bytes = std::size_t{64} << 20;

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

std::string directory_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "directory";
  if (S_ISLNK(mode)) return "symbolic link";
  if (S_ISREG(mode)) return "file";
  return "device or socket";
}

Result<std::string> read_whole(const std::string& path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (file.get() < 0) return system_failure(errno, "open", path);
  std::string bytes;
  std::array<char, 65536> chunk;
  for (;;) {
    const auto n = ::read(file.get(), chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_failure(errno, "read", path);
    if (n == 0 || bytes.size() > max_compared_bytes) return bytes;   // longer than any declared content: differs anyway
    bytes.append(chunk.data(), static_cast<std::size_t>(n));
  }
}

Result<std::string> read_link(const std::string& path) {
  std::array<char, 4096> target;
  const auto n = ::readlink(path.c_str(), target.data(), target.size());
  if (n < 0) return system_failure(errno, "read the link", path);
  return std::string(target.data(), static_cast<std::size_t>(n));
}

// The name of the directory entry must be on the disk as well as the bytes.
void sync_directory(const std::string& path) {
  const Descriptor directory(::open(directory_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() >= 0) ::fsync(directory.get());
}

// A file with its whole content, a symbolic link, or neither. Content and links are made beside the path and renamed
// over it, so a reader sees the old or the new and a full disk leaves the old.
class FileResource final : public Resource {
 public:
  FileResource(const json::Value& attributes, const ResourceContext& context)
      : attributes_(attributes),
        context_(context),
        path_(attributes.string_or("path")),
        absent_(attributes.string_or("state") == "absent"),
        link_to_(attributes.string_or("link_to")),
        content_(attributes.string_or("content")),
        sensitive_(attributes.bool_or("sensitive", false)) {
    const auto name = path_.substr(path_.rfind('/') + 1);
    beside_ = directory_of(path_) + "/." + name +
              ".kfab-new";   // a fixed name: what a crash left is replaced by the next run
  }

  Result<Difference> check() override {
    KFAB_TRY(ownership, read_ownership(attributes_, context_));
    declared_ = ownership;
    Difference difference;
    struct stat found {};
    exists_ = ::lstat(path_.c_str(), &found) == 0;
    if (!exists_ && errno != ENOENT && errno != ENOTDIR) return system_failure(errno, "look at", path_);
    if (exists_ && S_ISDIR(found.st_mode))
      return error(code::provision_path_blocked, fmt::format("{} is a directory on the node", one_line(path_)));
    if (absent_) {
      if (exists_) difference.changes.push_back({"state", kind_of(found.st_mode), "absent"});
      return difference;
    }
    Status compared = link_to_.empty() ? compare_content(found, difference) : compare_link(found, difference);
    if (!compared) return std::move(compared).error();
    found_ = found;
    if (exists_ && (S_ISREG(found.st_mode) || !link_to_.empty()))
      for (auto& change : ownership_changes(declared_, found)) difference.changes.push_back(std::move(change));
    return difference;
  }

  Status apply(const Difference& found) override {
    if (absent_) {
      if (::unlink(path_.c_str()) != 0) return system_failure(errno, "remove", path_);
      sync_directory(path_);
      return ok();
    }
    if (!link_to_.empty()) return apply_link();
    bool whole = false;   // whether the content is to be written, or only owner and mode to be set
    for (const auto& change : found.changes)
      whole = whole || change.what == "content" || change.what == "state" || change.what == "type";
    return whole ? write_content() : set_in_place();
  }

 private:
  Status compare_content(const struct stat& found, Difference& difference) {
    if (!exists_) {
      difference.changes.push_back({"state", "absent", fmt::format("file of {} bytes", content_.size())});
      show("", difference);
      return ok();
    }
    if (!S_ISREG(found.st_mode)) {
      difference.changes.push_back({"type", kind_of(found.st_mode), "file"});
      return ok();
    }
    KFAB_TRY(bytes, read_whole(path_));
    if (bytes == content_) return ok();
    difference.changes.push_back(
        {"content", fmt::format("{} bytes", bytes.size()), fmt::format("{} bytes", content_.size())});
    difference.found = sha256_hex(bytes);
    show(bytes, difference);
    return ok();
  }

  void show(std::string_view before, Difference& difference) const {
    difference.diff = sensitive_ ? "(content is sensitive and not shown)\n" : unified_diff(before, content_, path_);
  }

  Status compare_link(const struct stat& found, Difference& difference) {
    if (!exists_) {
      difference.changes.push_back({"state", "absent", "link to " + link_to_});
    } else if (!S_ISLNK(found.st_mode)) {
      difference.changes.push_back({"type", kind_of(found.st_mode), "link to " + link_to_});
    } else {
      KFAB_TRY(target, read_link(path_));
      if (target != link_to_) difference.changes.push_back({"link", target, link_to_});
    }
    return ok();
  }

  Status apply_link() {
    ::unlink(beside_.c_str());
    if (::symlink(link_to_.c_str(), beside_.c_str()) != 0) return parent_failure("create");
    const auto owner = declared_.owner.value_or(static_cast<uid_t>(-1));
    const auto group = declared_.group.value_or(static_cast<gid_t>(-1));
    if ((declared_.owner || declared_.group) && ::lchown(beside_.c_str(), owner, group) != 0)
      return give_up(errno, "set the owner of");
    return replace();
  }

  Status write_content() {
    ::unlink(beside_.c_str());
    Descriptor file(::open(beside_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (file.get() < 0) return parent_failure("create");
    std::string_view rest = content_;
    while (!rest.empty()) {
      const auto n = ::write(file.get(), rest.data(), rest.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return give_up(errno, "write");
      rest.remove_prefix(static_cast<std::size_t>(n));
    }
    if (auto set = set_ownership(file.get(), wanted(), path_); !set) {
      ::unlink(beside_.c_str());
      return set;
    }
    if (::fsync(file.get()) != 0) return give_up(errno, "sync");
    if (::close(file.release()) != 0) return give_up(errno, "close");
    return replace();
  }

  // What is not declared stays as the file had it; a new file is root's (or the agent's user's) with 0644.
  Ownership wanted() const {
    Ownership result = declared_;
    const bool replaces_file = exists_ && S_ISREG(found_.st_mode);
    if (!result.mode) result.mode = replaces_file ? found_.st_mode & 07777 : 0644;
    if (replaces_file && !result.owner && found_.st_uid != ::geteuid()) result.owner = found_.st_uid;
    if (replaces_file && !result.group && found_.st_gid != ::getegid()) result.group = found_.st_gid;
    return result;
  }

  Status set_in_place() {
    const Descriptor file(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (file.get() < 0) return system_failure(errno, "open", path_);
    return set_ownership(file.get(), declared_, path_);
  }

  Status replace() {
    if (::rename(beside_.c_str(), path_.c_str()) != 0) return give_up(errno, "replace");
    sync_directory(path_);
    return ok();
  }

  Status give_up(int error_number, std::string_view doing) {
    ::unlink(beside_.c_str());
    return system_failure(error_number, doing, path_);
  }

  Status parent_failure(std::string_view doing) {
    const int error_number = errno;
    if (error_number == ENOENT)
      return error(code::provision_path_blocked, fmt::format("the directory {} is not on the node; declare it before",
                                                             one_line(directory_of(path_))));
    return system_failure(error_number, doing, path_);
  }

  json::Value attributes_;
  ResourceContext context_;
  std::string path_;
  bool absent_;
  std::string link_to_, content_;
  bool sensitive_;
  std::string beside_;
  Ownership declared_;
  bool exists_ = false;
  struct stat found_ {};
};

// A directory and the parents it needs.
class DirectoryResource final : public Resource {
 public:
  DirectoryResource(const json::Value& attributes, const ResourceContext& context)
      : attributes_(attributes),
        context_(context),
        path_(attributes.string_or("path")),
        absent_(attributes.string_or("state") == "absent") {
    while (path_.size() > 1 && path_.ends_with('/')) path_.pop_back();
  }

  Result<Difference> check() override {
    KFAB_TRY(ownership, read_ownership(attributes_, context_));
    declared_ = ownership;
    Difference difference;
    struct stat found {};
    if (::lstat(path_.c_str(), &found) != 0) {
      if (errno != ENOENT && errno != ENOTDIR) return system_failure(errno, "look at", path_);
      if (!absent_) difference.changes.push_back({"state", "absent", "directory"});
      return difference;
    }
    // A link to a directory serves as one: /var/run and the like.
    if (S_ISLNK(found.st_mode) && !absent_ && ::stat(path_.c_str(), &found) != 0)
      return system_failure(errno, "look at", path_);
    if (!S_ISDIR(found.st_mode))
      return error(code::provision_path_blocked,
                   fmt::format("{} is a {} on the node, not a directory", one_line(path_), kind_of(found.st_mode)));
    if (absent_) difference.changes.push_back({"state", "directory", "absent"});
    else difference.changes = ownership_changes(declared_, found);
    return difference;
  }

  Status apply(const Difference& found) override {
    if (absent_) {
      if (::rmdir(path_.c_str()) != 0) return system_failure(errno, "remove", path_);
      return ok();
    }
    bool fresh = false;
    for (const auto& change : found.changes) fresh = fresh || change.what == "state";
    if (fresh) {
      for (auto slash = path_.find('/', 1); slash != std::string::npos; slash = path_.find('/', slash + 1))
        KFAB_TRY_VOID(make(path_.substr(0, slash)));
      KFAB_TRY_VOID(make(path_));
    }
    const Descriptor directory(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (directory.get() < 0) return system_failure(errno, "open", path_);
    Ownership wanted = declared_;
    if (fresh && !wanted.mode) wanted.mode = 0755;   // whatever the umask
    return set_ownership(directory.get(), wanted, path_);
  }

 private:
  static Status make(const std::string& path) {
    struct stat found {};
    if (::stat(path.c_str(), &found) == 0) {
      if (S_ISDIR(found.st_mode)) return ok();
      return error(code::provision_path_blocked, fmt::format("{} is not a directory on the node", one_line(path)));
    }
    if (::mkdir(path.c_str(), 0755) != 0) return system_failure(errno, "make", path);
    ::chmod(path.c_str(), 0755);
    return ok();
  }

  json::Value attributes_;
  ResourceContext context_;
  std::string path_;
  bool absent_;
  Ownership declared_;
};

}  // namespace

std::unique_ptr<Resource> make_file(const json::Value& attributes, const ResourceContext& context) {
  return std::make_unique<FileResource>(attributes, context);
}

std::unique_ptr<Resource> make_directory(const json::Value& attributes, const ResourceContext& context) {
  return std::make_unique<DirectoryResource>(attributes, context);
}

}  // namespace kfab::agent

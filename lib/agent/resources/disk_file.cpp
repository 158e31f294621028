#include "agent/resources/disk_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "agent/diff.hpp"
#include "agent/resources/backup.hpp"
#include "base/codes/provision.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

constexpr double validate_timeout_s = 60;

std::string name_beside(const std::string& path) { return "." + base_name(path) + ".kfab-new"; }

// The directory of a path, opened so that everything else happens in exactly that one.
Result<Descriptor> open_directory_of(const std::string& path, bool own_directory, std::string_view doing) {
  const auto directory = directory_of(path);
  Descriptor fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | (own_directory ? O_NOFOLLOW : 0)));
  if (fd.get() >= 0) return fd;
  if (errno == ENOENT)
    return error(code::provision_path_blocked,
                 fmt::format("the directory {} is not on the node; declare it before", one_line(directory)));
  return system_failure(errno, doing, path);
}

// The name of the directory entry must be on the disk as well as the bytes.
void sync_directory(const std::string& path) {
  const Descriptor directory(::open(directory_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() >= 0) ::fsync(directory.get());
}

Result<std::string> read_all(int fd, const std::string& path) {
  std::string bytes;
  std::array<char, 65536> chunk;
  for (;;) {
    const auto n = ::read(fd, chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_failure(errno, "read", path);
    if (n == 0 || bytes.size() > max_compared_bytes) return bytes;   // longer than any declared content: differs anyway
    bytes.append(chunk.data(), static_cast<std::size_t>(n));
  }
}

// What is not declared stays as the file had it; a new file is root's (or the agent's user's) with 0644.
Ownership with_what_was(const Ownership& declared, const struct stat* replaced) {
  Ownership result = declared;
  if (!result.mode) result.mode = replaced ? replaced->st_mode & 07777 : 0644;
  if (replaced && !result.owner && replaced->st_uid != ::geteuid()) result.owner = replaced->st_uid;
  if (replaced && !result.group && replaced->st_gid != ::getegid()) result.group = replaced->st_gid;
  return result;
}

Status write_all(int fd, std::string_view rest, const std::string& path) {
  while (!rest.empty()) {
    const auto n = ::write(fd, rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_failure(errno, "write", path);
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  return ok();
}

Status validated(const NewFile& file, const std::string& beside, const ResourceContext& context) {
  if (file.validate.empty()) return ok();
  std::vector<std::string> argv = file.validate;
  for (auto& word : argv)
    for (auto at = word.find("%s"); at != std::string::npos; at = word.find("%s", at + beside.size()))
      word.replace(at, 2, beside);
  const auto result = context.run(argv, validate_timeout_s);
  if (result.success()) return ok();
  const auto doing = fmt::format("{} does not take the new {}", one_line(argv.front(), 80), one_line(file.path));
  if (result.end == ProcessResult::End::not_found)
    return error(code::program_missing,
                 fmt::format("the node has no {} to check the new {} with, so the old one stays",
                             one_line(argv.front(), 80), one_line(file.path)));
  if (result.end != ProcessResult::End::exited) return process_failure(code::content_refused, doing, result);
  const std::string words = file.sensitive ? std::string("(what it said is not shown)") : result.last_words();
  return error(code::content_refused, fmt::format("{}: {}{}{}", doing, result.how(), words.empty() ? "" : ": ", words));
}

}  // namespace

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}
Descriptor::Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
int Descriptor::release() { return std::exchange(fd_, -1); }

std::string directory_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

std::string kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "directory";
  if (S_ISLNK(mode)) return "symbolic link";
  if (S_ISREG(mode)) return "file";
  return "device or socket";
}

Result<FoundFile> read_disk_file(const std::string& path, bool own_directory) {
  FoundFile found;
  const auto directory = directory_of(path);
  const Descriptor parent(
      ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | (own_directory ? O_NOFOLLOW : 0)));
  if (parent.get() < 0) {
    if (errno == ENOENT || (errno == ENOTDIR && !own_directory)) return found;
    return system_failure(errno, "open", directory);
  }
  const auto name = base_name(path);
  if (::fstatat(parent.get(), name.c_str(), &found.status, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return found;
    return system_failure(errno, "look at", path);
  }
  if (!S_ISREG(found.status.st_mode))
    return error(code::provision_path_blocked, fmt::format("{} is a {} on the node, not a file", one_line(path),
                                                           kind_of(found.status.st_mode)));
  const Descriptor file(::openat(parent.get(), name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (file.get() < 0 || ::fstat(file.get(), &found.status) != 0) return system_failure(errno, "open", path);
  if (own_directory) {
    struct stat owner {};
    if (::fstat(parent.get(), &owner) != 0) return system_failure(errno, "look at", directory);
    // Somebody's own directory may hold a hard link to what is not theirs to read or to be given.
    if (found.status.st_uid != owner.st_uid && found.status.st_uid != 0)
      return error(code::provision_path_blocked,
                   fmt::format("{} belongs to another user than its directory", one_line(path)));
  }
  found.exists = true;
  KFAB_TRY(bytes, read_all(file.get(), path));
  found.bytes = std::move(bytes);
  return found;
}

Status replace_disk_file(const NewFile& file, const ResourceContext& context) {
  KFAB_TRY(directory, open_directory_of(file.path, file.own_directory, "create"));
  const auto name = base_name(file.path), beside = name_beside(file.path);
  struct stat old {};
  const bool replaces = ::fstatat(directory.get(), name.c_str(), &old, AT_SYMLINK_NOFOLLOW) == 0;
  ::unlinkat(directory.get(), beside.c_str(), 0);
  Descriptor fresh(::openat(directory.get(), beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (fresh.get() < 0) return system_failure(errno, "create", file.path);
  const auto finish = [&]() -> Status {
    KFAB_TRY_VOID(write_all(fresh.get(), file.bytes, file.path));
    KFAB_TRY_VOID(set_ownership(
        fresh.get(), with_what_was(file.ownership, replaces && S_ISREG(old.st_mode) ? &old : nullptr), file.path));
    if (::fsync(fresh.get()) != 0) return system_failure(errno, "sync", file.path);
    if (::close(fresh.release()) != 0) return system_failure(errno, "close", file.path);
    const auto parent = directory_of(file.path);
    KFAB_TRY_VOID(validated(file, (parent == "/" ? "/" : parent + "/") + beside, context));
    if (replaces && S_ISREG(old.st_mode) && file.backup)
      KFAB_TRY_VOID(keep_backup(file.path, directory.get(), context.node));
    if (::renameat(directory.get(), beside.c_str(), directory.get(), name.c_str()) != 0)
      return system_failure(errno, "replace", file.path);
    return ok();
  };
  auto done = finish();
  if (!done) {
    ::unlinkat(directory.get(), beside.c_str(), 0);
    return done;
  }
  ::fsync(directory.get());
  return ok();
}

Status remove_disk_file(const std::string& path, bool backup, const ResourceContext& context) {
  struct stat old {};
  if (::lstat(path.c_str(), &old) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return ok();
    return system_failure(errno, "look at", path);
  }
  if (backup && S_ISREG(old.st_mode)) {
    KFAB_TRY(directory, open_directory_of(path, false, "remove"));
    KFAB_TRY_VOID(keep_backup(path, directory.get(), context.node));
  }
  if (::unlink(path.c_str()) != 0) return system_failure(errno, "remove", path);
  sync_directory(path);
  return ok();
}

Status replace_with_link(const std::string& path, const std::string& target, const Ownership& ownership) {
  KFAB_TRY(directory, open_directory_of(path, false, "create"));
  const auto name = base_name(path), beside = name_beside(path);
  const auto give_up = [&](std::string_view doing) -> Status {
    const int error_number = errno;
    ::unlinkat(directory.get(), beside.c_str(), 0);
    return system_failure(error_number, doing, path);
  };
  ::unlinkat(directory.get(), beside.c_str(), 0);
  if (::symlinkat(target.c_str(), directory.get(), beside.c_str()) != 0) return system_failure(errno, "create", path);
  if ((ownership.owner || ownership.group) &&
      ::fchownat(directory.get(), beside.c_str(), ownership.owner.value_or(static_cast<uid_t>(-1)),
                 ownership.group.value_or(static_cast<gid_t>(-1)), AT_SYMLINK_NOFOLLOW) != 0)
    return give_up("set the owner of");
  if (::renameat(directory.get(), beside.c_str(), directory.get(), name.c_str()) != 0) return give_up("replace");
  ::fsync(directory.get());
  return ok();
}

Status make_directory_if_missing(const std::string& path, mode_t mode) {
  struct stat found {};
  if (::stat(path.c_str(), &found) == 0) {
    if (S_ISDIR(found.st_mode)) return ok();
    return error(code::provision_path_blocked, fmt::format("{} is not a directory on the node", one_line(path)));
  }
  if (::mkdir(path.c_str(), mode) != 0) {
    const int why = errno;   // an agent beside this one may have made it in between
    if (why == EEXIST && ::stat(path.c_str(), &found) == 0 && S_ISDIR(found.st_mode)) return ok();
    return system_failure(why, "make", path);
  }
  ::chmod(path.c_str(), mode);   // whatever the umask
  return ok();
}

Status make_directories(const std::string& path) {
  for (auto slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1))
    KFAB_TRY_VOID(make_directory_if_missing(path.substr(0, slash)));
  return make_directory_if_missing(path);
}

std::vector<std::string> lines_of(std::string_view bytes) {
  std::vector<std::string> lines;
  while (!bytes.empty()) {
    const auto newline = bytes.find('\n');
    lines.emplace_back(bytes.substr(0, newline));
    bytes.remove_prefix(newline == std::string_view::npos ? bytes.size() : newline + 1);
  }
  return lines;
}

std::string text_of(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) text += line + "\n";
  return text;
}

void compare_text(const FoundFile& found, const std::string& wanted, const std::string& path, bool sensitive,
                  Difference& difference, const std::string& what) {
  if (found.exists && found.bytes == wanted) return;
  if (found.exists)
    difference.changes.push_back(
        {what, fmt::format("{} bytes", found.bytes.size()), fmt::format("{} bytes", wanted.size())});
  else
    difference.changes.push_back({what == "content" ? "state" : what, "absent", fmt::format("file of {} bytes", wanted.size())});
  if (found.exists) difference.found += sha256_hex(found.bytes);
  difference.diff += sensitive ? "(content is sensitive and not shown)\n" : unified_diff(found.bytes, wanted, path);
}

Ownership own_file_ownership(mode_t mode) {
  Ownership ownership;
  ownership.mode = mode;
  if (::geteuid() == 0) ownership.owner = 0, ownership.group = 0;
  return ownership;
}

Status OwnFile::check(Difference& difference) {
  const auto before = difference.changes.size();
  KFAB_TRY(found, read_disk_file(path_));
  found_ = std::move(found);
  if (absent_) {
    if (found_.exists) {
      difference.changes.push_back({what_, "there", "absent"});
      difference.diff += unified_diff(found_.bytes, "", path_);
    }
  } else {
    compare_text(found_, text_, path_, false, difference, what_);
    if (found_.exists && found_.bytes == text_)
      for (auto& change : ownership_changes(own_file_ownership(mode_), found_.status)) {
        change.what = what_ + " " + change.what;
        difference.changes.push_back(std::move(change));
      }
  }
  differs_ = difference.changes.size() > before;
  return ok();
}

Status OwnFile::apply(const ResourceContext& context, bool backup, const std::vector<std::string>& validate) const {
  if (absent_) return remove_disk_file(path_, backup, context);
  KFAB_TRY_VOID(make_directories(directory_of(path_)));
  NewFile file;
  file.path = path_;
  file.bytes = text_;
  file.ownership = own_file_ownership(mode_);
  file.backup = backup;
  file.validate = validate;
  return replace_disk_file(file, context);
}

}  // namespace kfab::agent

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include <fmt/format.h>

#include "agent/resources/disk_file.hpp"
#include "agent/resources/ownership.hpp"
#include "agent/resources/resource.hpp"
#include "base/codes/provision.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

Result<std::string> read_link(const std::string& path) {
  std::array<char, 4096> target;
  const auto n = ::readlink(path.c_str(), target.data(), target.size());
  if (n < 0) return system_failure(errno, "read the link", path);
  return std::string(target.data(), static_cast<std::size_t>(n));
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
        validate_(string_list(attributes["validate"])),
        sensitive_(attributes.bool_or("sensitive", false)),
        backup_(attributes.bool_or("backup", true)) {}

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
    if (exists_ && (S_ISREG(found.st_mode) || !link_to_.empty()))
      for (auto& change : ownership_changes(declared_, found)) difference.changes.push_back(std::move(change));
    return difference;
  }

  Status apply(const Difference& found) override {
    if (absent_) return remove_disk_file(path_, backup_, context_);
    if (!link_to_.empty()) return replace_with_link(path_, link_to_, declared_);
    bool whole = false;   // whether the content is to be written, or only owner and mode to be set
    for (const auto& change : found.changes)
      whole = whole || change.what == "content" || change.what == "state" || change.what == "type";
    return whole ? write_content() : set_in_place();
  }

  std::string written_path() const override { return path_; }

  std::vector<Place> places() const override {
    Place place{.path = path_};
    place.copies = backup_;
    place.sensitive = sensitive_;
    return {place};
  }

 private:
  Status compare_content(const struct stat& found, Difference& difference) {
    if (!exists_) {
      compare_text({}, content_, path_, sensitive_, difference);
      return ok();
    }
    if (!S_ISREG(found.st_mode)) {
      difference.changes.push_back({"type", kind_of(found.st_mode), "file"});
      return ok();
    }
    KFAB_TRY(file, read_disk_file(path_));
    compare_text(file, content_, path_, sensitive_, difference);
    return ok();
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

  Status write_content() const {
    NewFile file;
    file.path = path_;
    file.bytes = content_;
    file.ownership = declared_;
    file.validate = validate_;
    file.sensitive = sensitive_;
    file.backup = backup_;
    return replace_disk_file(file, context_);
  }

  Status set_in_place() {
    const Descriptor file(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (file.get() < 0) return system_failure(errno, "open", path_);
    return set_ownership(file.get(), declared_, path_);
  }

  json::Value attributes_;
  ResourceContext context_;
  std::string path_;
  bool absent_;
  std::string link_to_, content_;
  std::vector<std::string> validate_;
  bool sensitive_, backup_;
  Ownership declared_;
  bool exists_ = false;
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
      KFAB_TRY_VOID(make_directories(path_));
    }
    const Descriptor directory(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (directory.get() < 0) return system_failure(errno, "open", path_);
    Ownership wanted = declared_;
    if (fresh && !wanted.mode) wanted.mode = 0755;   // whatever the umask
    return set_ownership(directory.get(), wanted, path_);
  }

  std::vector<Place> places() const override { return {{.path = path_, .kind = Place::Kind::directory}}; }

 private:
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

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>

#include <fmt/format.h>

#include "agent/resources/disk_file.hpp"
#include "agent/resources/resource.hpp"
#include "base/codes/agent.hpp"
#include "base/codes/provision.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

constexpr std::string_view stamp_name = ".kfab-archive";

Result<std::string> digest_of_file(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return system_failure(errno, "open", path);
  Sha256 hash;
  std::string chunk(1 << 18, '\0');
  for (;;) {
    const auto n = ::read(file.get(), chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_failure(errno, "read", path);
    if (n == 0) return hash.hex();
    hash.update(std::string_view(chunk).substr(0, static_cast<std::size_t>(n)));
  }
}

// What an archive holds, in a directory of its own. It is unpacked beside that and put in its place in one step, with a
// stamp inside that says of what: whoever looks sees all of the old or all of the new.
class ArchiveResource final : public Resource {
 public:
  ArchiveResource(const json::Value& attributes, const ResourceContext& context)
      : attributes_(attributes),
        context_(context),
        from_(attributes.string_or("from")),
        path_(attributes.string_or("path")),
        sha256_(to_lower(attributes.string_or("sha256"))),
        strip_(attributes.int_or("strip", 0)),
        timeout_s_(attributes.double_or("timeout_s", 600)) {
    while (path_.size() > 1 && path_.ends_with('/')) path_.pop_back();
    beside_ = directory_of(path_) + "/." + base_name(path_) + ".kfab-new";
    stamp_ = fmt::format("sha256 {}\nstrip {}\n", sha256_, strip_);
  }

  Result<Difference> check() override {
    if (sha256_.size() != 64 || path_.size() < 2) return error(code::agent_bad_request, "an archive without its sha256, or without a directory");
    KFAB_TRY(ownership, read_ownership(attributes_, context_));
    declared_ = ownership;
    Difference difference;
    struct stat found {};
    exists_ = ::lstat(path_.c_str(), &found) == 0;
    if (!exists_ && errno != ENOENT && errno != ENOTDIR) return system_failure(errno, "look at", path_);
    std::string before = "absent";
    if (exists_) {
      if (!S_ISDIR(found.st_mode))
        return error(code::provision_path_blocked, fmt::format("{} is a {} on the node, not a directory", one_line(path_), kind_of(found.st_mode)));
      KFAB_TRY(stamp, read_disk_file(path_ + "/" + std::string(stamp_name)));
      if (stamp.bytes == stamp_) {
        difference.changes = ownership_changes(declared_, found);
        return difference;
      }
      std::error_code problem;
      if (!stamp.exists && !std::filesystem::is_empty(path_, problem))
        return error(code::provision_path_blocked, fmt::format("{} holds files that no archive of kfab brought", one_line(path_)));
      before = stamp.exists ? "another archive" : "empty";
    }
    if (::access(from_.c_str(), R_OK) != 0) return error(code::archive_missing, fmt::format("{} is not on the node", one_line(from_)));
    difference.changes.push_back({"content", before, one_line(base_name(from_), 120)});
    return difference;
  }

  Status apply(const Difference& found) override {
    if (found.changes.front().what != "content") return own(path_);
    KFAB_TRY(digest, digest_of_file(from_));
    if (digest != sha256_)
      return error(code::archive_bad, fmt::format("{} has the SHA-256 {} and not {}", one_line(from_), digest, one_line(sha256_, 64)));
    KFAB_TRY_VOID(make_directories(directory_of(path_)));
    std::error_code problem;
    std::filesystem::remove_all(beside_, problem);   // what a run that was cut left
    if (::mkdir(beside_.c_str(), 0755) != 0) return system_failure(errno, "make", beside_);
    auto done = unpack();
    if (!done) std::filesystem::remove_all(beside_, problem);
    return done;
  }

  std::vector<Place> places() const override { return {{.path = path_, .kind = Place::Kind::tree}}; }

 private:
  Status unpack() const {
    const auto result = context_.run({"tar", "-x", "-f", from_, "-C", beside_, "--no-same-owner", "--no-overwrite-dir",
                                      fmt::format("--strip-components={}", strip_)}, timeout_s_);
    if (!result.success()) return process_failure(code::archive_bad, "tar -x " + one_line(from_, 120), result);
    NewFile stamp;
    stamp.path = beside_ + "/" + std::string(stamp_name);
    stamp.bytes = stamp_;
    stamp.backup = false;
    KFAB_TRY_VOID(replace_disk_file(stamp, context_));
    KFAB_TRY_VOID(own(beside_));
    if (::renameat2(AT_FDCWD, beside_.c_str(), AT_FDCWD, path_.c_str(), exists_ ? RENAME_EXCHANGE : 0) != 0)
      return system_failure(errno, "replace", path_);
    std::error_code problem;
    if (exists_) std::filesystem::remove_all(beside_, problem);   // the old one, by now
    return ok();
  }

  Status own(const std::string& path) const {
    const Descriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (directory.get() < 0) return system_failure(errno, "open", path);
    return set_ownership(directory.get(), declared_, path_);
  }

  json::Value attributes_;
  ResourceContext context_;
  std::string from_, path_, sha256_;
  std::int64_t strip_;
  double timeout_s_;
  std::string beside_, stamp_;
  Ownership declared_;
  bool exists_ = false;
};

}  // namespace

std::unique_ptr<Resource> make_archive(const json::Value& attributes, const ResourceContext& context) {
  return std::make_unique<ArchiveResource>(attributes, context);
}

}  // namespace kfab::agent

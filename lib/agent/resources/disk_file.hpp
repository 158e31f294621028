#pragma once

#include <sys/stat.h>

#include <string>
#include <string_view>
#include <vector>

#include "agent/resources/ownership.hpp"
#include "agent/resources/resource.hpp"

namespace kfab::agent {

// The longest content that is read for comparing, editing or keeping, in bytes.
constexpr std::size_t max_compared_bytes = std::size_t{64} << 20;

// A descriptor that is closed at the end of its scope.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&&) = delete;
  int get() const { return fd_; }
  int release();

 private:
  int fd_;
};

// "/etc" of "/etc/fstab"; "/" of "/motd".
std::string directory_of(const std::string& path);
std::string base_name(const std::string& path);
// "file", "directory", "symbolic link", "device or socket".
std::string kind_of(mode_t);

// A regular file as it is on the node. Not there: exists is false and nothing else is set.
struct FoundFile {
  bool exists = false;
  struct stat status {};
  std::string bytes;
};
// Reads a whole regular file up to max_compared_bytes (one byte more says that there was more), never through a
// symbolic link. Something else in its place is provision_path_blocked. With `own_directory` the file lies in a
// directory that belongs to a user: the directory is not followed either when it is a link, and a file that belongs to
// neither that directory's owner nor root is refused.
Result<FoundFile> read_disk_file(const std::string& path, bool own_directory = false);

// What is to stand at a path.
struct NewFile {
  std::string path;
  std::string bytes;
  Ownership ownership;                  // what is not declared stays as it was; 0644 for a new file
  std::vector<std::string> validate;    // argv with %s for the new file; must succeed before the old is replaced
  bool sensitive = false;               // never say its content, nor what a check says about it
  bool backup = true;
  bool own_directory = false;           // as for read_disk_file
};
// Writes beside the path, syncs, checks, keeps a copy of what is replaced, renames: whoever reads sees the old or the
// new, and a full disk, a refused content or a kill leaves the old. The name beside the path is fixed, so that what a
// kill left is replaced by the next run.
Status replace_disk_file(const NewFile&, const ResourceContext&);

// Removes it, after a copy was kept. What is not there is fine.
Status remove_disk_file(const std::string& path, bool backup, const ResourceContext&);

// Makes the link beside the path and renames it over what is there.
Status replace_with_link(const std::string& path, const std::string& target, const Ownership&);

// Makes a directory (0755) where there is none; its parent must be there.
Status make_directory_if_missing(const std::string& path, mode_t mode = 0755);
// The same for all the parents it needs.
Status make_directories(const std::string& path);

// Lines without their newlines; a last line without one counts.
std::vector<std::string> lines_of(std::string_view bytes);
// Each with a newline; nothing for no lines.
std::string text_of(const std::vector<std::string>& lines);

// What differs between a file and the text it shall have, as changes and a diff; `what` is the word for the content.
void compare_text(const FoundFile& found, const std::string& wanted, const std::string& path, bool sensitive,
                  Difference& difference, const std::string& what = "content");

// The first lines of every file that belongs to kfab alone.
constexpr std::string_view written_by_kfab = "# Written by kfab from the site's roles; changes here are undone.";

// Whose such a file is: root's, where the agent is root.
Ownership own_file_ownership(mode_t mode);

// A file that belongs to kfab alone: there with exactly this text, owner and mode, or absent. check() adds what differs to
// `difference`, under `what`; apply() brings it there, parents included.
class OwnFile {
 public:
  OwnFile(std::string path, std::string what, mode_t mode = 0644)
      : path_(std::move(path)), what_(std::move(what)), mode_(mode) {}
  const std::string& path() const { return path_; }
  void want(std::string text) { text_ = std::move(text), absent_ = false; }
  void want_absent() { absent_ = true; }
  Status check(Difference& difference);
  bool differs() const { return differs_; }
  const FoundFile& found() const { return found_; }
  Status apply(const ResourceContext&, bool backup = false, const std::vector<std::string>& validate = {}) const;

 private:
  std::string path_, what_, text_;
  mode_t mode_;
  bool absent_ = false, differs_ = false;
  FoundFile found_;
};

}  // namespace kfab::agent

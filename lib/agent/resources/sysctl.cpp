#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "agent/resources/disk_file.hpp"
#include "base/codes/provision.hpp"
#include "base/file.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

// Runs of blanks as one: the kernel separates the numbers of a value by tabs.
std::string normalized(std::string_view text) { return one_line(trim(text), 4096); }

// A kernel parameter, live in /proc/sys and in a file of kfab's own for the next boot.
class SysctlResource final : public Resource {
 public:
  SysctlResource(const json::Value& attributes, const ResourceContext& context)
      : context_(context), name_(attributes.string_or("name")), value_(normalized(scalar_text(attributes["value"]))) {
    std::string below = name_;
    // As sysctl(8) does it: dots separate, and a slash inside a name (an interface's dot) is written as one.
    for (char& c : below) c = c == '.' ? '/' : c == '/' ? '.' : c;
    path_ = context.node.proc_sys + "/" + below;
  }

  Result<Difference> check() override {
    if (name_.find("..") != std::string::npos)
      return error(code::sysctl_unknown, fmt::format("'{}' is no kernel parameter", one_line(name_, 80)));
    Difference difference;
    const auto live = read_small(path_);
    if (!live && live.error().code == code::provision_path_blocked)
      return error(code::sysctl_unknown, fmt::format("the node's kernel has no {}", one_line(name_, 80)));
    if (!live) return live.error();
    if (normalized(*live) != value_) difference.changes.push_back({"live", normalized(*live), value_});
    KFAB_TRY(lines, persisted());
    const auto it = find_line(lines);
    const std::string kept = it == lines.end() ? "absent" : value_of(*it);
    if (kept != value_) difference.changes.push_back({"at boot", kept, value_});
    struct stat file {};
    if (it != lines.end() && ::lstat(context_.node.sysctl_file.c_str(), &file) == 0)
      for (auto& change : ownership_changes(own_file_ownership(0644), file)) {
        change.what = "at boot file " + change.what;
        difference.changes.push_back(std::move(change));
      }
    return difference;
  }

  Status apply(const Difference& found) override {
    bool keep = false;
    for (const auto& change : found.changes) {
      if (change.what == "live") KFAB_TRY_VOID(write_live());
      else keep = true;
    }
    return keep ? persist() : ok();
  }

  std::vector<Place> places() const override { return {{.path = context_.node.sysctl_file, .kind = Place::Kind::own_lines}}; }
  Result<json::Value> snapshot() override {
    KFAB_TRY(live, read_small(path_));
    return json::Value(json::Object{{"live", normalized(live)}});
  }
  Status restore(const json::Value& before) override {
    value_ = before.string_or("live");
    return write_live();
  }

 private:
  static Result<std::string> read_small(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return system_failure(errno, "open", path);
    std::string bytes(1 << 16, '\0');
    const auto n = ::read(fd, bytes.data(), bytes.size());
    const int error_number = errno;
    ::close(fd);
    if (n < 0) return system_failure(error_number, "read", path);
    bytes.resize(static_cast<std::size_t>(n));
    return bytes;
  }

  Status write_live() const {
    const int fd = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC | O_TRUNC);
    if (fd < 0) return system_failure(errno, "set", name_);
    const std::string line = value_ + "\n";
    const auto n = ::write(fd, line.data(), line.size());
    const int error_number = errno;
    ::close(fd);
    if (n == static_cast<ssize_t>(line.size())) return ok();
    if (n < 0 && (error_number == EINVAL || error_number == ERANGE))
      return error(code::sysctl_refused,
                   fmt::format("the kernel does not take {} = {}", one_line(name_, 80), one_line(value_, 80)));
    return system_failure(n < 0 ? error_number : EIO, "set", name_);
  }

  Result<std::vector<std::string>> persisted() const {
    if (::access(context_.node.sysctl_file.c_str(), F_OK) != 0) return std::vector<std::string>{};
    KFAB_TRY(bytes, read_file(context_.node.sysctl_file, std::size_t{1} << 20));
    std::vector<std::string> lines;
    for (const auto line : split_lines(bytes)) lines.emplace_back(line);
    return lines;
  }

  std::vector<std::string>::iterator find_line(std::vector<std::string>& lines) const {
    return std::find_if(lines.begin(), lines.end(), [&](const std::string& line) {
      const auto equals = line.find('=');
      return !line.starts_with('#') && equals != std::string::npos &&
             trim(std::string_view(line).substr(0, equals)) == name_;
    });
  }

  static std::string value_of(const std::string& line) { return normalized(line.substr(line.find('=') + 1)); }

  Status persist() const {
    KFAB_TRY(lines, persisted());
    if (lines.empty()) lines.emplace_back("# Written by kfab from the site's roles; changes here are undone.");
    const std::string line = name_ + " = " + value_;
    const auto it = find_line(lines);
    if (it == lines.end()) lines.push_back(line);
    else *it = line;
    NewFile file;   // with its mode, whatever the umask of whoever started the agent
    file.path = context_.node.sysctl_file;
    file.bytes = join(lines, "\n") + "\n";
    file.ownership = own_file_ownership(0644);
    file.backup = false;
    return replace_disk_file(file, context_);
  }

  ResourceContext context_;
  std::string name_, value_, path_;
};

}  // namespace

std::unique_ptr<Resource> make_sysctl(const json::Value& attributes, const ResourceContext& context) {
  return std::make_unique<SysctlResource>(attributes, context);
}

}  // namespace kfab::agent

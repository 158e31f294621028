#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include <fmt/format.h>

#include "agent/resources/disk_file.hpp"
#include "base/codes/agent.hpp"
#include "base/codes/provision.hpp"
#include "base/file.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

// RFC 1123 labels, as gethostname() has room for.
bool is_host_name(std::string_view name) {
  if (name.empty() || name.size() > 64) return false;
  for (const auto& label : split(name, '.')) {
    if (label.empty() || label.front() == '-' || label.back() == '-') return false;
    for (const char c : label)
      if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-')) return false;
  }
  return true;
}

// The node's own name, now and after the next boot.
class HostnameResource final : public Resource {
 public:
  HostnameResource(const json::Value& attributes, const ResourceContext& context)
      : context_(context), name_(attributes.string_or("name")), live_path_(context.node.proc_sys + "/kernel/hostname"),
        path_(context.node.at("/etc/hostname")) {}

  Result<Difference> check() override {
    if (!is_host_name(name_))
      return error(code::agent_bad_request, fmt::format("'{}' is no host name", one_line(name_, 80)));
    KFAB_TRY(live, read_file(live_path_, 4096));
    Difference difference;
    const std::string now(trim(live));
    if (now != name_) difference.changes.push_back({"live", one_line(now, 80), name_});
    KFAB_TRY(found, read_disk_file(path_));
    std::string kept = "absent";
    for (const auto& line : lines_of(found.bytes))
      if (!trim(line).empty() && !trim(line).starts_with('#')) {
        kept = std::string(trim(line));
        break;
      }
    if (kept != name_) difference.changes.push_back({"at boot", one_line(kept, 80), name_});
    return difference;
  }

  Status apply(const Difference& found) override {
    for (const auto& change : found.changes) {
      if (change.what == "live") KFAB_TRY_VOID(write_live());
      if (change.what != "at boot") continue;
      NewFile file;
      file.path = path_;
      file.bytes = name_ + "\n";
      KFAB_TRY_VOID(replace_disk_file(file, context_));
    }
    return ok();
  }

  std::vector<Place> places() const override { return {{.path = path_}}; }
  Result<json::Value> snapshot() override {
    KFAB_TRY(live, read_file(live_path_, 4096));
    return json::Value(json::Object{{"live", std::string(trim(live))}});
  }
  Status restore(const json::Value& before) override {
    name_ = before.string_or("live");
    return write_live();
  }

 private:
  Status write_live() const {
    const Descriptor fd(::open(live_path_.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC));
    if (fd.get() < 0) return system_failure(errno, "set", "the host name");
    if (::write(fd.get(), name_.data(), name_.size()) != static_cast<ssize_t>(name_.size()))
      return system_failure(errno, "set", "the host name");
    return ok();
  }

  ResourceContext context_;
  std::string name_, live_path_, path_;
};

// The time zone: the link /etc/localtime, and /etc/timezone where the distribution has it.
class TimezoneResource final : public Resource {
 public:
  TimezoneResource(const json::Value& attributes, const ResourceContext& context)
      : context_(context), name_(attributes.string_or("name")), link_(context.node.at("/etc/localtime")),
        target_("/usr/share/zoneinfo/" + name_), text_path_(context.node.at("/etc/timezone")) {}

  Result<Difference> check() override {
    struct stat zone {};
    const bool safe = !name_.empty() && !name_.starts_with('/') && name_.find("..") == std::string::npos;
    if (!safe || ::stat(context_.node.at(target_).c_str(), &zone) != 0 || !S_ISREG(zone.st_mode))
      return error(code::timezone_unknown, fmt::format("the node knows no time zone '{}'", one_line(name_, 80)));
    Difference difference;
    const std::string now = linked_zone();
    if (now != name_) difference.changes.push_back({"zone", now, name_});
    KFAB_TRY(text, read_disk_file(text_path_));
    if (text.exists && trim(text.bytes) != name_)
      difference.changes.push_back({"/etc/timezone", one_line(trim(text.bytes), 80), name_});
    return difference;
  }

  Status apply(const Difference& found) override {
    for (const auto& change : found.changes) {
      if (change.what == "zone") KFAB_TRY_VOID(replace_with_link(link_, target_, {}));
      if (change.what != "/etc/timezone") continue;
      NewFile file;
      file.path = text_path_;
      file.bytes = name_ + "\n";
      KFAB_TRY_VOID(replace_disk_file(file, context_));
    }
    return ok();
  }

  std::vector<Place> places() const override { return {{.path = link_}, {.path = text_path_}}; }

 private:
  // The end of the link's target; a copy of a zone in its place has no name that could be told.
  std::string linked_zone() const {
    std::array<char, 4096> target;
    const auto n = ::readlink(link_.c_str(), target.data(), target.size());
    if (n < 0) return errno == ENOENT ? "absent" : "a file";
    const std::string_view text(target.data(), static_cast<std::size_t>(n));
    constexpr std::string_view root = "zoneinfo/";
    const auto at = text.find(root);
    return one_line(at == std::string_view::npos ? text : text.substr(at + root.size()), 80);
  }

  ResourceContext context_;
  std::string name_, link_, target_, text_path_;
};

}  // namespace

std::unique_ptr<Resource> make_hostname(const json::Value& attributes, const ResourceContext& context) {
  return std::make_unique<HostnameResource>(attributes, context);
}

std::unique_ptr<Resource> make_timezone(const json::Value& attributes, const ResourceContext& context) {
  return std::make_unique<TimezoneResource>(attributes, context);
}

}  // namespace kfab::agent

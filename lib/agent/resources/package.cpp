#include <algorithm>
#include <array>
#include <map>

#include <fmt/format.h>

#include "agent/resources/resource.hpp"
#include "base/codes/provision.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

constexpr double query_timeout_s = 60;

struct Installed {
  std::string version;
  bool installed = false;
  bool held = false;
};

// What apt's last words mean. The first row that fits counts: a message about a missing right also speaks of the lock.
struct AptSays {
  std::string_view phrase;
  Code code;
};
constexpr std::array apt_says{
    AptSays{"are you root", code::provision_no_rights},
    AptSays{"Permission denied", code::provision_no_rights},
    AptSays{"Could not get lock", code::package_lock_held},
    AptSays{"Unable to acquire the dpkg frontend lock", code::package_lock_held},
    AptSays{"Unable to lock", code::package_lock_held},
    AptSays{"Unable to locate package", code::package_not_found},
    AptSays{"Couldn't find any package", code::package_not_found},
    AptSays{"was not found", code::package_not_found},
    AptSays{"has no installation candidate", code::package_not_found},
    AptSays{"No space left on device", code::provision_disk_full},
    AptSays{"You don't have enough free space", code::provision_disk_full},
    AptSays{"Read-only file system", code::provision_read_only},
};

class PackageResource final : public Resource {
 public:
  PackageResource(const json::Value& attributes, const ResourceContext& context)
      : context_(context),
        names_(string_list(attributes["names"])),
        absent_(attributes.string_or("state") == "absent"),
        version_(attributes.string_or("version")),
        hold_(attributes["hold"].as_bool()),
        refresh_(attributes.bool_or("refresh", false)),
        lock_timeout_s_(attributes.int_or("lock_timeout_s", 120)),
        timeout_s_(attributes.double_or("timeout_s", 1800)) {}

  Result<Difference> check() override {
    KFAB_TRY(found, query());
    Difference difference;
    to_install_.clear();
    to_hold_.clear();
    for (const auto& name : names_) {
      const auto it = found.find(name.substr(0, name.find(':')));
      const Installed now = it == found.end() ? Installed{} : it->second;
      if (absent_) {
        if (now.installed) difference.changes.push_back({name, now.version, "absent"});
        continue;
      }
      if (!now.installed || (!version_.empty() && now.version != version_)) {
        to_install_.push_back(name);
        difference.changes.push_back(
            {name, now.installed ? now.version : "absent", version_.empty() ? "installed" : version_});
      }
      if (hold_ && now.held != *hold_) {
        to_hold_.push_back(name);
        difference.changes.push_back({name + " hold", now.held ? "held" : "not held", *hold_ ? "held" : "not held"});
      }
    }
    return difference;
  }

  Status apply(const Difference& found) override {
    if (absent_) {
      std::vector<std::string> names;
      for (const auto& change : found.changes) names.push_back(change.what);
      return apt("remove", names, {});
    }
    if (!to_install_.empty()) {
      if (refresh_) KFAB_TRY_VOID(apt("update", {}, {}));
      std::vector<std::string> options{"--no-install-recommends", "-o", "Dpkg::Options::=--force-confdef", "-o",
                                       "Dpkg::Options::=--force-confold"};
      if (!version_.empty())
        options.emplace_back("--allow-downgrades");   // the declared version is the one that is wanted
      if (hold_) options.emplace_back("--allow-change-held-packages");
      std::vector<std::string> names = to_install_;
      if (!version_.empty())
        for (auto& name : names) name += "=" + version_;
      KFAB_TRY_VOID(apt("install", names, options));
    }
    if (!to_hold_.empty()) {
      std::vector<std::string> argv{"apt-mark", *hold_ ? "hold" : "unhold"};
      argv.insert(argv.end(), to_hold_.begin(), to_hold_.end());
      const auto result = context_.run(argv, query_timeout_s);
      if (!result.success()) return failure("apt-mark", result);
    }
    return ok();
  }

 private:
  Result<std::map<std::string, Installed>> query() const {
    std::vector<std::string> argv{"dpkg-query", "-W", "-f=${Package}\\t${db:Status-Abbrev}\\t${Version}\\n", "--"};
    argv.insert(argv.end(), names_.begin(), names_.end());
    const auto result = context_.run(argv, query_timeout_s);
    if (result.end == ProcessResult::End::not_found)
      return error(code::package_manager_missing, "the node has no dpkg-query");
    // Status 1 says that some of them are unknown; the others are printed all the same.
    if (result.end != ProcessResult::End::exited || result.exit_status > 1)
      return process_failure(code::package_failed, "dpkg-query", result);
    std::map<std::string, Installed> found;
    for (const auto line : split_lines(result.out)) {
      const auto fields = split(line, '\t');
      if (fields.size() != 3 || fields[1].size() < 2) continue;
      Installed& entry = found[fields[0]];   // one name may stand for several architectures
      if (fields[1][1] != 'i') continue;
      entry.installed = true;
      entry.version = fields[2];
      entry.held = fields[1][0] == 'h';
    }
    return found;
  }

  Status apt(std::string_view verb, const std::vector<std::string>& names,
             const std::vector<std::string>& options) const {
    std::vector<std::string> argv{"apt-get", "-y", "-q", "-o", fmt::format("DPkg::Lock::Timeout={}", lock_timeout_s_)};
    argv.insert(argv.end(), options.begin(), options.end());
    argv.emplace_back(verb);
    if (!names.empty()) {
      argv.emplace_back("--");
      argv.insert(argv.end(), names.begin(), names.end());
    }
    const auto result = context_.run(argv, timeout_s_);
    if (result.success()) return ok();
    return failure(fmt::format("apt-get {}", verb), result);
  }

  static Diagnostic failure(std::string_view doing, const ProcessResult& result) {
    if (result.end == ProcessResult::End::not_found)
      return error(code::package_manager_missing, "the node has no apt-get");
    Diagnostic problem = process_failure(code::package_failed, doing, result);
    if (result.end != ProcessResult::End::exited) return problem;
    for (const auto& [phrase, code] : apt_says)
      if (result.err.find(phrase) != std::string::npos || result.out.find(phrase) != std::string::npos)
        return error(code, std::move(problem.message));
    return problem;
  }

  ResourceContext context_;
  std::vector<std::string> names_;
  bool absent_;
  std::string version_;
  std::optional<bool> hold_;
  bool refresh_;
  std::int64_t lock_timeout_s_;
  double timeout_s_;
  std::vector<std::string> to_install_, to_hold_;
};

}  // namespace

std::unique_ptr<Resource> make_package(const json::Value& attributes, const ResourceContext& context) {
  return std::make_unique<PackageResource>(attributes, context);
}

}  // namespace kfab::agent

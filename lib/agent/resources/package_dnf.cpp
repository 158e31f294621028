#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "agent/resources/package_manager.hpp"
#include "base/codes/provision.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

using DnfSays = PackageManagerSays;
constexpr std::array dnf_says{
    DnfSays{"run with superuser privileges", code::provision_no_rights},
    DnfSays{"has to be run under the root user", code::provision_no_rights},
    DnfSays{"Permission denied", code::provision_no_rights},
    DnfSays{"Waiting for process with pid", code::package_lock_held},
    DnfSays{"Failed to obtain the transaction lock", code::package_lock_held},
    DnfSays{"No match for argument", code::package_not_found},
    DnfSays{"Unable to find a match", code::package_not_found},
    DnfSays{"No space left on device", code::provision_disk_full},
    DnfSays{"At least", code::provision_disk_full},   // "At least 12MB more space needed on the / filesystem."
    DnfSays{"Read-only file system", code::provision_read_only},
};

class Dnf final : public PackageManager {
 public:
  explicit Dnf(const ResourceContext& context) : context_(context) {}

  Result<std::map<std::string, Installed>> query(const std::vector<std::string>& names, bool holds) const override {
    std::vector<std::string> argv{"rpm", "-q", "--qf", "%{NAME}\\t%{EPOCHNUM}\\t%{VERSION}\\t%{RELEASE}\\n", "--"};
    argv.insert(argv.end(), names.begin(), names.end());
    const auto result = context_.run(argv, package_query_timeout_s);
    if (result.end == ProcessResult::End::not_found) return error(code::package_manager_missing, "the node has no rpm");
    // The status is the number of those that are not installed.
    if (result.end != ProcessResult::End::exited || result.exit_status > static_cast<int>(names.size()))
      return process_failure(code::package_failed, "rpm -q", result);
    std::map<std::string, Installed> found;
    for (const auto line : split_lines(result.out)) {
      const auto fields = split(line, '\t');   // "package x is not installed" has no tab
      if (fields.size() != 4) continue;
      Installed& entry = found[fields[0]];
      const auto full = fields[2] + "-" + fields[3];
      for (const auto& words : {fields[2], full, fields[1] + ":" + full}) entry.versions.push_back(words);
      entry.shown = fields[1] == "0" ? full : fields[1] + ":" + full;
    }
    if (holds && !found.empty()) KFAB_TRY_VOID(read_holds(found));
    return found;
  }

  Status install(const std::vector<std::string>& what, const InstallOptions& how) const override {
    if (how.refresh) KFAB_TRY_VOID(dnf({"makecache", "--refresh"}, {}, how));
    std::vector<std::string> verb{"--setopt=install_weak_deps=False"};
    if (how.held) verb.emplace_back("--disableplugin=versionlock");
    verb.emplace_back("install");
    return dnf(std::move(verb), with_version(what, "-", how.version), how);
  }

  Status remove(const std::vector<std::string>& names, const InstallOptions& how) const override {
    return dnf({"--noautoremove", "remove"}, names, how);
  }

  // rpm alone says who needs them, by not agreeing: "... is needed by (installed) NAME".
  Result<std::vector<std::string>> would_go_too(const std::vector<std::string>& names) const override {
    std::vector<std::string> argv{"rpm", "-e", "--test", "--"};
    argv.insert(argv.end(), names.begin(), names.end());
    const auto result = context_.run(argv, package_query_timeout_s);
    if (result.success()) return std::vector<std::string>{};
    std::vector<std::string> others;
    constexpr std::string_view needed = "is needed by (installed) ";
    for (const auto line : split_lines(result.err))
      if (const auto at = line.find(needed); at != std::string_view::npos) others.emplace_back(trim(line.substr(at + needed.size())));
    if (others.empty()) return process_failure(code::package_failed, "rpm -e --test", result);
    return others;
  }

  Status hold(const std::vector<std::string>& names, bool held) const override {
    InstallOptions how;
    how.timeout_s = package_query_timeout_s;
    return dnf({"versionlock", held ? "add" : "delete"}, names, how);
  }

  Result<PackageFile> inspect(const std::string& path) const override {
    const auto result = context_.run({"rpm", "-q", "--qf", "%{NAME}\\t%{VERSION}-%{RELEASE}", "-p", "--", path}, package_query_timeout_s);
    if (!result.success()) return process_failure(code::package_file_bad, "rpm -qp " + one_line(path), result);
    const auto fields = split(trim(result.out), '\t');
    return fields.size() == 2 ? PackageFile{fields[0], fields[1]} : PackageFile{};
  }

  bool has_pins() const override { return false; }

 private:
  // Lines such as "chrony-0:4.3-1.el9.*".
  Status read_holds(std::map<std::string, Installed>& found) const {
    const auto result = context_.run({"dnf", "-q", "-C", "versionlock", "list"}, package_query_timeout_s);
    if (!result.success()) return failure("dnf versionlock list (of the plugin python3-dnf-plugin-versionlock)", result);
    for (const auto line : split_lines(result.out)) {
      const auto colon = line.find(':');
      const auto dash = line.substr(0, colon).rfind('-');
      if (colon == std::string_view::npos || dash == std::string_view::npos) continue;
      if (const auto it = found.find(std::string(line.substr(0, dash))); it != found.end()) it->second.held = true;
    }
    return ok();
  }

  Status dnf(std::vector<std::string> verb, const std::vector<std::string>& names, const InstallOptions& how) const {
    std::vector<std::string> argv{"dnf", "-y", "-q"};
    argv.insert(argv.end(), verb.begin(), verb.end());
    if (!names.empty()) argv.emplace_back("--");
    argv.insert(argv.end(), names.begin(), names.end());
    const auto result = context_.run(argv, how.timeout_s);
    return result.success() ? ok() : Status(failure("dnf " + verb.back(), result));
  }

  static Diagnostic failure(std::string_view doing, const ProcessResult& result) {
    Diagnostic problem = package_failure("dnf", doing, result, dnf_says);
    if (result.end == ProcessResult::End::timed_out && result.err.find("Waiting for process with pid") != std::string::npos)
      return error(code::package_lock_held, std::move(problem.message));
    return problem;
  }

  ResourceContext context_;
};

}  // namespace

std::unique_ptr<PackageManager> make_dnf(const ResourceContext& context) { return std::make_unique<Dnf>(context); }

}  // namespace kfab::agent

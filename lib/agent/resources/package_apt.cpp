#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "agent/resources/package_manager.hpp"
#include "base/codes/provision.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

// What apt's last words mean. The first row that fits counts: a message about a missing right also speaks of the lock.
using AptSays = PackageManagerSays;
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

class Apt final : public PackageManager {
 public:
  explicit Apt(const ResourceContext& context) : context_(context) {}

  Result<std::map<std::string, Installed>> query(const std::vector<std::string>& names, bool) const override {
    std::vector<std::string> argv{"dpkg-query", "-W", "-f=${Package}\\t${db:Status-Abbrev}\\t${Version}\\n", "--"};
    argv.insert(argv.end(), names.begin(), names.end());
    const auto result = context_.run(argv, package_query_timeout_s);
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
      entry.versions = {fields[2]};
      entry.shown = fields[2];
      entry.held = fields[1][0] == 'h';
    }
    return found;
  }

  Status install(const std::vector<std::string>& what, const InstallOptions& how) const override {
    if (how.refresh) KFAB_TRY_VOID(apt("update", {}, {}, how));
    std::vector<std::string> options{"--no-install-recommends", "-o", "Dpkg::Options::=--force-confdef", "-o",
                                     "Dpkg::Options::=--force-confold"};
    if (!how.version.empty())
      options.emplace_back("--allow-downgrades");   // the declared version is the one that is wanted
    if (how.held) options.emplace_back("--allow-change-held-packages");
    return apt("install", with_version(what, "=", how.version), options, how);
  }

  Status remove(const std::vector<std::string>& names, const InstallOptions& how) const override {
    return apt("remove", names, {}, how);
  }

  // Lines such as "Remv chrony [4.3-2]".
  Result<std::vector<std::string>> would_go_too(const std::vector<std::string>& names) const override {
    std::vector<std::string> argv{"apt-get", "-s", "-q", "remove", "--"};
    argv.insert(argv.end(), names.begin(), names.end());
    const auto result = context_.run(argv, package_query_timeout_s);
    if (!result.success()) return failure("apt-get -s remove", result);
    std::vector<std::string> others;
    for (const auto line : split_lines(result.out)) {
      const auto words = split(line, ' ');
      if (words.size() < 2 || (words[0] != "Remv" && words[0] != "Purg")) continue;
      const auto name = words[1].substr(0, words[1].find(':'));
      if (std::none_of(names.begin(), names.end(), [&](const std::string& mine) { return mine.substr(0, mine.find(':')) == name; })) others.push_back(name);
    }
    return others;
  }

  Status hold(const std::vector<std::string>& names, bool held) const override {
    std::vector<std::string> argv{"apt-mark", held ? "hold" : "unhold"};
    argv.insert(argv.end(), names.begin(), names.end());
    const auto result = context_.run(argv, package_query_timeout_s);
    return result.success() ? ok() : Status(failure("apt-mark", result));
  }

  Result<PackageFile> inspect(const std::string& path) const override {
    const auto result = context_.run({"dpkg-deb", "-f", path, "Package", "Version"}, package_query_timeout_s);
    if (!result.success()) return process_failure(code::package_file_bad, "dpkg-deb " + one_line(path), result);
    PackageFile file;
    for (const auto line : split_lines(result.out)) {
      if (line.starts_with("Package: ")) file.name = std::string(trim(line.substr(9)));
      if (line.starts_with("Version: ")) file.version = std::string(trim(line.substr(9)));
    }
    return file;
  }

  bool has_pins() const override { return true; }

 private:
  Status apt(std::string_view verb, const std::vector<std::string>& names, const std::vector<std::string>& options,
             const InstallOptions& how) const {
    std::vector<std::string> argv{"apt-get", "-y", "-q", "-o", fmt::format("DPkg::Lock::Timeout={}", how.lock_timeout_s)};
    argv.insert(argv.end(), options.begin(), options.end());
    argv.emplace_back(verb);
    if (!names.empty()) {
      argv.emplace_back("--");
      argv.insert(argv.end(), names.begin(), names.end());
    }
    auto result = context_.run(argv, how.timeout_s);
    if (was_cut_before(result)) {
      KFAB_TRY_VOID(finish_what_was_cut(how));
      result = context_.run(argv, how.timeout_s);
    }
    if (result.success()) return ok();
    return failure(fmt::format("apt-get {}", verb), result);
  }

  // dpkg was killed in the middle before, as when a run of kfab or the node itself was cut; apt does nothing until the
  // packages that were being set up then have been.
  static bool was_cut_before(const ProcessResult& result) {
    return result.end == ProcessResult::End::exited && result.exit_status != 0 && result.err.find("dpkg was interrupted") != std::string::npos;
  }
  Status finish_what_was_cut(const InstallOptions& how) const {
    const auto result = context_.run({"dpkg", "--force-confdef", "--force-confold", "--configure", "-a"}, how.timeout_s);
    return result.success() ? ok() : Status(failure("dpkg --configure -a, after dpkg was cut before", result));
  }

  static Diagnostic failure(std::string_view doing, const ProcessResult& result) { return package_failure("apt-get", doing, result, apt_says); }

  ResourceContext context_;
};

}  // namespace

std::unique_ptr<PackageManager> make_apt(const ResourceContext& context) { return std::make_unique<Apt>(context); }

}  // namespace kfab::agent

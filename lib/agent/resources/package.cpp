#include <unistd.h>

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "agent/resources/disk_file.hpp"
#include "agent/resources/package_manager.hpp"
#include "base/codes/agent.hpp"
#include "base/codes/provision.hpp"
#include "base/codes/undo.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

class PackageResource final : public Resource {
 public:
  PackageResource(const json::Value& attributes, const ResourceContext& context)
      : context_(context),
        names_(string_list(attributes["names"])),
        absent_(attributes.string_or("state") == "absent"),
        from_(attributes.string_or("from")),
        pin_(one_line(attributes.string_or("pin"), 200)),
        hold_(attributes["hold"].as_bool()),
        pin_file_(context.node.at(fmt::format("/etc/apt/preferences.d/kfab-{}.pref", file_word(names_.front()))), "pin") {
    how_.version = attributes.string_or("version");
    how_.held = hold_.has_value();
    how_.refresh = attributes.bool_or("refresh", false);
    how_.lock_timeout_s = attributes.int_or("lock_timeout_s", how_.lock_timeout_s);
    how_.timeout_s = attributes.double_or("timeout_s", how_.timeout_s);
  }

  Result<Difference> check() override {
    KFAB_TRY(found, query());
    if (!from_.empty()) KFAB_TRY_VOID(read_file_of_package());
    Difference difference;
    to_install_.clear();
    to_hold_.clear();
    KFAB_TRY_VOID(check_pin(difference));
    for (const auto& name : names_) {
      const auto it = found.find(name.substr(0, name.find(':')));
      const Installed now = it == found.end() ? Installed{} : it->second;
      if (absent_) {
        if (now.installed()) difference.changes.push_back({name, now.shown, "absent"});
        continue;
      }
      if (!now.installed() || (!how_.version.empty() && !now.has(how_.version))) {
        to_install_.push_back(name);
        difference.changes.push_back(
            {name, now.installed() ? now.shown : "absent", how_.version.empty() ? "installed" : how_.version});
      }
      if (hold_ && now.held != *hold_) {
        to_hold_.push_back(name);
        difference.changes.push_back({name + " hold", now.held ? "held" : "not held", *hold_ ? "held" : "not held"});
      }
    }
    return difference;
  }

  Status apply(const Difference& found) override {
    if (pin_file_.differs()) KFAB_TRY_VOID(pin_file_.apply(context_));   // before apt chooses a version
    if (absent_) {
      std::vector<std::string> names;
      for (const auto& change : found.changes) names.push_back(change.what);
      return manager_->remove(names, how_);
    }
    if (!to_install_.empty())
      KFAB_TRY_VOID(manager_->install(from_.empty() ? to_install_ : std::vector<std::string>{from_}, how_));
    return to_hold_.empty() ? ok() : manager_->hold(to_hold_, *hold_);
  }

  std::vector<Place> places() const override { return pin_.empty() ? std::vector<Place>{} : std::vector<Place>{{.path = pin_file_.path()}}; }

  Result<json::Value> snapshot() override {
    KFAB_TRY(found, query());
    json::Object now;
    for (const auto& name : names_) {
      const auto it = found.find(name.substr(0, name.find(':')));
      const bool there = it != found.end() && it->second.installed();
      now.set(name, there ? it->second.shown : "absent");
      if (hold_) now.set(name + " hold", there && it->second.held ? "held" : "not held");
    }
    return json::Value(std::move(now));
  }

  // What was absent goes, unless others need it by now; what was there in another version comes again, where a repository
  // still has that. Holds are lifted before and set again last.
  Status restore(const json::Value& before) override {
    KFAB_TRY(now, snapshot());
    std::vector<std::string> unhold, hold, remove;
    std::vector<std::pair<std::string, std::string>> install;
    for (const auto& name : names_) {
      const auto was = before.string_or(name), held = before.string_or(name + " hold");
      if (now.string_or(name + " hold") == "held" && (!was.empty() || held == "not held")) unhold.push_back(name);
      if (was == "absent") remove.push_back(name);
      else if (!was.empty()) install.emplace_back(name, was);
      if (held == "held") hold.push_back(name);
    }
    if (!remove.empty()) {
      KFAB_TRY(others, manager_->would_go_too(remove));
      if (!others.empty()) return error(code::undo_in_use, fmt::format("{} would take {} along", join(remove, ", "), one_line(join(others, ", "), 200)));
    }
    if (!unhold.empty()) KFAB_TRY_VOID(manager_->hold(unhold, false));
    if (!remove.empty()) KFAB_TRY_VOID(manager_->remove(remove, how_));
    for (const auto& [name, version] : install) {
      InstallOptions how = how_;
      how.version = version;
      auto done = manager_->install({name}, how);
      if (!done && done.error().code == code::package_not_found)
        return error(code::undo_version_gone, fmt::format("{} was {} before, which no repository of the node has any more", one_line(name, 80), one_line(version, 80)));
      if (!done) return done;
    }
    return hold.empty() ? ok() : manager_->hold(hold, true);
  }

 private:
  // dpkg where it is, else rpm: by asking, which costs nothing where the first one answers.
  Result<std::map<std::string, Installed>> query() {
    if (manager_) return manager_->query(names_, hold_.has_value());
    manager_ = make_apt(context_);
    auto found = manager_->query(names_, hold_.has_value());
    if (found || found.error().code != code::package_manager_missing) return found;
    manager_ = make_dnf(context_);
    found = manager_->query(names_, hold_.has_value());
    if (!found && found.error().code == code::package_manager_missing)
      return error(code::package_manager_missing, "the node has neither dpkg nor rpm");
    return found;
  }

  // A name as part of a file's name.
  static std::string file_word(std::string name) {
    for (char& c : name)
      if (c == '/' || c == ':' || c == '.') c = '-';
    return name;
  }

  Status check_pin(Difference& difference) {
    if (pin_.empty()) return ok();
    if (!manager_->has_pins())
      return error(code::agent_bad_request, "a pin needs apt; say version or hold on this distribution");
    pin_file_.want(fmt::format("{}\nPackage: {}\nPin: version {}\nPin-Priority: 1001\n", written_by_kfab, join(names_, " "), pin_));
    return pin_file_.check(difference);
  }

  // A file says its own version, so that a newer file in its place is installed too.
  Status read_file_of_package() {
    if (::access(from_.c_str(), R_OK) != 0)
      return error(code::package_file_missing, fmt::format("{} is not on the node", one_line(from_)));
    KFAB_TRY(file, manager_->inspect(from_));
    if (names_.size() != 1 || file.name != names_.front())
      return error(code::package_file_bad, fmt::format("{} holds the package '{}' and not {}", one_line(from_),
                                                       one_line(file.name, 80), one_line(join(names_, ", "), 80)));
    how_.version = file.version;
    return ok();
  }

  ResourceContext context_;
  std::vector<std::string> names_;
  bool absent_;
  std::string from_, pin_;
  std::optional<bool> hold_;
  InstallOptions how_;
  OwnFile pin_file_;
  std::unique_ptr<PackageManager> manager_;
  std::vector<std::string> to_install_, to_hold_;
};

}  // namespace

bool Installed::has(const std::string& version) const {
  return std::find(versions.begin(), versions.end(), version) != versions.end();
}

std::unique_ptr<Resource> make_package(const json::Value& attributes, const ResourceContext& context) {
  return std::make_unique<PackageResource>(attributes, context);
}

}  // namespace kfab::agent

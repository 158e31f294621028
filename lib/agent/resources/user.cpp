#include <algorithm>

#include <fmt/format.h>

#include "agent/resources/resource.hpp"
#include "base/codes/provision.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

constexpr double lookup_timeout_s = 20;
constexpr double change_timeout_s = 120;

class UserResource final : public Resource {
 public:
  UserResource(const json::Value& attributes, const ResourceContext& context)
      : context_(context),
        name_(attributes.string_or("name")),
        uid_(attributes["uid"].as_int()),
        group_(attributes.string_or("group")),
        groups_(string_list(attributes["groups"])),
        shell_(attributes.string_or("shell")),
        home_(attributes.string_or("home")),
        system_(attributes.bool_or("system", false)),
        absent_(attributes.string_or("state") == "absent") {}

  Result<Difference> check() override {
    Difference difference;
    // name:password:uid:gid:comment:home:shell
    const auto entry = context_.run({"getent", "passwd", name_}, lookup_timeout_s);
    exists_ = entry.success();
    if (!exists_ && !(entry.end == ProcessResult::End::exited && entry.exit_status == 2))
      return process_failure(code::user_failed, "getent passwd", entry);
    if (absent_) {
      if (exists_) difference.changes.push_back({"state", "present", "absent"});
      return difference;
    }
    if (!exists_) {
      difference.changes.push_back({"state", "absent", "present"});
      return difference;
    }
    const auto fields = split(trim(entry.out), ':');
    if (fields.size() < 7) return error(code::user_failed, "getent gives no readable entry for " + one_line(name_, 60));
    const auto compare = [&](std::string_view what, const std::string& now, const std::string& wanted) {
      if (!wanted.empty() && now != wanted) difference.changes.push_back({std::string(what), now, wanted});
    };
    compare("uid", fields[2], uid_ ? fmt::format("{}", *uid_) : "");
    compare("home", fields[5], home_);
    compare("shell", fields[6], shell_);
    if (!group_.empty()) {
      const auto primary = context_.run({"id", "-gn", name_}, lookup_timeout_s);
      if (!primary.success()) return process_failure(code::user_failed, "id -gn", primary);
      compare("group", std::string(trim(primary.out)), group_);
    }
    return groups_.empty() ? Result<Difference>(difference) : compare_groups(std::move(difference));
  }

  Status apply(const Difference& found) override {
    if (absent_) return change({"userdel"}, true);
    if (!exists_) return create();
    std::vector<std::string> options;
    for (const auto& change : found.changes) {
      if (change.what == "uid") options.insert(options.end(), {"-u", change.after});
      if (change.what == "home") options.insert(options.end(), {"-d", change.after});
      if (change.what == "shell") options.insert(options.end(), {"-s", change.after});
      if (change.what == "group") options.insert(options.end(), {"-g", change.after});
    }
    if (!missing_groups_.empty()) options.insert(options.end(), {"-a", "-G", join(missing_groups_, ",")});
    options.insert(options.begin(), "usermod");
    return change(std::move(options), true);
  }

  // Of what the role says of the user, all as texts; of the groups, whether the user is in each of those that it names.
  Result<json::Value> snapshot() override {
    const auto entry = context_.run({"getent", "passwd", name_}, lookup_timeout_s);
    json::Object now;
    if (entry.end == ProcessResult::End::exited && entry.exit_status == 2) return json::Value(now.set("user", "absent"));
    if (!entry.success()) return process_failure(code::user_failed, "getent passwd", entry);
    const auto fields = split(trim(entry.out), ':');
    if (fields.size() < 7) return error(code::user_failed, "getent gives no readable entry for " + one_line(name_, 60));
    now.set("user", "present");
    if (uid_) now.set("uid", fields[2]);
    if (!home_.empty()) now.set("home", fields[5]);
    if (!shell_.empty()) now.set("shell", fields[6]);
    if (!group_.empty()) {
      const auto primary = context_.run({"id", "-gn", name_}, lookup_timeout_s);
      if (!primary.success()) return process_failure(code::user_failed, "id -gn", primary);
      now.set("group", std::string(trim(primary.out)));
    }
    if (groups_.empty()) return json::Value(std::move(now));
    const auto all = context_.run({"id", "-nG", name_}, lookup_timeout_s);
    if (!all.success()) return process_failure(code::user_failed, "id -nG", all);
    const auto memberships = split(trim(all.out), ' ');
    for (const auto& group : groups_)
      now.set("in " + group, std::find(memberships.begin(), memberships.end(), group) == memberships.end() ? "no" : "yes");
    return json::Value(std::move(now));
  }
  std::string cannot_restore(const json::Value& before) const override {
    if (before.string_or("user") != "present") return {};
    return fmt::format("the user {} was removed, and with it the password and what belonged to it", one_line(name_, 60));
  }
  Status restore(const json::Value& before) override {
    if (before.string_or("user") == "absent") return change({"userdel"}, true);
    std::vector<std::string> argv{"usermod"};
    for (const auto& [what, option] : {std::pair{"uid", "-u"}, {"home", "-d"}, {"shell", "-s"}, {"group", "-g"}})
      if (const auto was = before.string_or(what); !was.empty()) argv.insert(argv.end(), {option, was});
    if (argv.size() > 1) KFAB_TRY_VOID(change(std::move(argv), true));
    for (const auto& [name, was] : before.as_object()->members()) {
      if (!name.starts_with("in ")) continue;
      const auto result = context_.run({"gpasswd", scalar_text(was) == "yes" ? "-a" : "-d", name_, name.substr(3)}, change_timeout_s);
      if (!result.success()) return process_failure(code::user_failed, fmt::format("gpasswd {} {}", one_line(name_, 60), one_line(name.substr(3), 60)), result);
    }
    return ok();
  }

 private:
  Result<Difference> compare_groups(Difference difference) {
    const auto now = context_.run({"id", "-nG", name_}, lookup_timeout_s);
    if (!now.success()) return process_failure(code::user_failed, "id -nG", now);
    const auto memberships = split(trim(now.out), ' ');
    missing_groups_.clear();
    for (const auto& group : groups_)
      if (std::find(memberships.begin(), memberships.end(), group) == memberships.end())
        missing_groups_.push_back(group);
    if (!missing_groups_.empty())
      difference.changes.push_back(
          {"groups", join(memberships, ","), fmt::format("also {}", join(missing_groups_, ","))});
    return difference;
  }

  Status create() const {
    std::vector<std::string> argv{"useradd"};
    if (system_) argv.emplace_back("--system");
    if (uid_) argv.insert(argv.end(), {"-u", fmt::format("{}", *uid_)});
    if (!group_.empty()) argv.insert(argv.end(), {"-g", group_});
    if (!groups_.empty()) argv.insert(argv.end(), {"-G", join(groups_, ",")});
    if (!shell_.empty()) argv.insert(argv.end(), {"-s", shell_});
    if (!home_.empty()) argv.insert(argv.end(), {"-d", home_});
    argv.emplace_back(system_ && home_.empty() ? "-M" : "-m");
    return change(std::move(argv), true);
  }

  Status change(std::vector<std::string> argv, bool named) const {
    const std::string program = argv.front();
    if (named) argv.insert(argv.end(), {"--", name_});
    const auto result = context_.run(std::move(argv), change_timeout_s);
    if (result.success()) return ok();
    return process_failure(code::user_failed, fmt::format("{} {}", program, one_line(name_, 60)), result);
  }

  ResourceContext context_;
  std::string name_;
  std::optional<std::int64_t> uid_;
  std::string group_;
  std::vector<std::string> groups_;
  std::string shell_, home_;
  bool system_, absent_;
  bool exists_ = false;
  std::vector<std::string> missing_groups_;
};

}  // namespace

std::unique_ptr<Resource> make_user(const json::Value& attributes, const ResourceContext& context) {
  return std::make_unique<UserResource>(attributes, context);
}

}  // namespace kfab::agent

#include <algorithm>

#include <fmt/format.h>

#include "agent/resources/resource.hpp"
#include "base/codes/provision.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

constexpr double lookup_timeout_s = 20;
constexpr double change_timeout_s = 120;

class GroupResource final : public Resource {
 public:
  GroupResource(const json::Value& attributes, const ResourceContext& context)
      : context_(context),
        name_(attributes.string_or("name")),
        gid_(attributes["gid"].as_int()),
        system_(attributes.bool_or("system", false)),
        absent_(attributes.string_or("state") == "absent") {}

  Result<Difference> check() override {
    // name:password:gid:members
    const auto entry = context_.run({"getent", "group", name_}, lookup_timeout_s);
    exists_ = entry.success();
    if (!exists_ && !(entry.end == ProcessResult::End::exited && entry.exit_status == 2))
      return process_failure(code::group_failed, "getent group", entry);
    Difference difference;
    if (absent_ || !exists_) {
      if (absent_ == exists_)
        difference.changes.push_back({"state", exists_ ? "present" : "absent", absent_ ? "absent" : "present"});
      return difference;
    }
    const auto fields = split(trim(entry.out), ':');
    if (fields.size() < 3) return error(code::group_failed, "getent gives no readable entry for " + one_line(name_, 60));
    if (gid_ && fields[2] != fmt::format("{}", *gid_))
      difference.changes.push_back({"gid", fields[2], fmt::format("{}", *gid_)});
    return difference;
  }

  Status apply(const Difference&) override {
    std::vector<std::string> argv{absent_ ? "groupdel" : exists_ ? "groupmod" : "groupadd"};
    if (!absent_ && !exists_ && system_) argv.emplace_back("--system");
    if (!absent_ && gid_) argv.insert(argv.end(), {"-g", fmt::format("{}", *gid_)});
    argv.insert(argv.end(), {"--", name_});
    const auto result = context_.run(argv, change_timeout_s);
    if (result.success()) return ok();
    return process_failure(code::group_failed, fmt::format("{} {}", argv.front(), one_line(name_, 60)), result);
  }

  Result<json::Value> snapshot() override {
    const auto entry = context_.run({"getent", "group", name_}, lookup_timeout_s);
    if (entry.end == ProcessResult::End::exited && entry.exit_status == 2) return json::Value(json::Object{{"group", "absent"}});
    if (!entry.success()) return process_failure(code::group_failed, "getent group", entry);
    const auto fields = split(trim(entry.out), ':');
    if (fields.size() < 3) return error(code::group_failed, "getent gives no readable entry for " + one_line(name_, 60));
    return json::Value(json::Object{{"group", "gid " + fields[2]}});
  }
  std::string cannot_restore(const json::Value& before) const override {
    if (!absent_ || before["group"].is_null()) return {};
    return fmt::format("the group {} was removed, and with it who belonged to it", one_line(name_, 60));
  }
  Status restore(const json::Value& before) override {
    const auto was = before.string_or("group");
    const auto result = was == "absent" ? context_.run({"groupdel", "--", name_}, change_timeout_s)
                                        : context_.run({"groupmod", "-g", was.substr(std::min<std::size_t>(4, was.size())), "--", name_}, change_timeout_s);
    if (result.success()) return ok();
    return process_failure(code::group_failed, fmt::format("{} {}", was == "absent" ? "groupdel" : "groupmod", one_line(name_, 60)), result);
  }

 private:
  ResourceContext context_;
  std::string name_;
  std::optional<std::int64_t> gid_;
  bool system_, absent_;
  bool exists_ = false;
};

}  // namespace

std::unique_ptr<Resource> make_group(const json::Value& attributes, const ResourceContext& context) {
  return std::make_unique<GroupResource>(attributes, context);
}

}  // namespace kfab::agent

#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "agent/resources/disk_file.hpp"
#include "base/codes/agent.hpp"
#include "base/codes/provision.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

constexpr double systemctl_timeout_s = 60;

bool is_plain_name(std::string_view name) {
  return !name.empty() && name.find_first_of("/ \t\n") == std::string_view::npos && !name.starts_with('.') &&
         !name.starts_with('-');
}

// Settings for a unit that a package brought, beside that unit's own file. systemd reads them at once; a service that
// runs takes them up when it is restarted, by restart_on of a service resource.
class DropInResource final : public Resource {
 public:
  DropInResource(const json::Value& attributes, const ResourceContext& context)
      : context_(context),
        unit_(attributes.string_or("unit")),
        name_(attributes.string_or("name", "60-kfab")),
        backup_(attributes.bool_or("backup", true)),
        file_(context.node.at(fmt::format("/etc/systemd/system/{}.d/{}.conf", with_suffix(unit_), name_)), "content") {
    std::string content = attributes.string_or("content");
    if (!content.empty() && !content.ends_with('\n')) content += '\n';
    if (attributes.string_or("state") == "absent") file_.want_absent();
    else file_.want(std::move(content));
  }

  Result<Difference> check() override {
    if (!is_plain_name(unit_) || !is_plain_name(name_))
      return error(code::agent_bad_request, "the names of units and of their drop-ins hold no '/' and no blank");
    if (::access(context_.node.systemd_marker.c_str(), F_OK) != 0)
      return error(code::service_manager_missing,
                   fmt::format("cannot add to {}: systemd does not run on this node", one_line(unit_, 80)));
    Difference difference;
    KFAB_TRY_VOID(file_.check(difference));
    if (!difference.in_sync()) return difference;
    // A run that was cut after the file left systemd with what it read before.
    const auto answer = context_.run({"systemctl", "show", "-p", "NeedDaemonReload", "--", with_suffix(unit_)}, systemctl_timeout_s);
    if (!answer.success()) return process_failure(code::service_failed, "systemctl show", answer);
    if (trim(answer.out) == "NeedDaemonReload=yes")
      difference.changes.push_back({"systemd", "has read what was before", "reads it anew"});
    return difference;
  }

  Status apply(const Difference&) override {
    if (file_.differs()) KFAB_TRY_VOID(file_.apply(context_, backup_));
    const auto result = context_.run({"systemctl", "daemon-reload"}, systemctl_timeout_s);
    return result.success() ? ok() : Status(process_failure(code::service_failed, "systemctl daemon-reload", result));
  }

  std::string written_path() const override { return file_.path(); }

  std::vector<Place> places() const override { return {{.path = file_.path(), .copies = backup_}}; }
  Status settle(const json::Value&) override {
    const auto result = context_.run({"systemctl", "daemon-reload"}, systemctl_timeout_s);
    return result.success() ? ok() : Status(process_failure(code::service_failed, "systemctl daemon-reload", result));
  }

 private:
  // As systemctl does it: a name without a kind is a service's.
  static std::string with_suffix(const std::string& unit) {
    return unit.find('.') == std::string::npos ? unit + ".service" : unit;
  }

  ResourceContext context_;
  std::string unit_, name_;
  bool backup_;
  OwnFile file_;
};

}  // namespace

std::unique_ptr<Resource> make_drop_in(const json::Value& attributes, const ResourceContext& context) {
  return std::make_unique<DropInResource>(attributes, context);
}

}  // namespace kfab::agent

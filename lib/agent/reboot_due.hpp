#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "agent/resources/resource.hpp"
#include "base/result.hpp"
#include "json/value.hpp"

// When a role's `reboot` is due. What it rests on is the node's own: its boot, what its system says, what was noted in /run.
namespace kfab::agent {

// The boot that runs, by the kernel's own id; empty where it is not told.
std::string boot_id_of(const NodeEnvironment&);

// Why the system itself asks for a reboot, by Debian's and Ubuntu's own mark; empty where it does not.
std::string system_reboot_reason(const NodeEnvironment&);

// The resources that were changed since the node was booted, of those that a reboot looks at. They are noted in
// /run/kfab/changed before they are changed, under the id of the boot: a run that was cut leaves them to the next one, whoever
// starts it, and a boot takes them away even where /run outlasts it.
class ChangedSinceBoot {
 public:
  explicit ChangedSinceBoot(const NodeEnvironment&);
  bool holds(const std::string& id) const { return ids_.count(id) > 0; }
  // Error: reboot_not_known.
  Status add(const std::string& id);

 private:
  std::string path_, boot_id_;
  std::set<std::string> ids_;
};

// What a `reboot` found. One that is not due may be `open`: what stands before it and would be changed, what `after` names if it names
// any, may yet make it due.
struct RebootDue {
  bool due = false, open = false;
  std::string reason{};   // of one that is due, one line
};

// What is known of the resources before it, in their order, when a `reboot` is looked at.
struct BeforeReboot {
  std::vector<std::string> reasons{};    // why they ask for a reboot: each of those that do
  std::set<std::string> changed{};       // that were changed in this run, or would be
  bool packages_would_change = false;    // or commands: what may make the system itself ask for a reboot
};

// attributes: when (needed, changed), unless, reason (manifest/resource_types). `after` are the ids that `changed` is about.
// Errors: command_guard_failed, where `unless` cannot be run.
Result<RebootDue> reboot_due(const json::Value& attributes, const std::vector<std::string>& after, const BeforeReboot&, const ChangedSinceBoot&, const ResourceContext&);

}  // namespace kfab::agent

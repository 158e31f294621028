#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/words.hpp"
#include "json/value.hpp"
#include "provision/desired_state.hpp"

namespace kfab::provision {

// What the agent said about one resource. `waiting`: it is a reboot that must come first, or stands behind one, and was not
// done. `not_reported` is ours: the resource was asked for and nothing came back.
enum class ResourceStatus : std::uint8_t {
  in_sync, would_change, changed, failed, skipped, cancelled, waiting, not_reported
};
std::string_view to_string(ResourceStatus);
std::optional<ResourceStatus> parse_resource_status(std::string_view);

struct Change {
  std::string what, before, after;
};

// Texts came from the node: they are cut and cleaned (printable) when read.
struct ResourceRecord {
  std::string id, type;
  ResourceStatus status = ResourceStatus::not_reported;
  std::vector<Change> changes;
  std::string diff;                  // unified, empty when there is none
  std::string message;               // why it failed or was skipped
  std::string code;                  // "KF3004"; empty when nothing is wrong
  std::optional<double> duration_s;
  std::vector<std::string> digests{};   // of what was found, as the agent compares it (agent/provision_task.hpp)
  std::string reboot_reason{};       // why the node must be rebooted before this is also what runs; empty: no need
};

// What came of planning or provisioning one node. `resources` has every resource of the desired state, in its order.
struct NodePlan {
  std::string node;
  Mode mode = Mode::plan;
  std::vector<ResourceRecord> resources;
  int in_sync = 0, would_change = 0, changed = 0, failed = 0, skipped = 0, cancelled = 0, waiting = 0, not_reported = 0;
  bool reboot_required = false;      // some resource asks for it, or the system's packages do
  std::string reboot_reason{};       // why: what the packages say, else the first resource that asks
  std::string stopped_at{}, stop_reason{};   // the id of the reboot that the rest waits for, and why it is due; empty: none
  std::string stopped_boot_id{};     // the boot in which the node stopped for a reboot last, also when it has gone on since
  bool complete = false;             // the agent's "done" came
  std::string desired_sha256;
  Verdict verdict = Verdict::not_judged;
  std::string reason;                // why the verdict is not pass, one line
  std::string code;                  // of the reason, when the agent gave one
  json::Value board_serial{}, machine_id{};   // of the machine that was planned for; null where it has none, or was not asked
};

// Judges the agent's messages (progress and others are ignored; the last word on a resource counts; resources that
// were not asked for are ignored). Verdict: fail when any resource failed or was skipped because of one, or the agent
// reported an error of the task (that the node has drifted comes first); not_judged when "done" is missing, something was cancelled
// or not reported, when a reboot is waited for, and, in plan mode, when something would change; pass when all is in sync or
// was changed and verified.
NodePlan judge(const DesiredState&, Mode, const std::vector<json::Value>& messages);

// The same from records that were judged before, of which those that are missing were not reported.
NodePlan judge_records(const DesiredState&, Mode, const std::vector<ResourceRecord>&);

// What two passes over one node came to, with a proven reboot between them: what the first changed and the second found right is
// changed, and so is the reboot itself. What was right before the reboot and had to be changed after it did not hold: fail.
NodePlan continued(const NodePlan& before, NodePlan after);

// A reboot that was waited for and did not do its work: the resource has failed, and with it the node.
void fail_reboot(NodePlan&, const std::string& id, const std::string& code, const std::string& reason);

// What is to be done with a node that was applied to: it did not stop; it may be rebooted; the plan that was reviewed (`expect` of
// the agent's request, null without one) does not hold that reboot; or it was rebooted for it before, and asks still.
enum class AtReboot : std::uint8_t { none, reboot, not_planned, in_vain };
AtReboot at_reboot(const NodePlan&, const json::Value& expect, const std::set<std::string>& rebooted_for);

// The reboots that a plan holds, as they would come: the resource, why it is due, and what stands behind it: the role that
// comes next, else the next resource; empty when it is the last.
struct PlannedReboot {
  std::string resource, reason, before;
};
std::vector<PlannedReboot> planned_reboots(const NodePlan&);

// node, mode, verdict, reason, code, desired_sha256, complete, counts{...}, resources[{id, type, status, changes[],
// diff, message, code, reboot_required, reboot_reason, duration_s}], reboot_required, reboot_reason, waits_for_reboot{resource,
// reason, resources} or null, stopped_boot_id.
json::Value to_json(const NodePlan&);

}  // namespace kfab::provision

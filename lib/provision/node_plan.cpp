#include "provision/node_plan.hpp"

#include <algorithm>
#include <array>
#include <map>

#include <fmt/format.h>

#include "base/codes/plan.hpp"
#include "base/codes/reboot.hpp"
#include "base/text.hpp"
#include "json/shorthand.hpp"

namespace kfab::provision {
namespace {

constexpr std::size_t max_changes = 200;
constexpr std::size_t max_digests = 20'000;
constexpr std::size_t max_text = 600;
constexpr std::size_t max_diff_bytes = 64 * 1024;

constexpr std::array<std::string_view, 8> status_words{"in_sync", "would_change", "changed", "failed",
                                                       "skipped", "cancelled",    "waiting", "not_reported"};
constexpr std::string_view reboot_type = "reboot";

std::string cut(std::string text, std::size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  text.resize(max_bytes);
  return replace_invalid_utf8(text) + "\n... (cut)\n";
}

std::string code_in(const json::Value& message) {
  const auto code = parse_code(message.string_or("code"));
  return code ? to_string(*code) : "";
}

// What one message says about a resource. The agent runs on the node, so nothing in it is taken as it is.
void read_record(const json::Value& message, Mode mode, ResourceRecord& record) {
  const auto status = parse_resource_status(message.string_or("status"));
  const bool possible = status && *status != ResourceStatus::not_reported &&
                        *status != (mode == Mode::plan ? ResourceStatus::changed : ResourceStatus::would_change) &&
                        !(mode == Mode::plan && *status == ResourceStatus::waiting);
  record.changes.clear();
  for (const auto& change : message.array_at("changes")) {
    if (record.changes.size() == max_changes) break;
    record.changes.push_back({one_line(change.string_or("what"), max_text),
                              one_line(change.string_or("before"), max_text),
                              one_line(change.string_or("after"), max_text)});
  }
  record.diff = cut(printable(message.string_or("diff")), max_diff_bytes);
  record.message = one_line(message.string_or("message"), max_text);
  record.code = code_in(message);
  record.duration_s = message["duration_s"].as_double();
  record.digests.clear();
  for (const auto& digest : message.array_at("digests"))
    if (digest.as_string() != nullptr && record.digests.size() < max_digests) record.digests.push_back(one_line(*digest.as_string(), 64));
  record.reboot_reason.clear();
  if (message.bool_or("reboot_required", false)) {
    record.reboot_reason = one_line(message.string_or("reboot_reason"), max_text);
    if (record.reboot_reason.empty()) record.reboot_reason = "the agent gave no reason";
  }
  record.status = possible ? *status : ResourceStatus::not_reported;
  if (!possible)
    record.message = "the agent gave a status that cannot be: " + one_line(message.string_or("status"), 40);
}

void count(NodePlan& plan) {
  for (int* one : {&plan.in_sync, &plan.would_change, &plan.changed, &plan.failed, &plan.skipped, &plan.cancelled, &plan.waiting, &plan.not_reported}) *one = 0;
  for (const auto& record : plan.resources) {
    if (plan.reboot_reason.empty()) plan.reboot_reason = record.reboot_reason;
    switch (record.status) {
      case ResourceStatus::in_sync: ++plan.in_sync; break;
      case ResourceStatus::would_change: ++plan.would_change; break;
      case ResourceStatus::changed: ++plan.changed; break;
      case ResourceStatus::failed: ++plan.failed; break;
      case ResourceStatus::skipped: ++plan.skipped; break;
      case ResourceStatus::cancelled: ++plan.cancelled; break;
      case ResourceStatus::waiting: ++plan.waiting; break;
      case ResourceStatus::not_reported: ++plan.not_reported; break;
    }
  }
  plan.reboot_required = !plan.reboot_reason.empty();
}

const ResourceRecord* first_with(const NodePlan& plan, ResourceStatus status) {
  const auto it = std::find_if(plan.resources.begin(), plan.resources.end(),
                               [&](const ResourceRecord& record) { return record.status == status; });
  return it == plan.resources.end() ? nullptr : &*it;
}

void decide(NodePlan& plan, Verdict verdict, std::string reason, std::string code = {}) {
  plan.verdict = verdict;
  plan.reason = one_line(reason, max_text);
  plan.code = std::move(code);
}

// The rows stand in the order of weight: the first that holds is the verdict.
void judge_node(NodePlan& plan, const json::Value& task_error) {
  if (const auto told = parse_code(task_error.string_or("code")); told == code::node_drifted || told == code::plan_other_machine)
    return decide(plan, Verdict::fail, task_error.string_or("message"), code_in(task_error));
  if (plan.failed > 0) {
    const auto* first = first_with(plan, ResourceStatus::failed);
    return decide(plan, Verdict::fail,
                  fmt::format("{} failed: {}: {}", plural(plan.failed, "resource"), first->id, first->message),
                  first->code);
  }
  if (plan.cancelled > 0 || plan.not_reported > 0) {
    const std::string why = task_error.is_object() ? ": " + task_error.string_or("message")
                            : plan.complete        ? ""
                                                   : ": the agent's stream ended before its work was done";
    return decide(plan, Verdict::not_judged,
                  fmt::format("{} of {} not brought to an end{}", plan.cancelled + plan.not_reported,
                              plural(static_cast<long long>(plan.resources.size()), "resource"), why),
                  code_in(task_error));
  }
  if (task_error.is_object()) return decide(plan, Verdict::fail, task_error.string_or("message"), code_in(task_error));
  if (!plan.complete) return decide(plan, Verdict::not_judged, "the agent's stream ended before its last word");
  if (plan.skipped > 0) return decide(plan, Verdict::fail, fmt::format("{} skipped", plural(plan.skipped, "resource")));
  if (plan.waiting > 0)
    return decide(plan, Verdict::not_judged,
                  fmt::format("stopped for a reboot at {}: {}; {} for it", plan.stopped_at, plan.stop_reason,
                              plan.waiting == 2 ? "1 resource waits" : fmt::format("{} resources wait", plan.waiting - 1)),
                  to_string(code::reboot_awaited));
  if (plan.would_change > 0)
    return decide(plan, Verdict::not_judged, fmt::format("{} would change", plural(plan.would_change, "resource")));
  decide(plan, Verdict::pass, "");
}

json::Value to_json(const ResourceRecord& record) {
  json::Array changes;
  for (const auto& change : record.changes)
    changes.emplace_back(json::Object{{"what", change.what}, {"before", change.before}, {"after", change.after}});
  return json::Object{{"id", record.id},
                      {"type", record.type},
                      {"status", to_string(record.status)},
                      {"changes", std::move(changes)},
                      {"diff", json::text_or_null(record.diff)},
                      {"message", json::text_or_null(record.message)},
                      {"code", json::text_or_null(record.code)},
                      {"reboot_required", !record.reboot_reason.empty()},
                      {"reboot_reason", json::text_or_null(record.reboot_reason)},
                      {"duration_s", json::Value(record.duration_s)}};
}

}  // namespace

std::string_view to_string(ResourceStatus status) { return status_words[static_cast<std::size_t>(status)]; }

std::optional<ResourceStatus> parse_resource_status(std::string_view word) {
  const auto it = std::find(status_words.begin(), status_words.end(), word);
  if (it == status_words.end()) return std::nullopt;
  return static_cast<ResourceStatus>(it - status_words.begin());
}

namespace {

// The plan of a node that said nothing yet, and where each resource stands in it.
NodePlan blank_plan(const DesiredState& desired, Mode mode, std::map<std::string, std::size_t>& index) {
  NodePlan plan;
  plan.node = desired.node;
  plan.mode = mode;
  plan.desired_sha256 = desired.sha256;
  for (const auto& resource : desired.resources) {
    index[resource.id] = plan.resources.size();
    ResourceRecord record;
    record.id = resource.id;
    record.type = resource.type;
    plan.resources.push_back(std::move(record));
  }
  return plan;
}

}  // namespace

NodePlan judge_records(const DesiredState& desired, Mode mode, const std::vector<ResourceRecord>& records) {
  std::map<std::string, std::size_t> index;
  NodePlan plan = blank_plan(desired, mode, index);
  for (const auto& record : records)
    if (const auto it = index.find(record.id); it != index.end()) plan.resources[it->second] = record;
  plan.complete = !records.empty() || desired.resources.empty();
  count(plan);
  judge_node(plan, {});
  return plan;
}

// The first reboot that waits: what the agent says of the stop must fit it, or it is told as what it is, with no boot known.
void read_stop(NodePlan& plan, const json::Value& told) {
  const auto* first = first_with(plan, ResourceStatus::waiting);
  if (first == nullptr) return;
  plan.stopped_at = first->id;
  plan.stop_reason = first->message;
  if (told.string_or("resource") == first->id) plan.stopped_boot_id = one_line(told.string_or("boot_id"), 64);
}

NodePlan judge(const DesiredState& desired, Mode mode, const std::vector<json::Value>& messages) {
  std::map<std::string, std::size_t> index;
  NodePlan plan = blank_plan(desired, mode, index);
  json::Value task_error;
  std::string system_asks;
  json::Value stop;
  for (const auto& message : messages) {
    const std::string type = message.string_or("type");
    if (type == "resource") {
      if (const auto it = index.find(message.string_or("id")); it != index.end())
        read_record(message, mode, plan.resources[it->second]);
    } else if (type == "identity") {
      for (const auto& [key, value] : {std::pair{"board_serial", &plan.board_serial}, std::pair{"machine_id", &plan.machine_id}})
        if (const auto* text = message[key].as_string()) *value = *text;
    } else if (type == "system") {
      system_asks = one_line(message.string_or("reboot_due"), max_text);
      stop = message["stopped_for_reboot"];
    } else if (type == "done") {
      plan.complete = message.bool_or("ok", false);
      task_error = message["error"];
      if (!plan.complete && !task_error.is_object()) task_error = json::Object{{"message", "the agent gave no reason"}};
    }
  }
  plan.reboot_reason = std::move(system_asks);
  count(plan);
  read_stop(plan, stop);
  judge_node(plan, task_error);
  return plan;
}

NodePlan continued(const NodePlan& before, NodePlan after) {
  if (after.stopped_boot_id.empty()) after.stopped_boot_id = before.stopped_boot_id;
  if (before.resources.size() != after.resources.size()) return after;
  std::vector<std::string> undone;   // by the boot
  bool behind = false;
  for (std::size_t i = 0; i < after.resources.size(); ++i) {
    const ResourceRecord& then = before.resources[i];
    ResourceRecord& now = after.resources[i];
    behind = behind || then.id == before.stopped_at;
    if (now.status == ResourceStatus::changed && !behind && (then.status == ResourceStatus::changed || then.status == ResourceStatus::in_sync)) undone.push_back(now.id);
    else if (then.status == ResourceStatus::changed) {
      if (now.status == ResourceStatus::in_sync || now.status == ResourceStatus::not_reported) {
        std::string reboot_reason = now.status == ResourceStatus::in_sync ? std::move(now.reboot_reason) : then.reboot_reason;
        now = then;
        now.reboot_reason = std::move(reboot_reason);
      }
    } else if (then.id == before.stopped_at && now.status == ResourceStatus::in_sync) {
      now.status = ResourceStatus::changed;
      now.message = then.message;
      now.changes = {{"boot", "this one", "a new one"}};
    }
  }
  count(after);
  if (!undone.empty() && after.verdict == Verdict::pass) {
    const std::size_t all = undone.size();
    if (undone.size() > 5) undone.resize(5);
    decide(after, Verdict::fail,
           fmt::format("the reboot {} undid what was right before it, and it was applied again: {}{}", before.stopped_at, one_line(join(undone, ", "), 300),
                       all > undone.size() ? ", ..." : ""),
           to_string(code::reboot_did_not_hold));
  }
  return after;
}

void fail_reboot(NodePlan& plan, const std::string& id, const std::string& code, const std::string& reason) {
  for (auto& record : plan.resources) {
    if (record.id != id) continue;
    record.status = ResourceStatus::failed;
    record.code = code;
    record.message = one_line(reason, max_text);
  }
  count(plan);
  plan.stopped_at.clear();
  plan.stop_reason.clear();
  decide(plan, Verdict::fail, reason, code);
}

AtReboot at_reboot(const NodePlan& plan, const json::Value& expect, const std::set<std::string>& rebooted_for) {
  if (plan.stopped_at.empty()) return AtReboot::none;
  if (rebooted_for.count(plan.stopped_at) > 0) return AtReboot::in_vain;
  if (expect.is_null()) return AtReboot::reboot;
  const auto& planned = expect.array_at("resources");
  const bool held = std::any_of(planned.begin(), planned.end(), [&](const json::Value& resource) {
    return resource.string_or("id") == plan.stopped_at && !resource.array_at("digests").empty();
  });
  return held ? AtReboot::reboot : AtReboot::not_planned;
}

std::vector<PlannedReboot> planned_reboots(const NodePlan& plan) {
  const auto role_of = [](const std::string& id) { return id.substr(0, id.find('/')); };
  std::vector<PlannedReboot> found;
  for (std::size_t i = 0; i < plan.resources.size(); ++i) {
    const ResourceRecord& record = plan.resources[i];
    if (record.type != reboot_type || record.status != ResourceStatus::would_change) continue;
    PlannedReboot reboot{record.id, record.message, {}};
    if (i + 1 < plan.resources.size()) {
      const std::string& next = plan.resources[i + 1].id;
      reboot.before = role_of(next) == role_of(record.id) ? next : role_of(next);
    }
    found.push_back(std::move(reboot));
  }
  return found;
}

json::Value to_json(const NodePlan& plan) {
  json::Array resources;
  for (const auto& record : plan.resources) resources.push_back(to_json(record));
  return json::Object{{"node", plan.node},
                      {"mode", plan.mode == Mode::plan ? "plan" : "apply"},
                      {"verdict", kfab::to_string(plan.verdict)},
                      {"reason", json::text_or_null(plan.reason)},
                      {"code", json::text_or_null(plan.code)},
                      {"desired_sha256", plan.desired_sha256},
                      {"complete", plan.complete},
                      {"reboot_required", plan.reboot_required},
                      {"reboot_reason", json::text_or_null(plan.reboot_reason)},
                      {"waits_for_reboot", plan.stopped_at.empty() ? json::Value()
                                                                   : json::Value(json::Object{{"resource", plan.stopped_at}, {"reason", json::text_or_null(plan.stop_reason)}, {"resources", plan.waiting - 1}})},
                      {"stopped_boot_id", json::text_or_null(plan.stopped_boot_id)},
                      {"counts", json::Object{{"in_sync", plan.in_sync},
                                              {"would_change", plan.would_change},
                                              {"changed", plan.changed},
                                              {"failed", plan.failed},
                                              {"skipped", plan.skipped},
                                              {"cancelled", plan.cancelled},
                                              {"waiting", plan.waiting},
                                              {"not_reported", plan.not_reported}}},
                      {"resources", std::move(resources)}};
}

}  // namespace kfab::provision

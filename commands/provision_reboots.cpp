#include "commands/provision_reboots.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "base/codes/reboot.hpp"
#include "base/text.hpp"
#include "commands/reboot_waves.hpp"

namespace kfab::commands {
namespace {

using provision::Mode;

bool is_back(const RebootedNode& node) { return node.verdict == Verdict::pass || node.verdict == Verdict::degraded; }

// A node that was told to reboot by a run that this one goes on with, and was not proven since.
bool is_pending(const store::NodeRecord& record) {
  return record.verdict != Verdict::pass && record.verdict != Verdict::degraded && !record.detail.string_or("boot_id_before").empty();
}

class Rounds {
 public:
  Rounds(ProvisionWork& work, const ProvisionOptions& options, Env& env, Recorder& recorder)
      : work_(work), options_(options), env_(env), recorder_(recorder), nodes_(work.session.nodes.size()) {}

  ProvisionResult all() {
    take_over_boots();
    result_ = first_pass();
    for (;;) {
      const auto due = nodes_to_reboot();
      if (due.empty() || env_.cancel.requested()) return std::move(result_);
      reboot(due, {});
      go_on_with_those_back(due);
    }
  }

 private:
  struct Node {
    std::set<std::string> rebooted_for;   // ids of the resources that asked
    std::vector<NodeReboot> reboots;
    bool back = false, over = false;      // over: there is nothing more to do with it
  };

  // Of a run that is gone on with: in which boot a node had stopped, so that what another boot makes is not taken for drift.
  void take_over_boots() {
    if (!options_.resumed) return;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      const auto record = options_.resumed->records.find(name_of(i));
      if (record != options_.resumed->records.end()) expect_boot(work_, i, record->second.detail.string_or("stopped_boot_id"));
    }
  }

  static void expect_boot(ProvisionWork& work, std::size_t i, const std::string& boot_id) {
    if (boot_id.empty() || work.expect.empty() || work.expect[i].is_null()) return;
    json::Object expect = *work.expect[i].as_object();
    work.expect[i] = std::move(expect.set("stopped_boot_id", boot_id));
  }

  ProvisionResult first_pass() {
    const auto pending = pending_reboots();
    if (pending.empty()) return run_pass(work_, Mode::apply, options_, env_, recorder_);
    result_ = nothing_known();
    reboot(pending, options_.resumed);
    std::vector<std::size_t> able;
    for (std::size_t i = 0; i < nodes_.size(); ++i)
      if (!nodes_[i].over) able.push_back(i);
    apply_to(able);
    return std::move(result_);
  }

  std::vector<std::size_t> pending_reboots() const {
    std::vector<std::size_t> pending;
    if (!options_.resumed) return pending;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      const auto record = options_.resumed->reboots.find(name_of(i));
      if (record != options_.resumed->reboots.end() && is_pending(record->second)) pending.push_back(i);
    }
    return pending;
  }

  ProvisionResult nothing_known() const {
    ProvisionResult result;
    result.mode = Mode::apply;
    result.turns = provision::turn_limits(work_.states);
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      fleet::AgentEnd end;
      end.node = name_of(i);
      ProvisionedNode node{node_row(end), end.node, end.outcome, {}, provision::judge(work_.states[i], Mode::apply, {})};
      node.plan.complete = false;
      result.nodes.push_back(std::move(node));
      result.summary.ends.push_back(fleet::NodeEnd{.node = name_of(i)});
    }
    return result;
  }

  // Those that stopped and may be rebooted. Of the others that stopped it is said why not.
  std::vector<std::size_t> nodes_to_reboot() {
    std::vector<std::size_t> due;
    if (!options_.reboot || !result_.summary.stopped_by.empty()) return due;   // a budget that is used up holds for reboots too
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      provision::NodePlan& plan = result_.nodes[i].plan;
      if (nodes_[i].over || result_.nodes[i].outcome != NodeOutcome::ok) continue;
      switch (provision::at_reboot(plan, work_.expect.empty() ? json::Value() : work_.expect[i], nodes_[i].rebooted_for)) {
        case provision::AtReboot::none: break;
        case provision::AtReboot::reboot: due.push_back(i); break;
        case provision::AtReboot::in_vain:
          in_vain(i, std::string(plan.stopped_at), fmt::format("it was rebooted for {}, which asks for it still: {}", one_line(plan.stopped_at, 80), plan.stop_reason));
          break;
        case provision::AtReboot::not_planned:
          nodes_[i].over = true;
          plan.code = to_string(code::reboot_not_planned);
          plan.reason = fmt::format("stopped for a reboot at {}, which the plan does not hold: {}", one_line(plan.stopped_at, 80), plan.stop_reason);
          break;
      }
    }
    return due;
  }

  void in_vain(std::size_t i, const std::string& id, const std::string& reason) {
    nodes_[i].over = true;
    ProvisionedNode& node = result_.nodes[i];
    provision::fail_reboot(node.plan, id, to_string(code::reboot_in_vain), reason);
    fleet::NodeEnd& end = result_.summary.ends[i];
    end.well = false;
    end.code = node.plan.code;
    end.reason = reason;
    end.message = node.name + ": " + reason;
    result_.summary.failures = fleet::summarize_failures(result_.summary.ends);
  }

  void reboot(const std::vector<std::size_t>& due, const std::optional<Resumable>& waited_for) {
    ProvisionWork part = part_of(work_, due);
    RebootOptions options;
    options.site = options_.site;
    options.timeout_s = options_.reboot_timeout_s;
    options.check = false;   // what stands behind the reboot is still to come; the next pass looks at all of it
    if (waited_for) {
      options.resumed = waited_for;
      options.resumed->records = waited_for->reboots;
    }
    RebootResult rebooted = reboot_in_waves(part.session, env_, options, std::vector<provision::DesiredState>(due.size()), part.secrets, recorder_);
    for (std::size_t at = 0; at < due.size(); ++at) take(due[at], std::move(rebooted.nodes[at]), std::move(rebooted.summary.ends[at]));
    result_.summary.stopped_by = std::move(rebooted.summary.stopped_by);
    result_.summary.failures = fleet::summarize_failures(result_.summary.ends);
  }

  void take(std::size_t i, RebootedNode rebooted, fleet::NodeEnd end) {
    Node& node = nodes_[i];
    ProvisionedNode& row = result_.nodes[i];
    const std::string id = row.plan.stopped_at;
    node.rebooted_for.insert(id);
    node.back = is_back(rebooted);
    node.over = !node.back;
    const bool failed = rebooted.verdict == Verdict::fail;
    if (!node.back && !end.started) {   // it was not its turn: it waits as before
      result_.summary.ends[i] = std::move(end);
    } else if (!node.back) {
      row.outcome = rebooted.outcome;
      row.reason = end.reason;
      row.row.set("outcome", to_string(rebooted.outcome)).set("code", rebooted.code.empty() ? json::Value() : json::Value(rebooted.code));
      row.row.set("reason", rebooted.reason.empty() ? json::Value() : json::Value(rebooted.reason));
      if (!rebooted.phase.empty()) row.row.set("phase", rebooted.phase);
      if (failed) provision::fail_reboot(row.plan, id, rebooted.code, rebooted.reason);
      result_.summary.ends[i] = std::move(end);
    }
    node.reboots.push_back({id, std::move(rebooted)});
    row.reboots = node.reboots;
  }

  void go_on_with_those_back(const std::vector<std::size_t>& due) {
    std::vector<std::size_t> back;
    for (const std::size_t i : due)
      if (nodes_[i].back) back.push_back(i);
    apply_to(back);
  }

  // A pass over some of the nodes, of which each goes on from what is known of it.
  void apply_to(const std::vector<std::size_t>& indices) {
    if (indices.empty() || env_.cancel.requested()) return;
    ProvisionWork part = part_of(work_, indices);
    for (std::size_t at = 0; at < indices.size(); ++at) expect_boot(part, at, result_.nodes[indices[at]].plan.stopped_boot_id);
    ProvisionResult later = run_pass(part, Mode::apply, options_, env_, recorder_, [&](std::size_t at, provision::NodePlan plan) {
      const ProvisionedNode& before = result_.nodes[indices[at]];
      return nodes_[indices[at]].back && !before.plan.stopped_at.empty() ? provision::continued(before.plan, std::move(plan)) : plan;
    });
    for (std::size_t at = 0; at < indices.size(); ++at) later.nodes[at].reboots = nodes_[indices[at]].reboots;
    std::vector<std::string> stopped_by = std::move(result_.summary.stopped_by);
    replace(result_, std::move(later));
    stopped_by.insert(stopped_by.end(), result_.summary.stopped_by.begin(), result_.summary.stopped_by.end());
    result_.summary.stopped_by = std::move(stopped_by);
  }

  const std::string& name_of(std::size_t i) const { return work_.session.nodes[i]->name; }

  ProvisionWork& work_;
  const ProvisionOptions& options_;
  Env& env_;
  Recorder& recorder_;
  std::vector<Node> nodes_;
  ProvisionResult result_;
};

}  // namespace

ProvisionResult apply_past_reboots(ProvisionWork& work, const ProvisionOptions& options, Env& env, Recorder& recorder) {
  return Rounds(work, options, env, recorder).all();
}

std::string reboots_text(const ProvisionResult& planned, const ProvisionOptions& options) {
  if (!options.reboot) return {};
  const auto nodes = std::count_if(planned.nodes.begin(), planned.nodes.end(), [](const ProvisionedNode& node) { return !provision::planned_reboots(node.plan).empty(); });
  return nodes == 0 ? std::string() : fmt::format(", and reboots {} on the way; what runs there ends", plural(nodes, "node"));
}

}  // namespace kfab::commands

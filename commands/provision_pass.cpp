#include "commands/provision_pass.hpp"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "base/text.hpp"
#include "json/redact.hpp"
#include "provision/undo_plan.hpp"

namespace kfab::commands {
namespace {

constexpr std::size_t most_at_once = 32;   // nodes that are provisioned without a canary

using provision::Mode;

ProvisionedNode judged(const provision::DesiredState& desired, Mode mode, const AgentRun& run) {
  ProvisionedNode node{node_row(run.end), run.end.node, run.end.outcome, {}, provision::judge(desired, mode, run.messages)};
  node.reason = run.reason;
  // The session's own end is part of the answer: a node whose agent was cut off has no verdict, whatever it said before.
  node.plan.complete = run.end.outcome == NodeOutcome::ok;
  if (!node.plan.complete && node.plan.verdict != Verdict::fail) {
    node.plan.verdict = Verdict::not_judged;
    node.plan.reason = node.reason;
  }
  return node;
}

store::NodeRecord provision_record(const Env& env, const fleet::AgentEnd& end, const ProvisionedNode& node, const provision::DesiredState& state) {
  store::NodeRecord record = step_record(env, end, "provision");
  record.verdict = node.plan.verdict;
  record.reason = one_line(node.plan.reason, 400);
  json::Object detail = *provision::to_json(node.plan).as_object();
  detail.set("declared_sha256", provision::declared_sha256(state));   // readiness reads no secrets
  record.detail = std::move(detail);
  return record;
}

void summarize_again(FleetSummary& summary) { summary.failures = fleet::summarize_failures(summary.ends); }

}  // namespace

ReachOptions paced(ReachOptions reach, bool apply, std::size_t nodes) {
  if (apply && nodes > most_at_once && !reach.pace.canary && !reach.pace.in_batches()) reach.pace.canary = 1;
  return reach;
}

ProvisionWork part_of(const ProvisionWork& work, const std::vector<std::size_t>& indices) {
  ProvisionWork part{work.session, {}, {}, {}, work.secrets};
  part.session.nodes.clear();
  part.session.targets.clear();
  part.session.sudo.clear();
  for (const std::size_t i : indices) {
    part.session.nodes.push_back(work.session.nodes[i]);
    part.session.targets.push_back(work.session.targets[i]);
    part.session.sudo.push_back(work.session.sudo[i]);
    part.states.push_back(work.states[i]);
    if (!work.expect.empty()) part.expect.push_back(work.expect[i]);
  }
  return part;
}

ProvisionResult run_pass(ProvisionWork& work, Mode mode, const ProvisionOptions& options, Env& env, Recorder& recorder, const SeenWhole& seen_whole) {
  const bool apply = mode == Mode::apply;
  ProvisionResult result;
  result.mode = mode;
  result.turns = provision::turn_limits(work.states);
  result.nodes.resize(work.session.nodes.size());
  const auto request_of = [&](std::size_t index) {
    json::Object request = provision::agent_request(work.states[index], mode, work.secrets);
    request.set("task", "provision").set("run_id", env.run_id).set("owner", provision::owner_of(work.session.site->metadata.name, work.session.nodes[index]->name));
    if (apply && !work.expect.empty()) request.set("expect", work.expect[index]);
    return fleet::AgentTask{std::move(request), work.session.sudo[index], std::chrono::seconds(std::max(1LL, static_cast<long long>(options.timeout_s))),
                            work.session.password.get()};
  };
  const ReachOptions reach = paced(options.site.reach, apply, work.session.nodes.size());
  result.summary = run_agents(work.session, env, reach, apply ? "provisioning" : "planning", request_of, [&](AgentRun run) {
    // Before anything is cut: half a secret would not be found.
    if (!env.redactor->empty())
      for (auto& message : run.messages) message = json::redacted(message, *env.redactor);
    ProvisionedNode node = judged(work.states[run.index], mode, run);
    if (seen_whole) node.plan = seen_whole(run.index, std::move(node.plan));
    // A plan that was cut off says nothing; an apply that was may have left the node half way, and that must be known.
    if (!was_cancelled(run.end)) recorder.put({{reach_record(env, run.end), provision_record(env, run.end, node, work.states[run.index])}, {}, {}});
    else if (apply && reached(run.end)) {
      auto half_way = provision_record(env, run.end, node, work.states[run.index]);
      half_way.outcome = NodeOutcome::failed;   // it did answer
      recorder.put({{std::move(half_way)}, {}, {}});
    }
    NodeJudged verdict{node.plan.verdict != Verdict::fail, node.plan.code, node.plan.reason};
    result.nodes[run.index] = std::move(node);
    return verdict;
  }, result.turns);
  return result;
}

ProvisionedNode left_out_node(const std::string& node, Diagnostic why) {
  fleet::AgentEnd end;
  end.node = node;
  end.why = std::move(why);
  ProvisionedNode out{node_row(end), node, end.outcome, end.why->message, {}};
  out.plan.node = node;
  out.plan.mode = Mode::apply;
  out.plan.reason = end.why->message;
  out.plan.code = to_string(end.why->code);
  return out;
}

void replace(ProvisionResult& whole, ProvisionResult later) {
  std::map<std::string, std::size_t> place;
  for (std::size_t i = 0; i < whole.nodes.size(); ++i) place.emplace(whole.nodes[i].name, i);
  for (std::size_t i = 0; i < later.nodes.size(); ++i) {
    const std::size_t at = place.at(later.nodes[i].name);
    whole.summary.ends[at] = std::move(later.summary.ends[i]);
    whole.nodes[at] = std::move(later.nodes[i]);
  }
  whole.mode = later.mode;
  whole.summary.stopped_by = std::move(later.summary.stopped_by);
  whole.summary.cost = later.summary.cost;
  if (whole.summary.cost) whole.summary.cost->nodes = whole.nodes.size();
  summarize_again(whole.summary);
}

void append(ProvisionResult& whole, std::vector<ProvisionedNode> left_out) {
  for (auto& node : left_out) {
    fleet::NodeEnd end{.node = node.name};
    end.code = node.plan.code;
    end.message = node.name + ": " + node.reason;
    end.reason = node.reason;
    whole.summary.ends.push_back(std::move(end));
    whole.nodes.push_back(std::move(node));
  }
  summarize_again(whole.summary);
}

void count(ProvisionResult& result) {
  result.counts = {};
  result.changes = 0;
  for (const auto& node : result.nodes) {
    result.counts.add(node.outcome);
    result.changes += node.plan.would_change + node.plan.changed;
  }
}

CommandOutput conclude(ProvisionResult result, CommandOutput output, const ProvisionOptions& options, const Env& env) {
  bool incomplete = false, no = false;
  count(result);
  for (const auto& node : result.nodes) {
    if (node.plan.verdict == Verdict::fail) no = true;
    else if (node.outcome != NodeOutcome::ok || node.plan.not_reported > 0 || node.plan.cancelled > 0 || node.plan.waiting > 0) incomplete = true;
  }
  if (options.exit_code && result.changes > 0) no = true;
  if (result.manifest.empty()) result.manifest = options.site.manifest;
  result.selection = as_typed(options.site.selection);
  result.run_id = env.run_id;
  add_unanswered(output, result.summary);
  add_to(output, result.summary);
  output.outcome = overall(env, incomplete, no);
  output.signal = env.cancel.signal();
  output.data = to_json(result);
  output.render = [result = std::move(result)](term::Writer& out) { render(result, out); };
  return output;
}

}  // namespace kfab::commands

#include "commands/provision.hpp"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "base/codes/cli.hpp"
#include "base/text.hpp"
#include "commands/recorder.hpp"
#include "fleet/fold.hpp"
#include "nodeset/nodeset.hpp"
#include "provision/desired_state.hpp"

namespace kfab::commands {
namespace {

constexpr std::size_t most_at_once = 32;   // nodes that are provisioned without a canary

using provision::Mode;
using provision::ResourceStatus;

// The desired state of every node of the session, and everything that is wrong with them.
struct DesiredStates {
  std::vector<provision::DesiredState> states;
  Diagnostics diagnostics;
};

DesiredStates desired_states(const SiteSession& session) {
  DesiredStates out;
  for (const manifest::Node* node : session.nodes) {
    auto desired = provision::desired_state(*session.site, *node);
    // A mistake in a role is the same on every node; one telling is enough.
    for (auto& why : desired.diagnostics)
      if (out.diagnostics.size() < 20 && std::none_of(out.diagnostics.begin(), out.diagnostics.end(), [&](const Diagnostic& told) {
            return told.code == why.code && told.message == why.message && told.path == why.path;
          }))
        out.diagnostics.push_back(std::move(why));
    out.states.push_back(desired.state ? std::move(*desired.state) : provision::DesiredState{});
  }
  return out;
}

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

store::NodeRecord provision_record(const Env& env, const fleet::AgentEnd& end, const ProvisionedNode& node) {
  store::NodeRecord record = step_record(env, end, "provision");
  record.verdict = node.plan.verdict;
  record.reason = one_line(node.plan.reason, 400);
  record.detail = provision::to_json(node.plan);
  return record;
}

std::string_view sign_of(ResourceStatus status) {
  switch (status) {
    case ResourceStatus::would_change:
    case ResourceStatus::changed: return "~";
    case ResourceStatus::failed: return "!";
    case ResourceStatus::in_sync: return "=";
    default: return "-";
  }
}

term::Style style_of_status(ResourceStatus status) {
  switch (status) {
    case ResourceStatus::in_sync: return term::Style::good;
    case ResourceStatus::would_change:
    case ResourceStatus::changed: return term::Style::accent;
    case ResourceStatus::failed: return term::Style::bad;
    default: return term::Style::warning;
  }
}

std::string words(ResourceStatus status) {
  std::string text(to_string(status));
  std::replace(text.begin(), text.end(), '_', ' ');
  return text;
}

std::string headline(const ProvisionedNode& node) {
  const auto& plan = node.plan;
  if (node.outcome != NodeOutcome::ok) return fmt::format("{}, {}", to_string(node.outcome), one_line(node.reason));
  std::vector<std::string> parts;
  const auto add = [&](int count, std::string_view what) { if (count > 0) parts.push_back(fmt::format("{} {}", count, what)); };
  add(plan.would_change, "would change");
  add(plan.changed, "changed");
  add(plan.failed, "failed");
  add(plan.skipped, "skipped");
  add(plan.cancelled, "cancelled");
  add(plan.not_reported, "not reported");
  add(plan.in_sync, "in sync");
  return parts.empty() ? "no resources" : join(parts, ", ");
}

void render_resource(const provision::ResourceRecord& resource, term::Writer& out) {
  if (resource.status == ResourceStatus::in_sync) return;
  const auto style = style_of_status(resource.status);
  out.text("  ").text(style, fmt::format("{} {}", sign_of(resource.status), resource.id));
  out.text(term::Style::faint, "  " + words(resource.status)).line();
  if (!resource.message.empty())
    out.line(style, fmt::format("      {}{}", resource.code.empty() ? "" : resource.code + ": ", one_line(resource.message, 400)));
  if (!resource.diff.empty()) {
    for (const auto line : split_lines(resource.diff)) {
      const auto colour = line.starts_with('+') ? term::Style::good : line.starts_with('-') ? term::Style::bad : term::Style::faint;
      out.line(colour, "      " + std::string(line));
    }
    return;
  }
  for (const auto& change : resource.changes)
    out.line(fmt::format("      {}: {} -> {}", one_line(change.what), change.before.empty() ? "(none)" : one_line(change.before),
                         change.after.empty() ? "(none)" : one_line(change.after)));
}

// What two nodes must have in common to be shown as one: all but names, times and durations.
std::string fold_key(const ProvisionedNode& node) {
  std::string key = fmt::format("{}\1{}", to_string(node.outcome), headline(node));
  for (const auto& resource : node.plan.resources) {
    key += fmt::format("\2{}\1{}\1{}\1{}", resource.id, to_string(resource.status), resource.message, resource.diff);
    for (const auto& change : resource.changes) key += fmt::format("\3{}\1{}\1{}", change.what, change.before, change.after);
  }
  return key;
}

// The last line, which is what people read: it must not sound done where it was not.
std::string summary(const ProvisionResult& result) {
  const auto all = static_cast<long long>(result.nodes.size());
  long long failed = 0;
  for (const auto& node : result.nodes) failed += node.plan.failed + node.plan.skipped;
  const long long unknown = all - std::count_if(result.nodes.begin(), result.nodes.end(), [](const auto& node) {
                              return node.plan.complete && node.plan.not_reported == 0 && node.plan.cancelled == 0;
                            });
  std::string text = result.mode == Mode::plan ? "Plan: " : unknown + failed > 0 ? "Not done: " : "Done: ";
  text += fmt::format("{} on {}", plural(result.changes, "change"), plural(all, "node"));
  if (failed > 0) text += fmt::format("; {} failed or skipped", plural(failed, "resource"));
  if (unknown > 0) text += fmt::format("; of {} nothing, or not all, is known", plural(unknown, "node"));
  return text + (result.mode == Mode::plan ? ". Nothing was changed." : ".");
}

// What changes nodes goes to one of them first, then to twice as many each time, unless the operator says how.
ReachOptions paced(ReachOptions reach, bool apply, std::size_t nodes) {
  if (apply && nodes > most_at_once && !reach.pace.canary && !reach.pace.in_batches()) reach.pace.canary = 1;
  return reach;
}

}  // namespace

json::Value to_json(const ProvisionResult& result) {
  json::Array nodes;
  for (const auto& node : result.nodes) {
    json::Object row = node.row;
    const json::Value plan = provision::to_json(node.plan);
    for (const auto& [key, value] : plan.as_object()->members())
      if (key != "node" && key != "code" && key != "reason") row.set(key, value);
    if (row.find("reason")->is_null() && !node.plan.reason.empty()) row.set("reason", node.plan.reason);
    if (row.find("code")->is_null() && !node.plan.code.empty()) row.set("code", node.plan.code);
    nodes.emplace_back(std::move(row));
  }
  json::Object data{{"mode", result.mode == Mode::plan ? "plan" : "apply"}, {"changes", result.changes}, {"counts", result.counts.to_json()}};
  add_to(data, result.summary);
  return data.set("nodes", std::move(nodes));
}

void render(const ProvisionResult& result, term::Writer& out) {
  std::vector<std::pair<std::string, std::string>> keyed;
  std::map<std::string, const ProvisionedNode*> sample;
  for (const auto& node : result.nodes) {
    keyed.emplace_back(node.name, fold_key(node));
    sample.emplace(keyed.back().second, &node);
  }
  for (const auto& group : fleet::fold(keyed)) {
    const ProvisionedNode& node = *sample.at(group.text);
    out.text(term::Style::strong, nodeset::fold_names(group.nodes));
    if (group.nodes.size() > 1) out.text(term::Style::faint, fmt::format(" ({}, all the same)", plural(static_cast<long long>(group.nodes.size()), "node")));
    out.text(": ").line(headline(node));
    for (const auto& resource : node.plan.resources) render_resource(resource, out);
  }
  render(result.summary, out);
  out.line(summary(result));
}

CommandOutput run_provision(const ProvisionOptions& options, Env& env) {
  auto opened = open_site(options.site, env);
  if (auto* stopped = std::get_if<CommandOutput>(&opened)) return std::move(*stopped);
  auto& session = std::get<SiteSession>(opened);
  auto desired = desired_states(session);
  if (has_errors(desired.diagnostics)) {
    CommandOutput output = not_started(std::move(desired.diagnostics), session.loaded->sources);
    output.site = session.ref();
    return output;
  }
  const bool apply = options.mode == Mode::apply;
  if (apply) {
    auto agreed = env.confirm(fmt::format("Bring {} of {} into the declared state?",
                                          plural(static_cast<long long>(session.nodes.size()), "node"), session.site->metadata.name));
    if (!agreed) return not_started(std::move(agreed).error());
    if (!*agreed) return not_started(error(code::confirmation_missing, "not confirmed; nothing was changed"));
  }
  auto recorder = Recorder::begin(env, apply ? "provision" : "plan", session.ref());
  if (!recorder) return not_started(std::move(recorder).error());

  ProvisionResult result;
  result.mode = options.mode;
  result.nodes.resize(session.nodes.size());
  const auto request_of = [&](std::size_t index) {
    json::Object request = provision::agent_request(desired.states[index], options.mode);
    request.set("task", "provision").set("run_id", env.run_id);
    return fleet::AgentTask{std::move(request), session.sudo[index], std::chrono::seconds(std::max(1LL, static_cast<long long>(options.timeout_s))), session.password.get()};
  };
  const ReachOptions reach = paced(options.site.reach, apply, session.nodes.size());
  result.summary = run_agents(session, env, reach, apply ? "provisioning" : "planning", request_of, [&](AgentRun run) {
    ProvisionedNode node = judged(desired.states[run.index], options.mode, run);
    // A plan that was cut off says nothing; an apply that was may have left the node half way, and that must be known.
    if (!was_cancelled(run.end)) (*recorder)->put({{reach_record(env, run.end), provision_record(env, run.end, node)}, {}, {}});
    else if (apply && reached(run.end)) {
      auto half_way = provision_record(env, run.end, node);
      half_way.outcome = NodeOutcome::failed;   // it did answer
      (*recorder)->put({{std::move(half_way)}, {}, {}});
    }
    NodeJudged verdict{node.plan.verdict != Verdict::fail, node.plan.code, node.plan.reason};
    result.nodes[run.index] = std::move(node);
    return verdict;
  });

  CommandOutput output = session.output();
  output.diagnostics.insert(output.diagnostics.end(), desired.diagnostics.begin(), desired.diagnostics.end());
  bool incomplete = false, no = false;
  for (const auto& node : result.nodes) {
    result.counts.add(node.outcome);
    result.changes += node.plan.would_change + node.plan.changed;
    if (node.plan.verdict == Verdict::fail) no = true;
    else if (node.outcome != NodeOutcome::ok || node.plan.not_reported > 0 || node.plan.cancelled > 0) incomplete = true;
  }
  if (options.exit_code && result.changes > 0) no = true;
  add_to(output, result.summary);
  output.outcome = overall(env, incomplete, no);
  output.signal = env.cancel.signal();
  output.data = to_json(result);
  output.render = [result = std::move(result)](term::Writer& out) { render(result, out); };
  (*recorder)->finish(output);
  return output;
}

}  // namespace kfab::commands

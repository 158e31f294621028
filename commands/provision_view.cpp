#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "base/codes/agent.hpp"
#include "base/codes/plan.hpp"
#include "base/codes/reboot.hpp"
#include "base/text.hpp"
#include "commands/provision.hpp"
#include "fleet/fold.hpp"
#include "nodeset/nodeset.hpp"
#include "provision/undo_plan.hpp"

// What planning and provisioning came to, as JSON and for people.
namespace kfab::commands {
namespace {

using provision::Mode;
using provision::ResourceStatus;

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

// A node that the run's own stop cut off was not out of reach.
std::string ended_as(const ProvisionedNode& node) {
  const auto code = parse_code(json::Value(node.row).string_or("code"));
  const bool stopped = node.outcome == NodeOutcome::unreachable && (code == code::fleet_cancelled || code == code::agent_cancelled);
  const std::string_view word = stopped ? to_string(Outcome::cancelled) : to_string(node.outcome);
  return node.reason == word ? std::string(word) : fmt::format("{}, {}", word, one_line(node.reason));
}

// Nothing was begun on it, and that is all there is to know.
bool was_refused(const ProvisionedNode& node) {
  const auto code = parse_code(node.plan.code);
  return code == code::node_drifted || code == code::plan_other_machine;
}

std::string headline(const ProvisionedNode& node, bool undo) {
  const auto& plan = node.plan;
  if (node.outcome != NodeOutcome::ok) return ended_as(node);
  std::vector<std::string> parts;
  const auto add = [&](int count, std::string_view what) { if (count > 0) parts.push_back(fmt::format("{} {}", count, what)); };
  add(plan.would_change, "would change");
  add(plan.changed, "changed");
  add(plan.failed, "failed");
  add(plan.skipped, "skipped");
  add(plan.cancelled, "cancelled");
  add(plan.waiting, "waiting for a reboot");
  add(plan.not_reported, "not reported");
  add(plan.in_sync, "in sync");
  const auto proven = std::count_if(node.reboots.begin(), node.reboots.end(), [](const NodeReboot& one) { return one.result.back_after_s.has_value(); });
  if (proven > 0) parts.push_back(proven == 1 ? "rebooted" : fmt::format("rebooted {} times", proven));
  if (plan.reboot_required && plan.stopped_at.empty()) parts.emplace_back("reboot needed");
  return parts.empty() ? undo ? "nothing to undo" : "no resources" : join(parts, ", ");
}

// What a diff shows by itself; modes, owners and what runs stand beside it.
bool told_by_diff(std::string_view what) {
  static constexpr std::array shown{std::string_view("content"), std::string_view("line"), std::string_view("key"), std::string_view("file")};
  return std::find(shown.begin(), shown.end(), what) != shown.end();
}

void render_resource(const provision::ResourceRecord& resource, term::Writer& out) {
  if (resource.status == ResourceStatus::in_sync && resource.reboot_reason.empty()) return;
  if (resource.status == ResourceStatus::waiting && resource.type != "reboot") return;   // the reboot's line has their number
  const auto style = style_of_status(resource.status);
  out.text("  ").text(style, fmt::format("{} {}", sign_of(resource.status), resource.id));
  out.text(term::Style::faint, "  " + words(resource.status)).line();
  if (!resource.message.empty())
    out.line(style, fmt::format("      {}{}", resource.code.empty() ? "" : resource.code + ": ", one_line(resource.message, 400)));
  if (!resource.reboot_reason.empty() && resource.type != "reboot")
    out.line(term::Style::warning, "      reboot needed: " + one_line(resource.reboot_reason, 200));
  if (!resource.diff.empty()) {
    for (const auto line : split_lines(resource.diff)) {
      const auto colour = line.starts_with('+') ? term::Style::good : line.starts_with('-') ? term::Style::bad : term::Style::faint;
      out.line(colour, "      " + std::string(line));
    }
  }
  for (const auto& change : resource.changes) {
    if (!resource.diff.empty() && told_by_diff(change.what)) continue;
    out.line(fmt::format("      {}: {} -> {}", one_line(change.what), change.before.empty() ? "(none)" : one_line(change.before),
                         change.after.empty() ? "(none)" : one_line(change.after)));
  }
}

// Why a node is not well, where none of its resources tells it.
std::string reason_of_node(const ProvisionedNode& node) {
  const auto& plan = node.plan;
  const bool undone = plan.verdict == Verdict::fail && plan.failed == 0 && plan.skipped == 0;
  const bool not_gone_on = !plan.stopped_at.empty() && plan.code == to_string(code::reboot_not_planned);
  if (node.outcome != NodeOutcome::ok || !(undone || not_gone_on) || plan.reason.empty()) return {};
  return fmt::format("{}{}", plan.code.empty() ? "" : plan.code + ": ", one_line(plan.reason, 400));
}

// What the reboots of a node left to be looked at, where they were done and proven all the same.
std::vector<std::string> reboot_notes(const ProvisionedNode& node) {
  std::vector<std::string> notes;
  for (const auto& reboot : node.reboots) {
    if (reboot.result.verdict != Verdict::degraded) continue;
    const std::string start = node.name + ": ";
    const std::string& reason = reboot.result.reason;
    notes.push_back(fmt::format("{}: after the reboot units of the node have {}", reboot.result.code, one_line(reason.starts_with(start) ? reason.substr(start.size()) : reason, 300)));
  }
  return notes;
}

// What two nodes must have in common to be shown as one: all but names, times and durations.
std::string fold_key(const ProvisionedNode& node, bool undo) {
  std::string key = fmt::format("{}\1{}\1{}\1{}", to_string(node.outcome), headline(node, undo), node.plan.reboot_reason, reason_of_node(node));
  for (const auto& note : reboot_notes(node)) key += "\4" + note;
  for (const auto& resource : node.plan.resources) {
    key += fmt::format("\2{}\1{}\1{}\1{}", resource.id, to_string(resource.status), resource.message, resource.diff) + resource.reboot_reason;
    for (const auto& change : resource.changes) key += fmt::format("\3{}\1{}\1{}", change.what, change.before, change.after);
  }
  return key;
}

// The last line, which is what people read: it must not sound done where it was not.
std::string summary(const ProvisionResult& result) {
  const auto all = static_cast<long long>(result.nodes.size());
  long long failed = 0;
  for (const auto& node : result.nodes) failed += node.plan.failed + node.plan.skipped;
  long long impossible = 0;
  if (!result.undone_roles.empty())
    for (const auto& node : result.nodes) impossible += provision::impossible(node.plan);
  failed -= impossible;
  const long long unknown = all - std::count_if(result.nodes.begin(), result.nodes.end(), [](const auto& node) {
                              return was_refused(node) || (node.plan.complete && node.plan.not_reported == 0 && node.plan.cancelled == 0);
                            });
  const auto not_gone_on = std::count_if(result.nodes.begin(), result.nodes.end(), [](const auto& node) { return node.plan.waiting > 0 || node.plan.verdict == Verdict::fail; });
  std::string text = result.mode == Mode::plan ? "Plan: " : unknown + failed + not_gone_on > 0 ? "Not done: " : "Done: ";
  text += fmt::format("{} on {}", plural(result.changes, "change"), plural(all, "node"));
  if (failed > 0) text += fmt::format("; {} failed or skipped", plural(failed, "resource"));
  if (impossible > 0) text += fmt::format("; {} cannot be undone", plural(impossible, "resource"));
  if (const auto refused = std::count_if(result.nodes.begin(), result.nodes.end(), was_refused); refused > 0)
    text += fmt::format("; {} refused, as {} not as when the plan was made", plural(refused, "node"), refused == 1 ? "it is" : "they are");
  if (unknown > 0) text += fmt::format("; of {} nothing, or not all, is known", plural(unknown, "node"));
  const auto waiting = std::count_if(result.nodes.begin(), result.nodes.end(), [](const auto& node) { return !node.plan.stopped_at.empty(); });
  if (waiting > 0) text += fmt::format("; {} for a reboot", waiting == 1 ? "1 node waits" : fmt::format("{} nodes wait", waiting));
  return text + (result.mode == Mode::plan ? ". Nothing was changed." : ".");
}

// "128 nodes: reboot before nvidia-driver (another kernel runs)", once for all nodes that would do the same.
void render_planned_reboots(const ProvisionResult& result, term::Writer& out) {
  std::vector<std::pair<std::string, long long>> lines;
  for (const auto& node : result.nodes)
    for (const auto& reboot : provision::planned_reboots(node.plan)) {
      const std::string what = fmt::format("reboot {} ({})", reboot.before.empty() ? "at the end, by " + one_line(reboot.resource, 80) : "before " + one_line(reboot.before, 80), one_line(reboot.reason, 200));
      const auto same = std::find_if(lines.begin(), lines.end(), [&](const auto& line) { return line.first == what; });
      if (same == lines.end()) lines.emplace_back(what, 1);
      else ++same->second;
    }
  for (const auto& [what, nodes] : lines) out.line(term::Style::warning, fmt::format("{}: {}", plural(nodes, "node"), what));
  if (!lines.empty()) out.line("Reboots are done only with --reboot; without it nodes stop there, and the rest waits.");
}

// What to type next, where nodes stopped for a reboot or say that one is due.
void render_next(const ProvisionResult& result, term::Writer& out) {
  std::vector<std::string> stopped, due;
  for (const auto& node : result.nodes)
    if (!node.plan.stopped_at.empty()) stopped.push_back(node.name);
    else if (node.plan.reboot_required) due.push_back(node.name);
  const auto of = [&](const std::vector<std::string>& nodes) { return manifest_and_nodes(result.manifest, nodes, result.selection); };
  if (!stopped.empty())
    out.line(term::Style::warning, fmt::format("{} wait{} for a reboot before the rest is applied: kfab reboot {} --needed, then kfab resume {}; or both by kfab resume {} --reboot",
                                               nodeset::fold_names(stopped), stopped.size() == 1 ? "s" : "", of(stopped), result.run_id, result.run_id));
  if (!due.empty()) out.line(term::Style::warning, fmt::format("A reboot is due on {}: kfab reboot {} --needed", nodeset::fold_names(due), of(due)));
}

json::Value reboots_json(const std::vector<NodeReboot>& reboots) {
  const auto or_null = [](const std::string& text) { return text.empty() ? json::Value() : json::Value(text); };
  json::Array list;
  for (const auto& [resource, one] : reboots)
    list.emplace_back(json::Object{{"resource", or_null(resource)}, {"verdict", to_string(one.verdict)}, {"code", or_null(one.code)}, {"reason", or_null(one.reason)},
                                   {"boot_id_before", one.before ? or_null(one.before->boot_id) : json::Value()},
                                   {"boot_id_after", one.after ? or_null(one.after->boot_id) : json::Value()}, {"back_after_s", json::Value(one.back_after_s)}});
  return list;
}

}  // namespace

std::string folded_changes(const ProvisionResult& result) {
  std::map<std::string, int> sets;   // of changes, and how many there are in one
  long long nodes = 0, changes = 0;
  for (const auto& node : result.nodes) {
    if (node.plan.would_change == 0) continue;
    ++nodes;
    changes += node.plan.would_change;
    sets.emplace(fold_key(node, !result.undone_roles.empty()), node.plan.would_change);
  }
  const std::string of = plural(nodes, "node") + ": ";
  if (nodes == 0) return "no changes";
  if (sets.size() == 1) return of + (nodes > 1 ? "the same " : "") + plural(sets.begin()->second, "change");
  return of + fmt::format("{}, of {} kinds", plural(changes, "change"), sets.size());
}

json::Value to_json(const ProvisionResult& result) {
  json::Array nodes;
  for (const auto& node : result.nodes) {
    json::Object row = node.row;
    const json::Value plan = provision::to_json(node.plan);
    for (const auto& [key, value] : plan.as_object()->members())
      if (key != "node" && key != "code" && key != "reason") row.set(key, value);
    if (row.find("reason")->is_null() && !node.plan.reason.empty()) row.set("reason", node.plan.reason);
    if (row.find("code")->is_null() && !node.plan.code.empty()) row.set("code", node.plan.code);
    row.set("reboots", reboots_json(node.reboots));
    nodes.emplace_back(std::move(row));
  }
  json::Object data{{"mode", result.mode == Mode::plan ? "plan" : "apply"}, {"changes", result.changes}, {"counts", result.counts.to_json()}};
  add_to(data, result.summary);
  if (!result.undone_roles.empty()) {
    json::Array roles;
    for (const auto& role : result.undone_roles) roles.emplace_back(role);
    return data.set("roles", std::move(roles)).set("nodes", std::move(nodes));
  }
  json::Array turns;
  for (const auto& [name, limit] : result.turns) turns.emplace_back(json::Object{{"name", name}, {"limit", limit}});
  return data.set("turns", std::move(turns)).set("nodes", std::move(nodes));
}

void render(const ProvisionResult& result, term::Writer& out) {
  const bool undo = !result.undone_roles.empty();
  std::vector<std::pair<std::string, std::string>> keyed;
  std::map<std::string, const ProvisionedNode*> sample;
  for (const auto& node : result.nodes) {
    keyed.emplace_back(node.name, fold_key(node, undo));
    sample.emplace(keyed.back().second, &node);
  }
  for (const auto& group : fleet::fold(keyed)) {
    const ProvisionedNode& node = *sample.at(group.text);
    out.text(term::Style::strong, nodeset::fold_names(group.nodes));
    if (group.nodes.size() > 1) out.text(term::Style::faint, fmt::format(" ({}, all the same)", plural(static_cast<long long>(group.nodes.size()), "node")));
    out.text(": ").line(headline(node, undo));
    if (const std::string reason = reason_of_node(node); !reason.empty()) out.line(term::Style::bad, "  " + reason);
    for (const auto& note : reboot_notes(node)) out.line(term::Style::warning, "  " + note);
    const bool resource_asks = std::any_of(node.plan.resources.begin(), node.plan.resources.end(), [](const auto& one) { return !one.reboot_reason.empty(); });
    if (node.plan.reboot_required && !resource_asks) out.line(term::Style::warning, "  reboot needed: " + one_line(node.plan.reboot_reason, 200));
    for (const auto& resource : node.plan.resources) render_resource(resource, out);
  }
  render_next(result, out);
  render(result.summary, out);
  out.line(summary(result));
  if (result.mode == Mode::plan && result.changes > 0) {
    out.line(folded_changes(result) + ".");
    render_planned_reboots(result, out);
    for (const auto& [name, limit] : result.turns)
      out.line(fmt::format("{} is applied on {} at a time.", one_line(name, 80), plural(static_cast<long long>(limit), "node")));
  }
  if (!result.saved.empty()) out.line(fmt::format("Saved to {}; `kfab provision {}` applies exactly this.", one_line(result.saved, 200), one_line(result.saved, 200)));
}

}  // namespace kfab::commands

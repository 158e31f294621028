#include "commands/reboot.hpp"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "base/text.hpp"
#include "fleet/fold.hpp"
#include "json/shorthand.hpp"
#include "nodeset/nodeset.hpp"
#include "term/table.hpp"

// What rebooting came to, as JSON and for people.
namespace kfab::commands {
namespace {

json::Value check_json(const RebootedNode& node) {
  const auto& check = node.check;
  if (!check) return {};
  json::Array wrong;
  for (const auto& resource : check->resources)
    if (resource.status != provision::ResourceStatus::in_sync)
      wrong.emplace_back(json::Object{{"id", resource.id}, {"status", to_string(resource.status)}, {"message", json::text_or_null(resource.message)}});
  return json::Object{{"complete", check->complete}, {"changes", check->would_change}, {"failed", check->failed + check->skipped}, {"to_apply", node.to_apply}, {"resources", std::move(wrong)}};
}

std::string check_words(const RebootedNode& node) {
  if (!node.back_after_s) return "-";
  if (!node.check) return "nothing declared";
  if (!node.check->complete) return "not complete";
  const int wrong = node.check->would_change + node.check->failed + node.check->skipped - node.to_apply;
  if (wrong == 0 && node.to_apply > 0) return fmt::format("{} to apply", node.to_apply);
  return wrong == 0 ? "0 changes" : fmt::format("{} differ", wrong);
}

// What to type next, for nodes that are back and of which not all is applied yet.
void render_next(const RebootResult& result, term::Writer& out) {
  std::map<std::string, std::vector<std::string>> by_run;
  for (const auto& node : result.nodes) {
    if (node.to_apply == 0 || (node.verdict != Verdict::pass && node.verdict != Verdict::degraded)) continue;
    const auto run = result.next.find(node.name);
    by_run[run == result.next.end() ? std::string() : run->second].push_back(node.name);
  }
  for (const auto& [run, nodes] : by_run) {
    const std::string command = run.empty() ? "kfab provision " + manifest_and_nodes(result.manifest, nodes, result.selection) : "kfab resume " + run;
    out.line(term::Style::warning, fmt::format("{} {} not all applied yet: {}", nodeset::fold_names(nodes), nodes.size() == 1 ? "has" : "have", command));
  }
}

}  // namespace

json::Value to_json(const RebootResult& result) {
  std::map<Verdict, int> counts;
  json::Array nodes;
  for (const auto& node : result.nodes) {
    ++counts[node.verdict];
    json::Object row{{"node", node.name}, {"verdict", to_string(node.verdict)}, {"outcome", to_string(node.outcome)}};
    row.set("phase", json::text_or_null(node.phase)).set("code", json::text_or_null(node.code)).set("reason", json::text_or_null(node.reason)).set("ordered", node.ordered);
    row.set("boot_id_before", node.before ? json::text_or_null(node.before->boot_id) : json::Value());
    row.set("boot_id_after", node.after ? json::text_or_null(node.after->boot_id) : json::Value());
    row.set("back_after_s", node.back_after_s);
    // The transport lets nobody in whose host key is not the known one, so who answered had it.
    row.set("proofs", json::Object{{"boot_id_changed", node.proof.boot_id_changed}, {"started_after_order", node.proof.started_after_order},
                                   {"same_machine", node.proof.same_machine}, {"same_host_key", node.after.has_value()}});
    row.set("system_state", node.after ? json::text_or_null(node.after->state) : json::Value());
    json::Array units;
    if (node.after)
      for (const auto& unit : node.after->failed_units) units.emplace_back(unit);
    row.set("failed_units", std::move(units)).set("check", check_json(node));
    nodes.emplace_back(std::move(row));
  }
  json::Object data{{"counts", json::Object{{"pass", counts[Verdict::pass]}, {"degraded", counts[Verdict::degraded]}, {"fail", counts[Verdict::fail]},
                                            {"not_judged", counts[Verdict::not_judged]}}}};
  add_to(data, result.summary);
  return data.set("not_needed", result.not_needed).set("nodes", std::move(nodes));
}

void render(const RebootResult& result, term::Writer& out) {
  if (result.not_needed > 0) out.line(fmt::format("Of {} no reboot is due.", plural(static_cast<long long>(result.not_needed), "node")));
  if (result.nodes.empty()) return;
  std::vector<std::pair<std::string, std::string>> keyed;
  std::map<std::string, std::vector<const RebootedNode*>> groups;
  for (const auto& node : result.nodes) {
    std::string reason = node.reason.starts_with(node.name + ": ") ? node.reason.substr(node.name.size() + 2) : node.reason;
    if (!reason.empty()) reason = node.code + " " + reason;
    std::string key = fmt::format("{}\1{}\1{}\1{}", to_string(node.verdict), node.after ? node.after->state : "-", check_words(node), reason);
    groups[key].push_back(&node);
    keyed.emplace_back(node.name, std::move(key));
  }
  term::Table table({{result.nodes.size() > 1 ? "Nodes" : "Node"}, {"Verdict"}, {"Back after s", term::Align::right}, {"System"}, {"Check"}, {"Why", term::Align::left, true}});
  for (const auto& group : fleet::fold(keyed)) {
    const auto& same = groups.at(group.text);
    const auto parts = split(group.text, '\1');
    double least = 0, most = 0;
    for (const RebootedNode* node : same) {
      const double s = node->back_after_s.value_or(0);
      least = least == 0 ? s : std::min(least, s);
      most = std::max(most, s);
    }
    const std::string back = most == 0 ? "-" : same.size() == 1 ? fmt::format("{:.0f}", most) : fmt::format("{:.0f}-{:.0f}", least, most);
    table.row({folded_cell(group.nodes, out.facts()), {std::string(parts[0]), term::style_of(parts[0])}, back, std::string(parts[1]), std::string(parts[2]), std::string(parts[3])});
  }
  out.table(table);
  render_next(result, out);
  if (result.nodes.size() > 1) out.line();
  render(result.summary, out);
}

}  // namespace kfab::commands

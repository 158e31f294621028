#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "base/text.hpp"
#include "commands/fleet_summary.hpp"
#include "commands/judge.hpp"
#include "fleet/fold.hpp"
#include "json/shorthand.hpp"

// What `kfab judge` shows and prints, and how accelerators beside their peers are shown by every command that tests.
namespace kfab::commands {
namespace {

std::string first_reason(const RejudgedNode& node) {
  if (node.reasons.empty()) return {};
  return node.reasons.size() == 1 ? node.reasons[0] : fmt::format("{} (and {} more)", node.reasons[0], node.reasons.size() - 1);
}

json::Value accelerators_json(const RejudgedNode& node) {
  json::Array out;
  for (const auto& a : node.accelerators)
    out.push_back(json::Object{{"id", a.id}, {"index", a.index}, {"model", a.model}, {"was", to_string(a.was)}, {"verdict", to_string(a.verdict)},
                               {"changed", a.was != a.verdict}, {"reasons", json::array_of(a.reasons)}});
  return out;
}

}  // namespace

json::Value to_json(const validation::FleetFindings& found) {
  json::Array populations, outliers, positions, shared, dissents;
  for (const auto& p : found.populations)
    populations.push_back(json::Object{{"profile", p.profile}, {"model", p.model}, {"metric", p.metric}, {"unit", p.unit}, {"accelerators", p.accelerators}, {"nodes", p.nodes},
                                       {"median", p.median}, {"mad", p.mad}, {"least", p.least}, {"most", p.most}, {"judged", p.judged}});
  for (const auto& o : found.outliers)
    outliers.push_back(json::Object{{"node", o.node}, {"accelerator", o.accelerator}, {"slot", o.slot}, {"rack", json::text_or_null(o.rack)}, {"tranche", json::text_or_null(o.tranche)},
                                    {"metric", o.metric}, {"unit", o.unit}, {"link", json::text_or_null(o.link)}, {"value", o.value}, {"deviations", o.deviations}});
  for (const auto& p : found.positions)
    positions.push_back(json::Object{{"profile", p.profile}, {"model", p.model}, {"metric", p.metric}, {"unit", p.unit}, {"kind", p.kind}, {"name", p.name},
                                     {"accelerators", p.accelerators}, {"median", p.median}, {"of_all", p.of_all}, {"deviations", p.deviations}});
  for (const auto& s : found.shared)
    shared.push_back(json::Object{{"profile", s.profile}, {"model", s.model}, {"kind", s.kind}, {"name", s.name}, {"outliers", s.outliers}, {"of_outliers", s.of_outliers},
                                  {"accelerators", s.accelerators}});
  for (const auto& d : found.dissents)
    dissents.push_back(json::Object{{"node", d.node}, {"accelerator", d.accelerator}, {"slot", d.slot}, {"metric", d.metric}, {"link", json::text_or_null(d.link)}, {"voters", d.voters},
                                    {"agreeing", d.agreeing}, {"decided", d.decided}});
  return json::Object{{"populations", std::move(populations)}, {"outliers", std::move(outliers)}, {"outliers_in_all", found.outliers_in_all},
                      {"positions", std::move(positions)},     {"shared", std::move(shared)},     {"dissents", std::move(dissents)}};
}

void render(const validation::FleetFindings& found, term::Writer& out) {
  constexpr std::size_t most_lines = 20;
  if (!found.outliers.empty()) {
    term::Table table({{"Beside its peers"}, {"Slot", term::Align::right}, {"Rack"}, {"Metric"}, {"Value", term::Align::right}, {"Deviations", term::Align::right}});
    for (std::size_t i = 0; i < std::min(most_lines, found.outliers.size()); ++i) {
      const auto& o = found.outliers[i];
      table.row({o.node, std::to_string(o.slot), o.rack.empty() ? "-" : o.rack, o.link.empty() ? o.metric : o.metric + " " + o.link, format_figure(o.value), format_number(o.deviations, 1)});
    }
    out.line().table(table);
    if (found.outliers_in_all > most_lines) out.line(fmt::format("and {} more, in the JSON", found.outliers_in_all - most_lines));
  }
  for (const auto& s : found.shared)
    out.line(fmt::format("{} of {} accelerators of {} that fall behind are in {} {} (of {} there)", s.outliers, s.of_outliers, one_line(s.model, 60), s.kind, s.name, s.accelerators));
  for (const auto& p : found.positions)
    out.line(fmt::format("{} {}: median {} of {} against {} of all {} ({} standard errors off)", p.kind, p.name, p.metric, format_figure(p.median), format_figure(p.of_all), one_line(p.model, 60),
                         format_number(p.deviations, 1)));
  for (std::size_t i = 0; i < std::min(most_lines, found.dissents.size()); ++i) out.line(fmt::format("{} slot {}: {}", found.dissents[i].node, found.dissents[i].slot, found.dissents[i].reason));
  if (found.dissents_in_all > most_lines) out.line(fmt::format("and {} more that differ from others of their model", found.dissents_in_all - most_lines));
}

json::Value to_json(const JudgeResult& result) {
  json::Array nodes;
  std::int64_t verdicts[4] = {0, 0, 0, 0}, judged = 0, changed = 0, without = 0;
  for (const auto& node : result.nodes) {
    if (!node.measured_at) {
      ++without;
    } else {
      ++judged;
      changed += node.changed();
    }
    ++verdicts[static_cast<std::size_t>(node.verdict)];
    nodes.push_back(json::Object{{"node", node.name},
                                 {"profile", node.profile},
                                 {"device", json::text_or_null(node.device)},
                                 {"level", json::text_or_null(node.level)},
                                 {"evidence_run", json::text_or_null(node.evidence_run)},
                                 {"measured_at", node.measured_at ? json::Value(to_rfc3339(*node.measured_at)) : json::Value()},
                                 {"was", json::Object{{"verdict", to_string(node.was)}, {"criteria", json::text_or_null(node.was_criteria)}}},
                                 {"verdict", to_string(node.verdict)},
                                 {"criteria", json::text_or_null(node.criteria)},
                                 {"criteria_sha256", json::text_or_null(node.criteria_sha256)},
                                 {"changed", node.changed()},
                                 {"reasons", json::array_of(node.measured_at ? node.reasons : std::vector<std::string>{node.why_not})},
                                 {"accelerators", accelerators_json(node)}});
  }
  return json::Object{{"kept", result.kept},
                      {"counts", json::Object{{"judged", judged}, {"changed", changed}, {"without_report", without}}},
                      {"verdicts", json::Object{{"pass", verdicts[0]}, {"degraded", verdicts[1]}, {"fail", verdicts[2]}, {"not_judged", verdicts[3]}}},
                      {"fleet", to_json(result.fleet)},
                      {"nodes", std::move(nodes)}};
}

void render(const JudgeResult& result, term::Writer& out) {
  // Nodes of which the same is to be said stand in one row; those whose verdict changed come first.
  struct Row { std::string was, is, criteria, why; bool changed; };
  std::map<std::string, Row> rows;
  std::vector<std::pair<std::string, std::string>> keyed;
  std::size_t changed = 0, judged = 0;
  for (const auto& node : result.nodes) {
    Row row{std::string(to_string(node.was)), std::string(to_string(node.verdict)), node.criteria.empty() ? "-" : node.criteria, first_reason(node), node.changed()};
    if (!node.measured_at) row = {"-", "not_judged", "-", node.why_not, false};
    if (row.is == "pass") row.why.clear();
    judged += node.measured_at.has_value();
    changed += row.changed;
    const std::string key = fmt::format("{}\1{}\1{}\1{}\1{}", row.changed ? 0 : 1, row.was, row.is, row.criteria, row.why);
    rows.emplace(key, row);
    keyed.emplace_back(node.name, key);
  }
  auto groups = fleet::fold(keyed);
  std::stable_sort(groups.begin(), groups.end(), [&](const auto& a, const auto& b) { return rows.at(a.text).changed > rows.at(b.text).changed; });
  term::Table table({{result.nodes.size() > 1 ? "Nodes" : "Node"}, {"Was"}, {"Verdict"}, {"By"}, {"Why", term::Align::left, true}});
  for (const auto& group : groups) {
    const Row& row = rows.at(group.text);
    table.row({folded_cell(group.nodes, out.facts()), {row.was, term::style_of(row.was)}, {row.is, term::style_of(row.is)}, row.criteria, row.why});
  }
  out.table(table).line();
  render(result.fleet, out);
  out.line(fmt::format("{} judged again, {} with another verdict{}", plural(static_cast<long long>(judged), "node"), changed, result.kept ? "" : "; nothing was kept"));
}

}  // namespace kfab::commands

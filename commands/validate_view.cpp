#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "base/text.hpp"
#include "commands/judge.hpp"
#include "commands/load_view.hpp"
#include "commands/report_shelf.hpp"
#include "commands/validate.hpp"
#include "fleet/fold.hpp"
#include "json/diagnostic.hpp"
#include "json/shorthand.hpp"
#include "term/table.hpp"

// What `kfab validate` shows: the result as JSON, and as tables.
namespace kfab::commands {
namespace {

json::Value job_json(const std::optional<NodeJob>& job) {
  if (!job) return {};
  return json::Object{{"id", job->id}, {"state", json::text_or_null(job->state)}, {"elapsed_s", json::Value(job->elapsed_s)}, {"left_s", json::Value(job->left_s)},
                      {"progress", json::array_of(job->progress)}};
}

json::Value accelerators_json(const ValidatedNode& node) {
  json::Array out;
  for (const auto& a : node.judgement.accelerators)
    out.push_back(json::Object{{"id", a.id}, {"device", a.device}, {"model", a.model}, {"index", a.index},
                               {"verdict", to_string(a.verdict)}, {"reasons", json::array_of(a.reasons)}});
  return out;
}

json::Value criteria_json(const ValidatedNode& node) {
  json::Array out;
  for (const auto& c : node.judgement.criteria)
    out.push_back(json::Object{{"criterion", c.criterion}, {"metric", c.metric}, {"unit", c.unit}, {"test", json::text_or_null(c.test)},
                               {"accelerator", json::text_or_null(c.accelerator)}, {"device", json::text_or_null(c.device)},
                               {"link", json::text_or_null(c.link)}, {"value", c.value}, {"limit", c.limit},
                               {"verdict", to_string(c.verdict)}, {"counts", c.counts}, {"reason", json::text_or_null(c.reason)}});
  return out;
}

json::Value measurements_json(const ValidatedNode& node) {
  json::Array out;
  for (const auto& m : node.report.measurements) {
    json::Array samples;
    for (const double sample : m.samples) samples.emplace_back(sample);
    out.push_back(json::Object{{"accelerator", m.accelerator}, {"device", m.device}, {"test", m.test}, {"metric", m.metric},
                               {"value", m.value}, {"unit", m.unit}, {"link", json::text_or_null(m.link)},
                               {"samples", std::move(samples)}, {"detail", json::text_or_null(m.detail)}});
  }
  return out;
}

json::Value tests_json(const ValidatedNode& node) {
  json::Array out;
  for (const auto& t : node.report.statuses)
    out.push_back(json::Object{{"accelerator", json::text_or_null(t.accelerator)}, {"device", t.device}, {"test", t.test},
                               {"status", to_string(t.state)}, {"code", json::text_or_null(t.code)}, {"reason", json::text_or_null(t.reason)},
                               {"duration_s", t.duration_s}});
  return out;
}

json::Value mismatches_json(const ValidatedNode& node) {
  json::Array out;
  for (const auto& m : node.report.mismatches)
    out.push_back(json::Object{{"accelerator", m.accelerator}, {"device", m.device}, {"test", m.test}, {"where", m.where},
                               {"index", m.index}, {"stride", m.stride}, {"count", m.count}, {"expected", m.expected},
                               {"got", m.got}, {"mask", m.mask}, {"second_read", m.second_read}});
  return out;
}

json::Value node_json(const ValidatedNode& node) {
  json::Object row = node.row;
  row.set("profile", node.profile).set("device", node.device).set("level", node.level).set("criteria", json::text_or_null(node.criteria));
  row.set("verdict", to_string(node.judgement.verdict)).set("reasons", json::array_of(node.judgement.reasons));
  row.set("job", job_json(node.job)).set("accelerators", accelerators_json(node)).set("criteria_verdicts", criteria_json(node));
  row.set("measurements", measurements_json(node)).set("tests", tests_json(node)).set("mismatches", mismatches_json(node));
  row.set("refused", json::to_json(node.report.refused));
  return row;
}

// One criterion over all nodes that it was held against.
struct Spread {
  std::string metric, unit, criterion;
  std::optional<double> limit;
  manifest::Direction direction = manifest::Direction::min;
  bool beside_peers = false;
  std::vector<double> values;                 // sorted
  std::optional<Verdict> verdict;             // the worst of those that count; none where nothing is judged
  // The value at this share of the way from the least to the greatest, between two of them where it lies there: of two the
  // median is their mean. Nothing without figures.
  std::optional<double> at(double share) const {
    if (values.empty()) return std::nullopt;
    const double place = share * static_cast<double>(values.size() - 1);
    const auto below = static_cast<std::size_t>(place), above = std::min(below + 1, values.size() - 1);
    return values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
  }
};

// ">= 4,000", "<= 0", and of what is held against its peers so many robust deviations off them.
std::string limit_words(const Spread& spread) {
  if (!spread.limit) return "-";
  if (spread.beside_peers) return fmt::format("{} dev. off", format_number(*spread.limit));
  const std::string_view sign = spread.direction == manifest::Direction::min ? ">=" : spread.direction == manifest::Direction::max ? "<=" : "=";
  return fmt::format("{} {}", sign, format_figure(*spread.limit));
}

// A figure that nothing is held against is no open question: it is there, and so it says.
term::Cell verdict_cell(const Spread& spread) {
  if (!spread.verdict) return {spread.values.empty() ? "-" : "recorded", term::Style::faint};
  return {std::string(to_string(*spread.verdict)), term::style_of(to_string(*spread.verdict))};
}

std::vector<Spread> spreads_of(const ValidateResult& result) {
  std::vector<Spread> spreads;
  std::size_t next = 0;
  for (const auto& node : result.nodes) {
    const WithReport whole(node);
    for (const auto& c : whole->judgement.criteria) {
      if (!c.counts && !c.value && c.reason.ends_with("is not part of this run")) continue;   // in the JSON
      const auto is_of = [&](const Spread& s) { return s.limit == c.limit && s.metric == c.metric && s.criterion == c.criterion && s.unit == c.unit; };
      // Accelerators are judged by the same criteria in the same order, so that it mostly is the next one.
      auto same = next < spreads.size() && is_of(spreads[next]) ? spreads.begin() + static_cast<std::ptrdiff_t>(next) : std::find_if(spreads.begin(), spreads.end(), is_of);
      if (same == spreads.end()) same = spreads.insert(spreads.end(), {c.metric, c.unit, c.criterion, c.limit, c.direction, c.beside_peers, {}, {}});
      next = static_cast<std::size_t>(same - spreads.begin()) + 1;
      if (c.value) same->values.push_back(*c.value);
      if (c.counts) same->verdict = same->verdict ? worse(*same->verdict, c.verdict) : c.verdict;
    }
  }
  for (Spread& spread : spreads) std::sort(spread.values.begin(), spread.values.end());
  return spreads;
}

// The rows of a node after its name: one for the node as a whole where there is nothing to tell apart, else one for each
// accelerator.
using Rows = std::vector<std::vector<term::Cell>>;
Rows rows_of(const ValidatedNode& node) {
  const auto why = [](Verdict verdict, std::string reason) { return verdict == Verdict::pass ? std::string() : reason; };
  const auto word = [](Verdict verdict) { return term::Cell(std::string(to_string(verdict)), term::style_of(to_string(verdict))); };
  Rows rows;
  for (const auto& a : node.judgement.accelerators)
    rows.push_back({word(a.verdict), a.id, a.device, node.level, why(a.verdict, a.reason())});
  // What is of no accelerator has a row of its own: of a node that lacks one all the others may pass.
  const auto& own = node.judgement.of_node;
  if (!rows.empty() && !own.empty())
    rows.insert(rows.begin(), {word(node.judgement.of_node_verdict), "the node", node.device, node.level, own.size() == 1 ? own.front() : fmt::format("{} (and {} more)", own.front(), own.size() - 1)});
  if (rows.empty()) rows.push_back({word(node.judgement.verdict), "-", node.device, node.level, why(node.judgement.verdict, node.judgement.reason())});
  return rows;
}

// The row of nodes that all pass, which need not be told apart; nothing of others.
std::optional<std::vector<term::Cell>> row_of_sound(const ValidatedNode& node) {
  const auto& accelerators = node.judgement.accelerators;
  if (node.judgement.verdict != Verdict::pass || accelerators.empty()) return std::nullopt;
  for (const auto& a : accelerators)
    if (a.verdict != Verdict::pass || a.device != accelerators.front().device) return std::nullopt;
  return std::vector<term::Cell>{{"pass", term::style_of("pass")}, fmt::format("{} each", accelerators.size()), accelerators.front().device,
                                 node.level, ""};
}

// Nodes of which the same is to be said stand in one row; a node that is alone with what it has gets all its rows.
term::Table summary_table(const ValidateResult& result, const term::StreamFacts& facts) {
  std::vector<std::pair<std::string, std::string>> keyed;
  std::map<std::string, const ValidatedNode*> sample;
  for (const auto& node : result.nodes) {
    std::string key;
    if (const auto sound = row_of_sound(node)) {
      for (const auto& cell : *sound) key += cell.text + '\1';
    } else {
      for (const auto& row : rows_of(node))
        for (const auto& cell : row) key += cell.text + '\1';
    }
    sample.emplace(key, &node);
    keyed.emplace_back(node.name, std::move(key));
  }
  term::Table table({{result.nodes.size() > 1 ? "Nodes" : "Node"}, {"Verdict"}, {"Accelerator"}, {"Device"}, {"Level"}, {"Why", term::Align::left, true}});
  for (const auto& group : fleet::fold(keyed)) {
    const ValidatedNode& node = *sample.at(group.text);
    const auto sound = row_of_sound(node);
    Rows rows = group.nodes.size() > 1 && sound ? Rows{*sound} : rows_of(node);
    for (auto& row : rows) {
      row.insert(row.begin(), folded_cell(group.nodes, facts));
      table.row(std::move(row));
    }
  }
  return table;
}

json::Value plans_json(const ValidateResult& result) {
  json::Array out;
  for (const auto& plan : result.plans) {
    json::Array families;
    for (const auto& [family, seconds] : plan.families) families.push_back(json::Object{{"family", family}, {"predicted_s", seconds}});
    out.push_back(json::Object{{"profile", plan.profile}, {"device", plan.device}, {"level", plan.level}, {"criteria", json::text_or_null(plan.criteria)}, {"nodes", plan.nodes},
                               {"predicted_s", plan.predicted_s}, {"families", std::move(families)}});
  }
  return out;
}

bool burns(const ValidateResult& result) { return std::find(result.families.begin(), result.families.end(), "burnin") != result.families.end(); }

json::Value load_json(const ValidateResult& result) {
  if (!burns(result)) return {};
  json::Value start;
  if (result.start) {
    json::Array clocks;
    for (const auto& clock : result.start->clocks)
      clocks.push_back(json::Object{{"node", clock.node}, {"offset_s", clock.offset_s}, {"uncertainty_s", clock.uncertainty_s}});
    start = json::Object{{"at", to_rfc3339(result.start->at)}, {"tolerance_s", result.start->tolerance_s}, {"clocks", std::move(clocks)}};
  }
  const bool pulsed = result.load.kind == "pulsed";
  return json::Object{{"kind", result.load.kind}, {"period_s", result.load.shaped() ? json::Value(result.load.period_s) : json::Value()},
                      {"duty_pct", pulsed ? json::Value(result.load.duty * 100) : json::Value()}, {"start", std::move(start)}};
}

// One line about a load that is not simply there all the time from whenever a node is ready; nothing else.
void render_load(const ValidateResult& result, term::Writer& out) {
  if (!burns(result) || (!result.load.shaped() && !result.start)) return;
  std::string line = "load: " + result.load.kind;
  if (result.load.shaped()) line += fmt::format(", period {}", format_duration_s(result.load.period_s));
  if (result.load.kind == "pulsed") line += fmt::format(", {} % of it work", format_number(result.load.duty * 100, 1));
  if (result.start) {
    double farthest = 0;
    for (const auto& clock : result.start->clocks) farthest = std::max(farthest, std::abs(clock.offset_s) + clock.uncertainty_s);
    line += fmt::format("; together from {} on, {} of {} nodes told their clocks, the farthest within {}, {} are allowed", to_rfc3339(result.start->at), result.start->clocks.size(),
                        result.nodes.size(), format_duration_s(farthest), format_duration_s(result.start->tolerance_s));
  }
  if (result.load.shaped()) line += "; rates are recorded and not judged, because their limits are meant for a steady load";
  out.line(line).line();
}

// What is to be done on the nodes of each profile, and how long each part takes on one of them.
void render_plans(const ValidateResult& result, term::Writer& out) {
  term::Table table({{"Profile"}, {"Nodes", term::Align::right}, {"Device"}, {"Level"}, {"On each node"}, {"About", term::Align::right}, {"Criteria", term::Align::left, true}});
  for (const auto& plan : result.plans) {
    std::string parts;
    for (const auto& [family, seconds] : plan.families) parts += fmt::format("{}{} {}", parts.empty() ? "" : ", ", family, seconds > 0 ? brief_duration_s(seconds) : "no test");
    table.row({plan.profile, std::to_string(plan.nodes), plan.device, plan.level, parts, brief_duration_s(plan.predicted_s), plan.criteria.empty() ? "none: recorded, not judged" : plan.criteria});
  }
  out.table(table).line(fmt::format("about {} in all; nothing was started", brief_duration_s(result.predicted_s)));
}

}  // namespace

json::Rows rows_of_nodes(std::shared_ptr<const ValidateResult> result) {
  return {"nodes", [result = std::move(result)](const auto& tell) {
            for (const auto& node : result->nodes) tell(node_json(*WithReport(node)));
          }};
}

json::Value to_json(const ValidateResult& result) {
  std::int64_t verdicts[4] = {0, 0, 0, 0};
  for (const auto& node : result.nodes) ++verdicts[static_cast<std::size_t>(node.judgement.verdict)];
  const json::Object by_verdict{{"pass", verdicts[0]}, {"degraded", verdicts[1]}, {"fail", verdicts[2]}, {"not_judged", verdicts[3]}};
  json::Object data{{"families", json::array_of(result.families)}, {"load", load_json(result)}, {"predicted_s", result.predicted_s}, {"plans", plans_json(result)}, {"counts", result.counts.to_json()}};
  add_to(data, result.summary);
  return data.set("verdicts", by_verdict).set("fleet", to_json(result.fleet)).set("nodes", json::Array());
}

void render(const ValidateResult& result, term::Writer& out) {
  render_load(result, out);
  if (result.only_planned) return render_plans(result, out);
  out.table(summary_table(result, out.facts())).line();

  // One line per criterion over all nodes: a site has thousands, and each figure of each is in the JSON.
  term::Table figures({{"Metric"}, {"Figures", term::Align::right}, {"Min", term::Align::right}, {"Median", term::Align::right},
                       {"Max", term::Align::right}, {"Unit"}, {"Limit", term::Align::right}, {"Verdict"}, {"Criterion"}});
  for (const auto& spread : spreads_of(result)) {
    const auto number = [](const std::optional<double>& value) { return value ? format_figure(*value) : std::string("-"); };
    figures.row({spread.metric, std::to_string(spread.values.size()), number(spread.at(0)), number(spread.at(0.5)), number(spread.at(1)),
                 spread.unit, limit_words(spread), verdict_cell(spread), spread.criterion});
  }
  if (!figures.empty()) out.table(figures);
  if (const LoadFigures load = load_figures(result.nodes); !load.empty()) {
    if (!figures.empty()) out.line();
    render(load, out);
  }
  render(result.fleet, out);
  if (result.nodes.size() > 1) {
    if (!figures.empty()) out.line();
    render(result.summary, out);
  }
  if (!result.detached_run.empty())
    out.line().line(fmt::format("The tests go on by themselves. How far they are, and the verdicts when they are done: kfab resume {}", result.detached_run));
}

}  // namespace kfab::commands

#include "commands/validate.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <set>
#include <tuple>

#include <fmt/format.h>

#include "base/codes/cli.hpp"
#include "base/codes/commands.hpp"
#include "base/codes/manifest.hpp"
#include "base/text.hpp"
#include "commands/recorder.hpp"
#include "fleet/fold.hpp"
#include "json/diagnostic.hpp"
#include "nodeset/nodeset.hpp"

namespace kfab::commands {
namespace {

constexpr std::size_t most_without_asking = 32;   // nodes that are put under load without a question

// How many nodes are loaded, with what, and about how long: each batch takes as long as its nodes do, window by window.
std::string question(const ValidateOptions& options, std::size_t nodes, const std::string& site, double predicted_s) {
  const std::size_t window = std::max<std::size_t>(options.site.reach.window, 1);
  std::size_t rounds = 0;
  for (const std::size_t batch : fleet::batch_sizes(options.site.reach.pace, nodes)) rounds += (batch + window - 1) / window;
  return fmt::format("Load {} of {} with {} for about {} each, at most {} at a time, about {} in all?", plural(static_cast<long long>(nodes), "node"),
                     one_line(site, 80), options.families.empty() ? "all tests" : "the " + join(options.families, " and ") + " tests",
                     brief_duration_s(predicted_s), with_thousands(static_cast<long long>(std::min(window, nodes))),
                     brief_duration_s(predicted_s * static_cast<double>(rounds)));
}

// What one node is to be tested by, and judged by.
struct NodeTest {
  const manifest::Profile* profile = nullptr;
  const manifest::CriteriaSet* criteria = nullptr;   // null: figures are recorded, nothing is judged
  validation::TestPlan plan;
  bool shortened = false;                            // less than the level asks for: does not stand for the level
};

// What the run counts as: a level, or that level cut short by --duration or --memory-cap, which readiness does not take
// for it.
std::string level_word(const NodeTest& test) {
  return std::string(to_string(test.plan.level)) + (test.shortened ? " (shortened)" : "");
}

std::string criteria_name(const manifest::CriteriaSet* set) {
  return set ? set->name + (set->version.empty() ? "" : "@" + set->version) : std::string();
}

Result<std::vector<NodeTest>> plan_nodes(const SiteSession& session, const ValidateOptions& options) {
  // Several names of one machine share its memory and processors.
  const auto sharing = std::count_if(session.nodes.begin(), session.nodes.end(), [](const auto* node) { return node->identity_by_name; });
  std::vector<NodeTest> tests;
  for (const manifest::Node* node : session.nodes) {
    NodeTest test;
    test.profile = session.site->find_profile(node->profile);
    if (!test.profile) return error(code::unknown_reference, fmt::format("node {} has no profile, so nothing says how to test it", node->name));
    const auto criteria = session.site->criteria.find(test.profile->criteria);
    if (criteria != session.site->criteria.end()) test.criteria = &criteria->second;
    validation::RequestOptions request;
    request.families = options.families;
    request.duration_s = options.duration_s;
    request.threads = options.threads;
    request.memory_cap_mib = options.memory_cap_mib;
    request.share = node->identity_by_name ? std::max(1, static_cast<int>(sharing)) : 1;
    const auto* tranche = session.site->find_tranche(node->tranche);
    request.level = options.level ? *options.level
                    : tranche     ? validation::parse_level(tranche->ready_when.level).value_or(validation::Level::standard)
                                  : validation::Level::standard;
    KFAB_TRY(plan, validation::plan_tests(*test.profile, request));
    test.plan = std::move(plan);
    if (options.duration_s || options.memory_cap_mib) {
      request.duration_s.reset();
      request.memory_cap_mib.reset();
      KFAB_TRY(whole, validation::plan_tests(*test.profile, request));
      test.shortened = options.memory_cap_mib.has_value() || test.plan.predicted_s < whole.predicted_s;
    }
    tests.push_back(std::move(test));
  }
  return tests;
}

ValidatedNode judged(const NodeTest& test, AgentRun run) {
  validation::ReportReader reader;
  for (const auto& message : run.messages) reader.take(message);
  ValidatedNode node;
  node.row = node_row(run.end);
  node.name = run.end.node;
  node.profile = test.profile->name;
  node.device = test.plan.device;
  node.level = level_word(test);
  node.criteria = criteria_name(test.criteria);
  node.outcome = run.end.outcome;
  node.reason = run.reason;
  node.report = reader.finish();
  validation::JudgeInput input;
  input.profile = test.profile;
  input.criteria = test.criteria;
  input.families = test.plan.families;
  input.device = test.plan.device;
  node.judgement = validation::judge(input, node.report);
  if (node.outcome != NodeOutcome::ok) {
    // The report ends where the session was cut: what it shows may fail the node, but can no longer pass it.
    const std::string cut = fmt::format("the report is incomplete: {}", one_line(node.reason));
    if (node.judgement.verdict != Verdict::fail) node.judgement.verdict = Verdict::not_judged;
    node.judgement.reasons.insert(node.judgement.reasons.begin(), cut);
    for (auto& accelerator : node.judgement.accelerators)
      if (accelerator.verdict != Verdict::fail) {
        accelerator.verdict = Verdict::not_judged;
        accelerator.reasons.insert(accelerator.reasons.begin(), cut);
      }
  }
  return node;
}

store::Findings findings_of(const Env& env, const NodeTest& test, const AgentRun& run, const ValidatedNode& node) {
  store::Findings found;
  found.nodes.push_back(reach_record(env, run.end));
  store::NodeRecord record = step_record(env, run.end, "validate");
  record.verdict = node.judgement.verdict;
  record.reason = one_line(node.judgement.reason(), 400);
  json::Array families;
  for (const auto& family : test.plan.families) families.emplace_back(family);
  record.detail = json::Object{{"level", node.level}, {"device", node.device}, {"criteria", node.criteria}, {"families", std::move(families)}};
  // A node whose agent never answered has no verdict of its tests: only that it was not reached is kept.
  if (reached(run.end)) found.nodes.push_back(record);
  const bool all = test.plan.families.size() == validation::all_families().size();
  for (const auto& accelerator : node.judgement.accelerators) {
    store::AcceleratorRecord row;
    row.run_id = env.run_id;
    row.node = node.name;
    row.id = accelerator.id;
    row.device = accelerator.device;
    row.model = accelerator.model;
    row.index = accelerator.index;
    row.at = env.clock.now();
    row.verdict = accelerator.verdict;
    row.reason = one_line(accelerator.reason(), 400);
    row.level = all ? node.level : join(test.plan.families, "+");
    row.criteria = node.criteria;
    row.criteria_sha256 = test.criteria ? test.criteria->sha256 : std::string();
    row.profile_sha256 = test.profile->sha256;
    found.accelerators.push_back(std::move(row));
  }
  const auto figure_of = [&](const auto& from, const std::string& accelerator) {
    store::MeasurementRecord row;
    row.run_id = env.run_id;
    row.node = node.name;
    row.accelerator_id = accelerator;
    row.device = from.device;
    row.test = from.test;
    row.metric = from.metric;
    row.unit = from.unit;
    row.value = from.value;
    row.at = env.clock.now();
    return row;
  };
  for (const auto& criterion : node.judgement.criteria) {
    auto row = figure_of(criterion, criterion.accelerator);
    row.verdict = criterion.verdict;
    row.criterion = criterion.criterion;
    row.limit = criterion.limit;
    row.detail = criterion.reason;
    found.measurements.push_back(std::move(row));
  }
  // Figures that no criterion asks for are kept all the same, so that later criteria can judge them.
  std::set<std::tuple<std::string, std::string, std::optional<double>>> kept;   // a hostile report has thousands of them
  for (const auto& row : found.measurements) kept.emplace(row.metric, row.accelerator_id, row.value);
  for (const auto& figure : node.report.measurements) {
    if (kept.contains({figure.metric, figure.accelerator, figure.value})) continue;
    found.measurements.push_back(figure_of(figure, figure.accelerator));
    found.measurements.back().detail = figure.detail;
  }
  return found;
}

json::Value strings(const std::vector<std::string>& all) {
  json::Array out;
  for (const auto& one : all) out.emplace_back(one);
  return out;
}

json::Value text_or_null(const std::string& text) { return text.empty() ? json::Value() : json::Value(text); }

json::Value accelerators_json(const ValidatedNode& node) {
  json::Array out;
  for (const auto& a : node.judgement.accelerators)
    out.push_back(json::Object{{"id", a.id}, {"device", a.device}, {"model", a.model}, {"index", a.index},
                               {"verdict", to_string(a.verdict)}, {"reasons", strings(a.reasons)}});
  return out;
}

json::Value criteria_json(const ValidatedNode& node) {
  json::Array out;
  for (const auto& c : node.judgement.criteria)
    out.push_back(json::Object{{"criterion", c.criterion}, {"metric", c.metric}, {"unit", c.unit}, {"test", text_or_null(c.test)},
                               {"accelerator", text_or_null(c.accelerator)}, {"device", text_or_null(c.device)},
                               {"link", text_or_null(c.link)}, {"value", c.value}, {"limit", c.limit},
                               {"verdict", to_string(c.verdict)}, {"counts", c.counts}, {"reason", text_or_null(c.reason)}});
  return out;
}

json::Value measurements_json(const ValidatedNode& node) {
  json::Array out;
  for (const auto& m : node.report.measurements) {
    json::Array samples;
    for (const double sample : m.samples) samples.emplace_back(sample);
    out.push_back(json::Object{{"accelerator", m.accelerator}, {"device", m.device}, {"test", m.test}, {"metric", m.metric},
                               {"value", m.value}, {"unit", m.unit}, {"link", text_or_null(m.link)},
                               {"samples", std::move(samples)}, {"detail", text_or_null(m.detail)}});
  }
  return out;
}

json::Value tests_json(const ValidatedNode& node) {
  json::Array out;
  for (const auto& t : node.report.statuses)
    out.push_back(json::Object{{"accelerator", text_or_null(t.accelerator)}, {"device", t.device}, {"test", t.test},
                               {"status", to_string(t.state)}, {"code", text_or_null(t.code)}, {"reason", text_or_null(t.reason)},
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

// One criterion over all nodes that it was held against.
struct Spread {
  std::string metric, unit, criterion;
  std::optional<double> limit;
  std::vector<double> values;                 // sorted
  Verdict verdict = Verdict::pass;            // the worst
  // The value at this share of the way from the least to the greatest; nothing without figures.
  std::optional<double> at(double share) const {
    if (values.empty()) return std::nullopt;
    return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1) + 0.5)];
  }
};

std::vector<Spread> spreads_of(const ValidateResult& result) {
  std::vector<Spread> spreads;
  for (const auto& node : result.nodes)
    for (const auto& c : node.judgement.criteria) {
      auto same = std::find_if(spreads.begin(), spreads.end(), [&](const Spread& s) {
        return s.criterion == c.criterion && s.metric == c.metric && s.unit == c.unit && s.limit == c.limit;
      });
      if (same == spreads.end()) same = spreads.insert(spreads.end(), {c.metric, c.unit, c.criterion, c.limit, {}, c.verdict});
      if (c.value) same->values.push_back(*c.value);
      same->verdict = worse(same->verdict, c.verdict);
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

}  // namespace

json::Value to_json(const ValidateResult& result) {
  json::Array nodes;
  std::int64_t verdicts[4] = {0, 0, 0, 0};
  for (const auto& node : result.nodes) {
    ++verdicts[static_cast<std::size_t>(node.judgement.verdict)];
    json::Object row = node.row;
    row.set("profile", node.profile).set("device", node.device).set("level", node.level).set("criteria", text_or_null(node.criteria));
    row.set("verdict", to_string(node.judgement.verdict)).set("reasons", strings(node.judgement.reasons));
    row.set("accelerators", accelerators_json(node)).set("criteria_verdicts", criteria_json(node));
    row.set("measurements", measurements_json(node)).set("tests", tests_json(node)).set("mismatches", mismatches_json(node));
    row.set("refused", json::to_json(node.report.refused));
    nodes.emplace_back(std::move(row));
  }
  const json::Object by_verdict{{"pass", verdicts[0]}, {"degraded", verdicts[1]}, {"fail", verdicts[2]}, {"not_judged", verdicts[3]}};
  json::Object data{{"families", strings(result.families)}, {"counts", result.counts.to_json()}};
  add_to(data, result.summary);
  return data.set("verdicts", by_verdict).set("nodes", std::move(nodes));
}

void render(const ValidateResult& result, term::Writer& out) {
  out.table(summary_table(result, out.facts())).line();

  // One line per criterion over all nodes: a site has thousands, and each figure of each is in the JSON.
  term::Table figures({{"Metric"}, {"Figures", term::Align::right}, {"Min", term::Align::right}, {"Median", term::Align::right},
                       {"Max", term::Align::right}, {"Unit"}, {"Limit", term::Align::right}, {"Verdict"}, {"Criterion"}});
  for (const auto& spread : spreads_of(result)) {
    const auto number = [](const std::optional<double>& value) { return value ? format_number(*value) : std::string("-"); };
    figures.row({spread.metric, std::to_string(spread.values.size()), number(spread.at(0)), number(spread.at(0.5)), number(spread.at(1)),
                 spread.unit, number(spread.limit), {std::string(to_string(spread.verdict)), term::style_of(to_string(spread.verdict))},
                 spread.criterion});
  }
  if (!figures.empty()) out.table(figures);
  if (result.nodes.size() > 1) {
    if (!figures.empty()) out.line();
    render(result.summary, out);
  }
}

CommandOutput run_validate(const ValidateOptions& options, Env& env) {
  auto opened = open_site(options.site, env);
  if (auto* stopped = std::get_if<CommandOutput>(&opened)) return std::move(*stopped);
  auto& session = std::get<SiteSession>(opened);
  auto tests = plan_nodes(session, options);
  if (!tests) {
    CommandOutput output = not_started(std::move(tests).error());
    output.site = session.ref();
    return output;
  }
  double predicted_s = 0;
  for (const auto& test : *tests) predicted_s = std::max(predicted_s, test.plan.predicted_s);
  const bool loads = options.families != std::vector<std::string>{"health"};   // reading counters loads nobody
  if (loads && session.nodes.size() > most_without_asking) {
    auto agreed = env.confirm(question(options, session.nodes.size(), session.site->metadata.name, predicted_s));
    if (!agreed || !*agreed) {
      CommandOutput output = not_started(agreed ? error(code::confirmation_missing, "not confirmed; nothing was tested") : std::move(agreed).error());
      output.site = session.ref();
      return output;
    }
  }
  auto recorder = Recorder::begin(env, options.command, session.ref());
  if (!recorder) return not_started(std::move(recorder).error());

  ValidateResult result;
  result.families = options.families.empty() ? validation::all_families() : options.families;
  result.nodes.resize(session.nodes.size());
  const auto request_of = [&](std::size_t index) {
    const auto& plan = (*tests)[index].plan;
    json::Object request = plan.members;
    request.set("task", "test").set("run_id", env.run_id);
    return fleet::AgentTask{std::move(request), session.sudo[index], std::chrono::seconds(static_cast<long long>(plan.deadline_s)), session.password.get()};
  };
  result.summary = run_agents(session, env, options.site.reach,
             fmt::format("testing (about {} per node)", format_duration_s(predicted_s)), request_of, [&](AgentRun run) {
               const std::size_t index = run.index;
               const AgentRun copy{index, {}, run.end, run.reason};
               ValidatedNode node = judged((*tests)[index], std::move(run));
               if (!was_cancelled(copy.end)) (*recorder)->put(findings_of(env, (*tests)[index], copy, node));
               NodeJudged verdict{node.judgement.verdict != Verdict::fail, {}, node.judgement.reason()};
               result.nodes[index] = std::move(node);
               return verdict;
             });

  CommandOutput output = session.output();
  std::map<std::string, std::vector<std::string>> without_criteria;   // nodes by profile
  bool incomplete = false, no = false;
  for (const auto& node : result.nodes) {
    result.counts.add(node.outcome);
    if (node.judgement.verdict == Verdict::not_judged) incomplete = true;
    if (node.judgement.verdict == Verdict::fail || node.judgement.verdict == Verdict::degraded) no = true;
    if (node.criteria.empty()) without_criteria[node.profile].push_back(node.name);
  }
  for (const auto& [profile, nodes] : without_criteria) {
    Diagnostic why = error(code::no_criteria, fmt::format("profile {} names no criteria: figures are recorded, not judged", profile));
    if (nodes.size() == 1) why.node = nodes.front();
    else why.help.push_back(fmt::format("{}: {}", plural(static_cast<long long>(nodes.size()), "node"), nodeset::fold_names(nodes)));
    output.diagnostics.push_back(std::move(why));
  }
  add_to(output, result.summary);
  output.outcome = overall(env, incomplete, no);
  output.signal = env.cancel.signal();
  output.data = to_json(result);
  output.render = [result = std::move(result)](term::Writer& out) { render(result, out); };
  (*recorder)->finish(output);
  return output;
}

}  // namespace kfab::commands

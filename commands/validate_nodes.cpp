#include "commands/validate_nodes.hpp"

#include <algorithm>
#include <set>
#include <tuple>

#include <fmt/format.h>

#include "base/codes/manifest.hpp"
#include "base/text.hpp"

namespace kfab::commands {
namespace {

std::string criteria_name(const manifest::CriteriaSet* set) {
  return set ? set->name + (set->version.empty() ? "" : "@" + set->version) : std::string();
}

}  // namespace

std::string level_word(const NodeTest& test) {
  return std::string(to_string(test.plan.level)) + (test.shortened ? " (shortened)" : "");
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

ValidatedNode judged(const NodeTest& test, AgentRun run, std::optional<Cut> cut) {
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
  if (node.outcome != NodeOutcome::ok) cut = Cut{fmt::format("the report is incomplete: {}", one_line(node.reason))};
  if (cut) {
    const Verdict at_best = cut->fails ? Verdict::fail : Verdict::not_judged;
    if (node.judgement.verdict != Verdict::fail) node.judgement.verdict = at_best;
    node.judgement.reasons.insert(node.judgement.reasons.begin(), cut->why);
    for (auto& accelerator : node.judgement.accelerators)
      if (accelerator.verdict != Verdict::fail) {
        accelerator.verdict = at_best;
        accelerator.reasons.insert(accelerator.reasons.begin(), cut->why);
      }
  }
  return node;
}

store::Findings findings_of(const Env& env, const std::string& run_id, const NodeTest& test, const AgentRun& run, const ValidatedNode& node) {
  store::Findings found;
  found.nodes.push_back(reach_record(env, run.end));
  found.nodes.back().run_id = run_id;
  store::NodeRecord record = step_record(env, run.end, "validate");
  record.run_id = run_id;
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
    row.run_id = run_id;
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
    row.run_id = run_id;
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

}  // namespace kfab::commands

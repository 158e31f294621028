#include "commands/test_records.hpp"

#include <optional>
#include <set>
#include <tuple>

#include "base/text.hpp"
#include "validation/catalogue.hpp"

namespace kfab::commands {
namespace {

constexpr std::size_t reason_chars = 400;

// What a verdict on a figure and the figure itself have in common.
template <class From>
store::MeasurementRecord figure_of(const RecordKey& key, const From& from) {
  store::MeasurementRecord row;
  row.run_id = key.run_id;
  row.node = key.node;
  row.accelerator_id = from.accelerator;
  row.device = from.device;
  row.test = from.test;
  row.metric = from.metric;
  row.unit = from.unit;
  row.value = from.value;
  row.at = key.at;
  return row;
}

}  // namespace

std::string level_of(const std::string& level, const std::vector<std::string>& families) {
  return families.size() == validation::all_families().size() ? level : join(families, "+") + " at " + level;
}

std::string criteria_name(const manifest::CriteriaSet* set) {
  if (set == nullptr) return {};
  return set->version.empty() ? set->name : set->name + "@" + set->version;
}

store::MeasurementRecord record_of(const RecordKey& key, const validation::CriterionVerdict& criterion) {
  store::MeasurementRecord row = figure_of(key, criterion);
  row.verdict = criterion.verdict;
  row.criterion = criterion.criterion;
  row.limit = criterion.limit;
  row.detail = criterion.reason;
  return row;
}

store::AcceleratorRecord record_of(const RecordKey& key, const JudgedBy& by, const validation::AcceleratorVerdict& accelerator) {
  store::AcceleratorRecord row;
  row.run_id = key.run_id;
  row.node = key.node;
  row.id = accelerator.id;
  row.device = accelerator.device;
  row.model = accelerator.model;
  row.index = accelerator.index;
  row.at = key.at;
  row.verdict = accelerator.verdict;
  row.reason = one_line(accelerator.reason(), reason_chars);
  row.level = by.level;
  row.criteria = by.criteria;
  row.criteria_sha256 = by.criteria_sha256;
  row.profile_sha256 = by.profile_sha256;
  return row;
}

void add_other_figures(store::Findings& found, const RecordKey& key, const validation::TestReport& report) {
  std::set<std::tuple<std::string, std::string, std::optional<double>>> kept;   // a hostile report has thousands of them
  for (const auto& row : found.measurements) kept.emplace(row.metric, row.accelerator_id, row.value);
  for (const auto& figure : report.measurements) {
    if (kept.contains({figure.metric, figure.accelerator, figure.value})) continue;
    found.measurements.push_back(figure_of(key, figure));
    found.measurements.back().detail = figure.detail;
  }
}

void hold_to_cut(validation::NodeJudgement& judgement, const validation::TestReport& report, const std::string& why, bool fails) {
  if (why.empty()) return;
  std::set<std::string> done;
  for (const auto& one : report.accelerators)
    if (one.done && !report.truncated) done.insert(one.id);
  const Verdict at_best = fails ? Verdict::fail : Verdict::not_judged;
  if (judgement.verdict != Verdict::fail) judgement.verdict = at_best;
  judgement.reasons.insert(judgement.reasons.begin(), why);
  judgement.of_node.insert(judgement.of_node.begin(), why);
  judgement.of_node_verdict = worse(judgement.of_node_verdict, at_best);
  for (auto& accelerator : judgement.accelerators) {
    if (accelerator.verdict == Verdict::fail || (!fails && done.contains(accelerator.id))) continue;
    accelerator.verdict = at_best;
    accelerator.reasons.insert(accelerator.reasons.begin(), why);
  }
}

}  // namespace kfab::commands

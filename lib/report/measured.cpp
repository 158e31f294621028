#include "report/measured.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "base/statistics.hpp"

namespace kfab::report {

std::vector<MetricSummary> summarise(const std::vector<store::MeasurementRecord>& measurements) {
  struct Group { MetricSummary summary; std::vector<double> values; bool limits_agree = true; bool limit_seen = false; };
  std::map<std::tuple<std::string, std::string, std::string>, Group> groups;
  for (const auto& row : measurements) {
    auto& group = groups[{row.device, row.metric, row.unit}];
    auto& s = group.summary;
    s.failed += row.verdict == Verdict::fail;
    s.degraded += row.verdict == Verdict::degraded;
    s.not_judged += row.verdict == Verdict::not_judged && !row.criterion.empty();
    if (row.limit) {
      if (group.limit_seen && s.limit != row.limit) group.limits_agree = false;
      s.limit = row.limit;
      group.limit_seen = true;
    }
    if (!row.value || !std::isfinite(*row.value)) {
      ++s.without_value;
      continue;
    }
    if (group.values.empty() || *row.value < s.least) {
      s.least = *row.value;
      s.least_at = row.node + (row.accelerator_id.empty() || row.device == "cpu" ? "" : " " + row.accelerator_id);
    }
    group.values.push_back(*row.value);
  }
  std::vector<MetricSummary> rows;
  for (auto& [key, group] : groups) {
    auto& s = group.summary;
    std::tie(s.device, s.metric, s.unit) = key;
    s.count = static_cast<std::int64_t>(group.values.size());
    if (!group.limits_agree) s.limit.reset();
    if (!group.values.empty()) {
      std::sort(group.values.begin(), group.values.end());
      s.median = median_of(group.values);
      s.most = group.values.back();
    }
    rows.push_back(std::move(s));
  }
  return rows;
}

}  // namespace kfab::report

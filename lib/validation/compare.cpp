#include "validation/compare.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/statistics.hpp"
#include "base/text.hpp"
#include "validation/catalogue.hpp"

namespace kfab::validation {
namespace {

using manifest::Basis;
using manifest::Criterion;
using manifest::Direction;

std::string_view sign_of_violation(Direction direction) {
  switch (direction) {
    case Direction::min: return "<";
    case Direction::max: return ">";
    case Direction::equal: return "is not";
  }
  return "";
}

bool holds(Direction direction, double value, double limit) {
  switch (direction) {
    case Direction::min: return value >= limit;
    case Direction::max: return value <= limit;
    case Direction::equal: return value == limit;
  }
  return false;
}

// Both with as many decimals as it takes to see that they differ.
std::pair<std::string, std::string> told_apart(double value, double limit) {
  for (int decimals = 3;; decimals += 3)
    if (auto both = std::pair(format_figure(value, decimals), format_figure(limit, decimals)); both.first != both.second || decimals >= 15) return both;
}

// The limit is a number of robust standard deviations on the bad side of the median.
void compare_with_peers(const Criterion& criterion, const Measurement& measurement, const std::string& named, const Peers* peers, CriterionVerdict& out) {
  if (!criterion.limit) {
    out.reason = fmt::format("criterion {} states no limit", criterion.id);
    return;
  }
  const auto of_metric = peers ? peers->find(criterion.metric) : Peers::const_iterator{};
  const bool known = peers && of_metric != peers->end();
  const std::size_t count = known && of_metric->second.accelerators > 0 ? of_metric->second.accelerators - 1 : 0;
  if (count < fewest_peers) {
    if (criterion.optional) out.counts = false;
    out.reason = fmt::format("{} has {} to be compared with, {} are needed (criterion {})", named, plural(static_cast<long long>(count), "peer"), fewest_peers, criterion.id);
    return;
  }
  const Robust& of_peers = of_metric->second.robust;
  const double spread = spread_of(of_peers);
  if (!(spread > 0) || !std::isfinite(spread)) {
    if (criterion.optional) out.counts = false;
    out.reason = fmt::format("{}: the peers' median is {}, from which no spread follows (criterion {})", named, format_number(of_peers.median), criterion.id);
    return;
  }
  const double deviation = (*measurement.value - of_peers.median) / spread;
  const double bad = criterion.direction == Direction::min ? -deviation : criterion.direction == Direction::max ? deviation : std::abs(deviation);
  const bool good = bad <= *criterion.limit;
  out.verdict = good ? Verdict::pass : criterion.on_violation;
  if (good) return;
  out.reason = fmt::format("{} {} lies {} robust deviations off the median {} of {} peers, {} are allowed (criterion {})", named, format_figure(*measurement.value, 3),
                           format_number(bad, 1), format_figure(of_peers.median, 3), count, format_number(*criterion.limit, 1), criterion.id);
  if (!criterion.action.empty()) out.reason += "; " + criterion.action;
}

void compare_with_limit(const Criterion& criterion, const Measurement& measurement, const std::string& named, CriterionVerdict& out) {
  if (!out.limit) {
    if (criterion.optional) out.counts = false;
    out.reason = criterion.nominal_key.empty()
                     ? fmt::format("criterion {} states no limit", criterion.id)
                     : fmt::format("neither the profile nor the accelerator tells a nominal {} from which the limit follows (criterion {})", criterion.nominal_key, criterion.id);
    return;
  }
  const bool good = holds(criterion.direction, *measurement.value, *out.limit);
  out.verdict = good ? Verdict::pass : criterion.on_violation;
  if (good) return;
  const auto [figure, limit] = told_apart(*measurement.value, *out.limit);
  out.reason = fmt::format("{} {} {} {} (criterion {})", named, figure, sign_of_violation(criterion.direction), limit, criterion.id);
  // A counter's detail names the test that moved it, that of a refusal the kernel and the reason.
  if (criterion.metric.ends_with("kernels_refused") && !measurement.detail.empty()) out.reason += ": " + measurement.detail;
  if (!measurement.detail.empty() && family_of(criterion.metric) != "burnin" && family_of(criterion.metric) != "memory" && family_of(criterion.metric) != "bandwidth")
    out.reason += ": " + measurement.detail;
  if (!criterion.action.empty()) out.reason += "; " + criterion.action;
}

}  // namespace

bool counts_wrong_bits(std::string_view metric) {
  return !family_of(metric).empty() && family_of(metric) != "health" && (metric.ends_with("mismatches") || metric.ends_with(".errors"));
}

void compare(const Criterion& criterion, const Measurement& measurement, std::string_view doubt, const Peers* peers, CriterionVerdict& out) {
  const std::string named = out.link.empty() ? criterion.metric : criterion.metric + " " + out.link;
  if (criterion.basis == Basis::record_only) {
    out.reason = fmt::format("{} is recorded, not judged (criterion {})", named, criterion.id);
    return;
  }
  if (!criterion.unit.empty() && criterion.unit != measurement.unit) {
    out.reason = fmt::format("{} came in {}, the criterion is in {} (criterion {})", named, measurement.unit.empty() ? "no unit" : measurement.unit, criterion.unit, criterion.id);
    return;
  }
  // A wrong bit that was found counts, whoever found it; any other figure only from a proven checker that did work.
  const bool found_fault = *measurement.value > 0 && counts_wrong_bits(criterion.metric);
  if (!doubt.empty() && !found_fault) {
    out.reason = fmt::format("{} is not judged: {} (criterion {})", named, doubt, criterion.id);
    return;
  }
  if (criterion.basis == Basis::fleet_relative) return compare_with_peers(criterion, measurement, named, peers, out);
  compare_with_limit(criterion, measurement, named, out);
}

double spread_of(const Robust& of) { return std::max(1.4826 * of.mad, std::abs(of.median) / 60); }

std::optional<Robust> robust(std::vector<double> values) {
  if (values.empty()) return std::nullopt;
  Robust out{median_of(values), 0};
  for (auto& value : values) value = std::abs(value - out.median);
  out.mad = median_of(std::move(values));
  return out;
}

}  // namespace kfab::validation

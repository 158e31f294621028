#include "validation/judge.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/format.h>

#include "base/codes/validation.hpp"
#include "base/text.hpp"
#include "validation/catalogue.hpp"

namespace kfab::validation {
namespace {

using manifest::Basis;
using manifest::Criterion;
using manifest::Direction;

std::string joined_reason(const std::vector<std::string>& reasons) {
  if (reasons.empty()) return {};
  return reasons.size() == 1 ? reasons[0] : fmt::format("{} (and {} more)", reasons[0], reasons.size() - 1);
}

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

// Reasons with their weight, so that the worst is told first.
class Findings {
 public:
  void add(Verdict verdict, std::string reason) {
    total_ = any_ ? worse(total_, verdict) : verdict;
    any_ = true;
    if (verdict != Verdict::pass && !reason.empty()) reasons_.push_back({verdict, std::move(reason)});
  }
  Verdict verdict() const { return any_ ? total_ : Verdict::not_judged; }
  bool any() const { return any_; }
  std::vector<std::string> reasons() {
    const auto weight = [](Verdict v) { return v == Verdict::fail ? 0 : v == Verdict::not_judged ? 1 : 2; };
    std::stable_sort(reasons_.begin(), reasons_.end(), [&](const auto& a, const auto& b) { return weight(a.first) < weight(b.first); });
    std::vector<std::string> out;
    std::set<std::string> seen;
    for (auto& [verdict, reason] : reasons_)
      if (seen.insert(reason).second) out.push_back(std::move(reason));
    return out;
  }

 private:
  Verdict total_ = Verdict::not_judged;
  bool any_ = false;
  std::vector<std::pair<Verdict, std::string>> reasons_;
};

class Judge {
 public:
  Judge(const JudgeInput& input, const TestReport& report) : input_(input), report_(report) {}

  NodeJudgement run() {
    Findings node;
    inventory(node);
    for (const auto& accelerator : report_.accelerators) {
      if (accelerator.device != input_.device) continue;
      auto verdict = judge_accelerator(accelerator);
      for (const auto& reason : verdict.reasons) node.add(verdict.verdict, report_.accelerators.size() > 1 ? fmt::format("{} {}: {}", accelerator.device, accelerator.index, reason) : reason);
      if (verdict.reasons.empty()) node.add(verdict.verdict, {});
      out_.accelerators.push_back(std::move(verdict));
    }
    if (report_.truncated) node.add(Verdict::not_judged, "the node sent more than kfab accepts, so the report is incomplete");
    out_.verdict = node.verdict();
    out_.reasons = node.reasons();
    if (out_.verdict != Verdict::pass && out_.reasons.empty()) out_.reasons.push_back("nothing was judged");
    return std::move(out_);
  }

 private:
  // What concerns the node as a whole: tests without an accelerator, and the number found.
  void inventory(Findings& node) {
    int found = 0;
    for (const auto& accelerator : report_.accelerators) found += accelerator.device == input_.device;
    for (const auto& status : report_.statuses) {
      const bool of_known = std::any_of(report_.accelerators.begin(), report_.accelerators.end(),
                                        [&](const auto& a) { return a.id == status.accelerator && a.device == status.device; });
      if (of_known || status.state == TestState::ran) continue;
      node.add(status.state == TestState::failed ? Verdict::fail : Verdict::not_judged,
               fmt::format("{}{}: {}{}", status.test, status.accelerator.empty() ? "" : " of " + status.accelerator, status.reason,
                           status.code.empty() ? "" : " (" + status.code + ")"));
    }
    if (found == 0) node.add(Verdict::not_judged, fmt::format("no accelerator of device {} told of itself", input_.device));
    const auto expected = input_.profile && input_.device != "cpu" ? input_.profile->per_node.get() : std::nullopt;
    // A node whose driver works and finds nothing lacks them all; one without a driver was not looked into.
    const bool looked = found > 0 || std::any_of(report_.statuses.begin(), report_.statuses.end(), [&](const auto& status) {
      return status.device == input_.device && status.code == kfab::to_string(code::no_accelerator);
    });
    if (expected && found < *expected && looked)
      node.add(Verdict::fail, fmt::format("{} of {} accelerators found", found, *expected));
    if (expected && found > *expected)
      node.add(Verdict::degraded, fmt::format("{} accelerators found, the profile expects {}", found, *expected));
  }

  bool in_run(std::string_view metric) const {
    if (input_.families.empty()) return true;
    const auto family = family_of(metric);
    return family.empty() || std::find(input_.families.begin(), input_.families.end(), family) != input_.families.end();
  }

  AcceleratorVerdict judge_accelerator(const Accelerator& accelerator) {
    Findings findings;
    std::set<std::string> wrong_tests;
    for (const auto& mismatch : report_.mismatches) {
      if (mismatch.accelerator != accelerator.id || mismatch.device != accelerator.device || !wrong_tests.insert(mismatch.test).second) continue;
      findings.add(Verdict::fail, fmt::format("{}: {} wrong {}, the first at {}: expected {}, got {}, second read {} ({})", mismatch.test, mismatch.count,
                                              mismatch.count == 1 ? "value" : "values", mismatch.where, mismatch.expected, mismatch.got, mismatch.second_read,
                                              kfab::to_string(code::wrong_bits)));
    }
    for (const auto& status : report_.statuses) {
      if (status.accelerator != accelerator.id || status.device != accelerator.device) continue;
      const std::string words = fmt::format("{}: {}{}", status.test, status.reason, status.code.empty() ? "" : " (" + status.code + ")");
      if (status.state == TestState::failed) findings.add(Verdict::fail, words);
      // What the accelerator has no arithmetic for is no gap in its test, unless a criterion asks for it.
      if (status.state == TestState::not_run && status.code != kfab::to_string(code::not_supported_by_accelerator)) findings.add(Verdict::not_judged, words);
    }

    bool criterion_counted = false;
    if (input_.criteria) {
      for (const auto& criterion : input_.criteria->criteria) {
        for (auto& verdict : judge_criterion(criterion, accelerator)) {
          if (verdict.counts) {
            criterion_counted = true;
            findings.add(verdict.verdict, verdict.reason);
          }
          out_.criteria.push_back(std::move(verdict));
        }
      }
    }
    if (!criterion_counted) {
      const std::string why = !input_.criteria || input_.criteria->criteria.empty() ? "there are no criteria, so the figures are only recorded"
                                                                                      : "no criterion applies to this device and these tests";
      findings.add(Verdict::not_judged, why);
    }
    AcceleratorVerdict out{accelerator.id, accelerator.device, accelerator.model, accelerator.index, findings.verdict(), findings.reasons()};
    return out;
  }

  // One verdict for each figure of that metric (links have one each), or one about its absence.
  std::vector<CriterionVerdict> judge_criterion(const Criterion& criterion, const Accelerator& accelerator) {
    CriterionVerdict base;
    base.criterion = criterion.id;
    base.metric = criterion.metric;
    base.unit = criterion.unit;
    base.accelerator = accelerator.id;
    base.device = accelerator.device;
    base.limit = limit_of(criterion);
    if (criterion.device != "any" && !criterion.device.empty() && criterion.device != accelerator.device) return {};   // never compared
    if (!in_run(criterion.metric)) {
      base.counts = false;
      base.reason = fmt::format("{} is not part of this run", criterion.metric);
      return {base};
    }
    base.counts = criterion.basis != Basis::record_only;

    std::vector<CriterionVerdict> out;
    std::string why_none;
    for (const auto& measurement : report_.measurements) {
      if (measurement.accelerator != accelerator.id || measurement.device != accelerator.device || measurement.metric != criterion.metric) continue;
      if (!measurement.value) {
        why_none = measurement.detail;
        continue;
      }
      CriterionVerdict one = base;
      one.test = measurement.test;
      one.link = measurement.link;
      one.value = measurement.value;
      compare(criterion, measurement, one);
      out.push_back(std::move(one));
    }
    if (out.empty()) {
      base.verdict = criterion.basis == Basis::record_only ? Verdict::not_judged : criterion.on_missing;
      base.reason = fmt::format("{} was not measured{} (criterion {})", criterion.metric, why_none.empty() ? "" : ": " + why_none, criterion.id);
      out.push_back(std::move(base));
    }
    return out;
  }

  std::optional<double> limit_of(const Criterion& criterion) const {
    if (criterion.basis == Basis::record_only) return std::nullopt;
    if (criterion.limit) return criterion.limit;
    if (criterion.nominal_key.empty() || !input_.profile) return std::nullopt;
    const auto found = input_.profile->nominal.find(criterion.nominal_key);
    if (found == input_.profile->nominal.end() || !std::isfinite(found->second)) return std::nullopt;
    return found->second * criterion.factor;
  }

  void compare(const Criterion& criterion, const Measurement& measurement, CriterionVerdict& out) {
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
    const bool found_fault = *measurement.value > 0 && (criterion.metric.ends_with(".mismatches") || criterion.metric.ends_with(".errors"));
    if (const auto doubt = doubt_about(measurement); !doubt.empty() && !found_fault) {
      out.reason = fmt::format("{} is not judged: {} (criterion {})", named, doubt, criterion.id);
      return;
    }
    double value = *measurement.value;
    std::string shown = format_number(value, 3), against;
    if (criterion.basis == Basis::fleet_relative) {
      if (!criterion.limit) {
        out.reason = fmt::format("criterion {} states no limit", criterion.id);
        return;
      }
      const auto peers = input_.peers ? input_.peers->find(criterion.metric) : Peers::const_iterator{};
      const std::size_t count = input_.peers && peers != input_.peers->end() ? peers->second.size() : 0;
      if (count < fewest_peers) {
        out.reason = fmt::format("{} has {} peers to be compared with, {} are needed (criterion {})", named, count, fewest_peers, criterion.id);
        return;
      }
      const auto of_peers = robust(peers->second);
      const double spread = std::max(1.4826 * of_peers->mad, 0.005 * std::abs(of_peers->median));
      if (!(spread > 0) || !std::isfinite(spread)) {
        out.reason = fmt::format("{}: the peers' median is {}, from which no spread follows (criterion {})", named, format_number(of_peers->median), criterion.id);
        return;
      }
      const double deviation = (value - of_peers->median) / spread;
      // The limit is a number of robust standard deviations on the bad side.
      const double bad = criterion.direction == Direction::min ? -deviation : criterion.direction == Direction::max ? deviation : std::abs(deviation);
      const bool good = bad <= *criterion.limit;
      out.verdict = good ? Verdict::pass : criterion.on_violation;
      if (!good)
        out.reason = fmt::format("{} {} lies {} robust deviations off the median {} of {} peers, {} are allowed (criterion {})", named, shown,
                                 format_number(bad, 1), format_number(of_peers->median, 3), count, format_number(*criterion.limit, 1), criterion.id);
      return;
    }
    if (!out.limit) {
      out.reason = criterion.nominal_key.empty()
                       ? fmt::format("criterion {} states no limit", criterion.id)
                       : fmt::format("the profile states no nominal {} from which the limit follows (criterion {})", criterion.nominal_key, criterion.id);
      return;
    }
    const bool good = holds(criterion.direction, value, *out.limit);
    out.verdict = good ? Verdict::pass : criterion.on_violation;
    if (!good) out.reason = fmt::format("{} {} {} {} (criterion {})", named, shown, sign_of_violation(criterion.direction), format_number(*out.limit, 3), criterion.id);
  }

  const Measurement* find(const Measurement& of, std::string_view metric) const {
    for (const auto& m : report_.measurements)
      if (m.accelerator == of.accelerator && m.device == of.device && m.test == of.test && m.metric == metric) return &m;
    return nullptr;
  }

  // Why a figure is worth nothing, or empty.
  std::string doubt_about(const Measurement& measurement) const {
    if (measurement.test == "telemetry" || family_of(measurement.metric).empty()) return {};
    const auto* selftest = find(measurement, "selftest." + measurement.test + ".found");
    if (!selftest || !selftest->value) return "the checker of " + measurement.test + " was not proven in this run";
    if (*selftest->value < 1) return "the checker of " + measurement.test + " missed a planted fault";
    const auto* iterations = find(measurement, "burnin." + measurement.test + ".iterations");
    if (iterations && (!iterations->value || *iterations->value < 1)) return measurement.test + " made no iteration";
    for (const auto& status : report_.statuses)
      if (status.accelerator == measurement.accelerator && status.device == measurement.device && status.test == measurement.test) return {};
    return measurement.test + " did not come to its end";
  }

  const JudgeInput& input_;
  const TestReport& report_;
  NodeJudgement out_;
};

}  // namespace

std::string AcceleratorVerdict::reason() const { return joined_reason(reasons); }
std::string NodeJudgement::reason() const { return joined_reason(reasons); }

NodeJudgement judge(const JudgeInput& input, const TestReport& report) { return Judge(input, report).run(); }

std::optional<Robust> robust(std::vector<double> values) {
  if (values.empty()) return std::nullopt;
  const auto median = [](std::vector<double>& v) {
    std::sort(v.begin(), v.end());
    const std::size_t half = v.size() / 2;
    return v.size() % 2 ? v[half] : (v[half - 1] + v[half]) / 2;
  };
  Robust out{median(values), 0};
  for (auto& value : values) value = std::abs(value - out.median);
  out.mad = median(values);
  return out;
}

}  // namespace kfab::validation

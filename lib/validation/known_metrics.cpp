#include "validation/known_metrics.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/codes/validation.hpp"
#include "base/text.hpp"
#include "validation/plan.hpp"

namespace kfab::validation {
namespace {

bool in_name(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; }

bool fits(std::string_view pattern, std::string_view id);

// Whether `part` may stand where the catalogue has `<name>`: one of `a|b|c`, a number, a counter that the common metrics
// know, or else any word.
bool may_stand_for(std::string_view name, std::string_view part) {
  if (name.find('|') != std::string_view::npos) {
    const auto words = split(std::string(name), '|');
    return std::find(words.begin(), words.end(), part) != words.end();
  }
  if (name == "number") return part.find_first_not_of("0123456789") == std::string_view::npos;
  if (name != "counter") return true;
  const std::string counter = "counters." + std::string(part);
  const auto common = common_metrics();
  return std::any_of(common.begin(), common.end(), [&](const Metric& one) { return fits(one.id, counter); });
}

// A part in angle brackets takes one or more letters, digits and underscores.
bool fits(std::string_view pattern, std::string_view id) {
  while (!pattern.empty() && pattern.front() != '<') {
    if (id.empty() || id.front() != pattern.front()) return false;
    pattern.remove_prefix(1);
    id.remove_prefix(1);
  }
  if (pattern.empty()) return id.empty();
  const auto end = pattern.find('>');
  if (end == std::string_view::npos) return false;
  for (std::size_t taken = 1; taken <= id.size() && in_name(id[taken - 1]); ++taken)
    if (may_stand_for(pattern.substr(1, end - 1), id.substr(0, taken)) && fits(pattern.substr(end + 1), id.substr(taken))) return true;
  return false;
}

template <class Take>
void for_each_metric(Take take) {
  for (const Metric& one : common_metrics()) take(one);
  for (const Check& check : all_checks())
    for (const Metric& one : check.metrics) take(one);
}

// Whether a criterion can pass or fail an accelerator of that device at all; an empty device is any.
bool may_judge(const manifest::Criterion& criterion, std::string_view device) {
  if (criterion.basis == manifest::Basis::record_only) return false;
  const auto of = [&](std::string_view other) { return device.empty() || other.empty() || other == "any" || other == device; };
  if (!of(criterion.device)) return false;
  const auto common = common_metrics();
  if (std::any_of(common.begin(), common.end(), [&](const Metric& one) { return fits(one.id, criterion.metric); })) return true;
  const auto checks = all_checks();
  return std::any_of(checks.begin(), checks.end(), [&](const Check& check) {
    return of(check.device) && std::any_of(check.metrics.begin(), check.metrics.end(), [&](const Metric& one) { return fits(one.id, criterion.metric); });
  });
}

// A floor that no figure lies below: figures are counts, rates and shares. Temperatures may be negative.
bool is_never_missed(const manifest::Criterion& criterion) {
  return criterion.basis == manifest::Basis::nominal && criterion.direction == manifest::Direction::min && criterion.limit && *criterion.limit <= 0 &&
         criterion.unit != "c";
}

}  // namespace

const Metric* known_metric(std::string_view id) {
  const Metric* found = nullptr;
  for_each_metric([&](const Metric& one) {
    if (found == nullptr && fits(one.id, id)) found = &one;
  });
  return found;
}

std::vector<std::string> similar_metrics(std::string_view id) {
  std::vector<std::string> all;
  for_each_metric([&](const Metric& one) {   // several devices may tell it
    if (std::find(all.begin(), all.end(), one.id) == all.end()) all.emplace_back(one.id);
  });
  return nearest(std::string(id), all);
}

namespace {

void locate(Diagnostic& why, const SourceSpan& token, const manifest::Criterion& criterion) {
  const SourceSpan& span = token.line > 0 ? token : criterion.span;
  if (span.line > 0) why.span = span;
}

}  // namespace

Diagnostics check_metrics(const manifest::CriteriaSet& set) {
  Diagnostics found;
  for (const manifest::Criterion& criterion : set.criteria) {
    const Metric* metric = nullptr;
    bool right_unit = criterion.unit.empty();
    for_each_metric([&](const Metric& one) {   // several devices may tell it
      if (!fits(one.id, criterion.metric)) return;
      metric = &one;
      right_unit = right_unit || one.unit.empty() || one.unit == criterion.unit;
    });
    if (is_never_missed(criterion)) {
      Diagnostic why = make_diagnostic(code::criterion_never_missed,
                                       fmt::format("criterion {}: no figure lies below {}", one_line(criterion.id, 80), format_number(*criterion.limit)));
      locate(why, criterion.limit_span, criterion);
      found.push_back(std::move(why));
    }
    if (metric != nullptr && right_unit) continue;
    const std::string what = metric == nullptr ? fmt::format("no test of kfab yields {}", one_line(criterion.metric, 80))
                                               : fmt::format("{} is told in {}, not in {}", one_line(criterion.metric, 80), metric->unit, one_line(criterion.unit, 40));
    Diagnostic why = make_diagnostic(code::criterion_metric_unknown, fmt::format("criterion {}: {}", one_line(criterion.id, 80), what));
    locate(why, metric == nullptr ? criterion.metric_span : criterion.unit_span, criterion);
    if (metric == nullptr) why.suggestions = similar_metrics(criterion.metric);
    found.push_back(std::move(why));
  }
  return found;
}

Diagnostics check_judges(const manifest::CriteriaSet& set, const manifest::Profile* profile) {
  const std::string device = profile == nullptr ? std::string() : device_of(*profile);
  if (std::any_of(set.criteria.begin(), set.criteria.end(), [&](const manifest::Criterion& one) { return may_judge(one, device); })) return {};
  const std::string whom = profile == nullptr ? std::string("an accelerator") : fmt::format("an accelerator of profile {} (device {})", one_line(profile->name, 60), device);
  const std::string which = set.criteria.empty() ? std::string("hold no criterion that could judge") : std::string("hold none that can judge");
  Diagnostic why = make_diagnostic(code::criteria_judge_nothing, fmt::format("the criteria '{}' {} {}", one_line(set.name, 60), which, whom));
  // The set may be right for others: the mistake is where the profile names it.
  if (profile != nullptr && profile->criteria_span.line > 0) why.span = profile->criteria_span;
  else if (!set.criteria.empty() && set.criteria.front().span.line > 0) why.span = set.criteria.front().span;
  return {std::move(why)};
}

}  // namespace kfab::validation

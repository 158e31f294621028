#include "cli/man_checks.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/codes.hpp"
#include "base/fact_names.hpp"
#include "base/text.hpp"
#include "cli/scdoc.hpp"
#include "manifest/load.hpp"
#include "validation/catalogue.hpp"
#include "validation/derive.hpp"
#include "validation/fleet_relative.hpp"
#include "validation/judge.hpp"
#include "validation/xid.hpp"

namespace kfab::cli {
namespace {

using manifest::Basis;
using manifest::Criterion;
using manifest::Direction;
using validation::Level;

constexpr Level all_levels[] = {Level::quick, Level::standard, Level::soak};
constexpr std::string_view all_devices[] = {"cuda", "cpu", "vendor"};
constexpr int first_test_code = 4000, last_test_code = 4199;

std::string paragraph(std::string_view text) { return escape_line(text) + "\n\n"; }
std::string heading(std::string_view text) { return "## " + escape(text) + "\n\n"; }

std::string capitalised(std::string text) {
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 'a' + 'A');
  return text;
}

// How long a check takes at each level; what takes its time at all of them alike says it once.
std::string durations_of(const validation::Check& check) {
  std::string out;
  for (const Level level : all_levels) {
    const double seconds = validation::seconds_of(check, level, validation::soak_default_s);
    if (seconds <= 0) continue;
    const std::string time = level == Level::soak ? fmt::format("{} % of its time", format_number(100 * check.soak_share, 0)) : brief_duration_s(seconds);
    out += fmt::format("{}{} {}", out.empty() ? "" : ", ", to_string(level), time);
  }
  const std::string least = check.least_s > 0 ? fmt::format(" No --duration may leave it less than {}.", brief_duration_s(check.least_s)) : std::string();
  if (!out.empty()) return "Levels: " + out + "." + least;
  if (check.fixed_s > 0) return fmt::format("Levels: quick, standard and soak alike, about {}.", brief_duration_s(check.fixed_s));
  return "Levels: none.";
}

std::string metric_list(std::span<const validation::Metric> metrics) {
  std::string out;
  for (const auto& metric : metrics) out += definition(bold(metric.id) + (metric.unit.empty() ? "" : ", " + escape(metric.unit)), metric.means);
  return out;
}

// "at least 48 gbps", "0.68 of the nominal hbm_gbps or more", "at most 3 robust deviations below its peers".
std::string limit_text(const Criterion& criterion) {
  if (criterion.basis == Basis::record_only) return "recorded, not judged";
  const std::string_view word = criterion.direction == Direction::min ? "at least" : criterion.direction == Direction::max ? "at most" : "exactly";
  if (criterion.basis == Basis::fleet_relative) {
    const std::string_view side = criterion.direction == Direction::min ? "below" : criterion.direction == Direction::max ? "above" : "off";
    return fmt::format("at most {} robust deviations {} the median of its peers", format_number(criterion.limit.value_or(0)), side);
  }
  if (criterion.limit) return fmt::format("{} {}{}", word, format_number(*criterion.limit), criterion.unit == "count" ? "" : " " + criterion.unit);
  return fmt::format("{} {} of the nominal {}", word, format_number(criterion.factor), criterion.nominal_key);
}

std::string_view basis_text(Basis basis) {
  return basis == Basis::nominal ? "nominal" : basis == Basis::fleet_relative ? "fleet_relative" : "record_only";
}

std::string criterion_text(const Criterion& criterion) {
  std::string out = fmt::format("{} on {}, in {}: {} ({})", criterion.metric, criterion.device.empty() ? "any" : criterion.device, criterion.unit, limit_text(criterion), basis_text(criterion.basis));
  if (const auto* metric = validation::find_metric(criterion.metric, criterion.device.empty() ? "any" : criterion.device)) out += fmt::format(". Measured: {}", metric->means);
  if (criterion.basis != Basis::record_only)
    out += fmt::format(". Violated: {}. Missing: {}", to_string(criterion.on_violation), criterion.optional ? "does not count (skip)" : criterion.optional_if_unsupported ? "does not count where the accelerator has nothing of the kind (skip_unsupported), else not_judged" : to_string(criterion.on_missing));
  out += ". Source: " + criterion.source;
  if (!criterion.action.empty()) out += ". Then: " + criterion.action;
  return out;
}

bool same(const Criterion& a, const Criterion& b) {
  return a.id == b.id && a.metric == b.metric && a.device == b.device && a.unit == b.unit && a.direction == b.direction && a.basis == b.basis && a.limit == b.limit &&
         a.nominal_key == b.nominal_key && a.factor == b.factor && a.on_violation == b.on_violation && a.on_missing == b.on_missing && a.optional == b.optional && a.optional_if_unsupported == b.optional_if_unsupported &&
         a.source == b.source && a.action == b.action;
}

// What a set states itself, and what it leaves out of those that it extends.
struct Own { std::vector<Criterion> criteria; std::vector<std::string> without; };
Own own_of(const manifest::CriteriaSet& set) {
  std::vector<Criterion> taken;
  for (const auto& name : set.extends)
    if (const auto base = manifest::built_in_criteria(name)) taken.insert(taken.end(), base->criteria.begin(), base->criteria.end());
  Own out;
  for (const auto& criterion : set.criteria)
    if (std::none_of(taken.begin(), taken.end(), [&](const Criterion& other) { return same(criterion, other); })) out.criteria.push_back(criterion);
  for (const auto& criterion : taken)
    if (std::none_of(set.criteria.begin(), set.criteria.end(), [&](const Criterion& other) { return other.id == criterion.id; })) out.without.push_back(criterion.id);
  return out;
}

// "tflops, tops, gbps (low is bad), c, ns and us (high is bad)"
std::string units_of() {
  std::string low, high;
  for (const auto& row : validation::compared_units()) {
    std::string& list = row.good == Direction::min ? low : high;
    list += (list.empty() ? "" : ", ") + std::string(row.unit);
  }
  return fmt::format("{} (low is bad) and in {} (high is bad)", low, high);
}

}  // namespace

std::string level_table() {
  std::string out;
  for (const Level level : all_levels) {
    std::string text = fmt::format("at least {} samples of each figure{}; on one accelerator", validation::samples_of(level),
                                   level == Level::standard ? fmt::format(" ({} of copies on nodes of {} GPUs or more)", validation::samples_of_many, validation::many_gpus) : "");
    for (const std::string_view device : {"cuda", "cpu"}) {
      double seconds = 0;
      for (const auto& check : validation::all_checks())
        if (check.device == device) seconds += validation::seconds_of(check, level, validation::soak_default_s) + check.fixed_s;
      text += fmt::format("{} about {} of tests on {}", device == "cuda" ? "" : ",", brief_duration_s(seconds), device);
    }
    if (level == Level::soak) text += "; --duration says how long instead";
    out += definition(bold(to_string(level)), text);
  }
  return out;
}

std::string check_table() {
  std::string out;
  for (const auto& family : validation::all_families())
    for (const std::string_view device : all_devices)
      for (const auto& check : validation::all_checks()) {
        if (check.family != family || check.device != device) continue;
        out += heading(fmt::format("{} on {}", check.family, check.device));
        out += paragraph(fmt::format("{}. {}", capitalised(std::string(check.title)), durations_of(check)));
        out += paragraph(fmt::format("Not judged: {}.", check.not_judged));
        out += metric_list(check.metrics);
      }
  return out;
}

std::string common_metric_table() { return metric_list(validation::common_metrics()); }

std::string criteria_table() {
  std::string out;
  for (const auto& built_in : manifest::built_ins()) {
    if (built_in.kind != "Criteria") continue;
    const auto set = manifest::built_in_criteria(built_in.name);
    if (!set) continue;   // a test reads each of them
    out += heading(fmt::format("{}@{}", set->name, set->version)) + leading_comment(built_in.text) + "\n";
    const Own own = own_of(*set);
    if (!set->extends.empty())
      out += paragraph(fmt::format("Extends {}{}. With theirs these are {}.", join(set->extends, ", "), own.without.empty() ? "" : ", without " + join(own.without, ", "),
                                   plural(static_cast<long long>(set->criteria.size()), "criterion", "criteria")));
    for (const auto& criterion : own.criteria) out += definition(bold(criterion.id), criterion_text(criterion));
  }
  return out;
}

std::string xid_list() {
  std::string out = paragraph(fmt::format("Version {}. What an XID makes of its accelerator, by severity:", validation::xid_table_version()));
  for (const auto severity : validation::all_xid_severities)
    out += definition(bold(to_string(severity)), fmt::format("{} when it came during kfab's own tests, {} when it is older", to_string(validation::verdict_of(severity, true)),
                                                             to_string(validation::verdict_of(severity, false))));
  out += paragraph("A line that itself says fatal is a fail. An XID that the table does not know is degraded.");
  for (const auto& row : validation::xid_table()) {
    const std::string numbers = row.first == row.last ? std::to_string(row.first) : fmt::format("{} to {}", row.first, row.last);
    out += definition(bold("XID " + numbers) + ", " + escape(to_string(row.severity)), fmt::format("{}: {}", row.meaning, row.action));
  }
  return out;
}

std::string derived_floor_table() {
  std::string out = definition(bold("hbm_gbps"), "2 x memory clock x width of the memory bus / 8");
  std::string lanes;
  for (int generation = 1; validation::pcie_gbps(generation, 1); ++generation)
    lanes += fmt::format("{}{} GB/s of generation {}", lanes.empty() ? "" : ", ", format_number(*validation::pcie_gbps(generation, 1), 3), generation);
  out += definition(bold("pcie_gbps"), "lanes x " + lanes);
  out += definition(bold("<precision>_tflops") + ", " + bold("int8_tops"), "multiprocessors x highest clock x operations in one clock of one multiprocessor, by compute capability");
  for (const auto& row : validation::rate_table()) {
    std::string text;
    const auto say = [&](std::string_view name, double rate) {
      if (rate > 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, format_number(rate, 0));
    };
    say("fp64", row.fp64), say("fp32", row.fp32), say("tf32", row.tf32), say("bf16 and fp16", row.half), say("fp8", row.fp8), say("int8", row.int8);
    out += definition(bold(fmt::format("{}.{}", row.capability / 10, row.capability % 10)), text);
  }
  return out;
}

std::string peer_rules() {
  const double per_mad = validation::spread_of({0, 1});
  const double least_share = validation::spread_of({1, 0});
  return paragraph(fmt::format(
             "Peers are the accelerators of the same model under the same profile in one run. Of each figure the median and the median absolute deviation (MAD) are taken over all of "
             "them. One robust deviation is {} MAD, and at least {} of the median, so that three are at least {} %. An accelerator needs {} others beside it before it is compared: "
             "with fewer its criterion does not count where on_missing is skip, and is not_judged otherwise.",
             format_number(per_mad, 4), format_number(least_share, 4), format_number(300 * least_share, 1), validation::fewest_peers)) +
         paragraph(fmt::format(
             "Beside the criteria every figure in {} is looked at: an accelerator more than {} robust deviations to "
             "the bad side is an outlier. A slot, rack, tranche or node whose own median lies {} standard errors of a median and {} % off that of all is told, and so is one that "
             "has more of the outliers than chance would have it ({} % over all places of its kind). These are findings beside the verdict; the criteria of basis fleet_relative are "
             "part of it.",
             units_of(), format_number(validation::outlier_deviations, 0), format_number(validation::position_errors, 0), format_number(100 * validation::position_share, 1),
             format_number(100 * validation::telling_chance, 1)));
}

std::string test_code_table() {
  std::string out;
  for (const CodeInfo& row : all_codes()) {
    const int number = static_cast<int>(row.code);
    if (number < first_test_code || number > last_test_code) continue;
    out += definition(bold(to_string(row.code)), fmt::format("{}: {}", row.cause, row.next_step));
  }
  return out;
}

std::string fact_list() {
  std::string out;
  std::string_view section;
  for (const std::string_view name : fact_names()) {
    const auto of = name.substr(0, name.find('.'));
    out += fmt::format("{}{}", of == section ? ", " : section.empty() ? "" : "\n\n", slanted(name));
    section = of;
  }
  return out + "\n\n";
}

}  // namespace kfab::cli

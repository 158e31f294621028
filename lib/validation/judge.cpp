#include "validation/judge.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <unordered_map>

#include <fmt/format.h>

#include "base/codes/validation.hpp"
#include "base/text.hpp"
#include "validation/catalogue.hpp"
#include "validation/compare.hpp"
#include "validation/derive.hpp"
#include "validation/doubt.hpp"
#include "validation/known_metrics.hpp"
#include "validation/xid.hpp"

namespace kfab::validation {
namespace {

using manifest::Basis;
using manifest::Criterion;

// Of what a profile may pin, that which the accelerator itself tells.
constexpr std::string_view pinned_versions[] = {"driver", "vbios", "inforom", "gsp_firmware", "firmware"};

std::string joined_reason(const std::vector<std::string>& reasons) {
  if (reasons.empty()) return {};
  return reasons.size() == 1 ? reasons[0] : fmt::format("{} (and {} more)", reasons[0], reasons.size() - 1);
}

// What a burn-in shows of an accelerator only while it is loaded all the time: rates, means, and how much was filled in its time.
// A wrong bit, and whatever has a ceiling, counts at any load.
bool at_steady_load_only(std::string_view metric) {
  if (family_of(metric) != "burnin" || metric.rfind("burnin.load.", 0) == 0) return false;
  for (const std::string_view end : {".tflops", ".tops", "_tflops", "_tops", "own_to_cublaslt", "coverage", "energy_j_per_tflop", ".power_w", ".power_of_limit_pct", ".sm_clock_mhz"})
    if (metric.ends_with(end)) return true;
  return false;
}

// Rates of copies between host and accelerator.
bool of_host_copies(const Criterion& criterion) {
  return family_of(criterion.metric) == "bandwidth" && criterion.metric.find("host") != std::string::npos && criterion.metric.ends_with("_gbps");
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
  Judge(const JudgeInput& input, const TestReport& report) : input_(input), report_(report), doubts_(report) {
    for (const auto& m : report.measurements) {
      const std::string of = m.accelerator + '\n' + m.device;
      figures_[of].push_back(&m);
      by_metric_[of + '\n' + m.metric].push_back(&m);
    }
  }

  NodeJudgement run() {
    Findings node;
    inventory(node);
    if (report_.truncated) node.add(Verdict::not_judged, "the node sent more than kfab accepts, so the report is incomplete");
    if (!report_.refused.empty())   // it may have been what would fail it
      node.add(Verdict::not_judged, fmt::format("the node told something that cannot be taken, so the report is incomplete: {} ({})", report_.refused.front().message,
                                                kfab::to_string(code::measurement_refused)));
    out_.of_node = Findings(node).reasons();
    if (node.any()) out_.of_node_verdict = node.verdict();
    for (const auto& accelerator : report_.accelerators) {
      if (accelerator.device != input_.device) continue;
      auto verdict = judge_accelerator(accelerator);
      for (const auto& reason : verdict.reasons) node.add(verdict.verdict, report_.accelerators.size() > 1 ? fmt::format("{} {}: {}", accelerator.device, accelerator.index, reason) : reason);
      if (verdict.reasons.empty()) node.add(verdict.verdict, {});
      out_.accelerators.push_back(std::move(verdict));
    }
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
    // Counters move under tests: where none ran there is no movement to ask for.
    if (metric.rfind("counters.", 0) == 0)
      return std::any_of(input_.families.begin(), input_.families.end(), [](const auto& f) { return f != "health"; });
    // The link is looked at where something is copied over it.
    if (metric.rfind("pcie.", 0) == 0)
      return std::any_of(input_.families.begin(), input_.families.end(), [](const auto& f) { return f == "health" || f == "bandwidth"; });
    return family.empty() || std::find(input_.families.begin(), input_.families.end(), family) != input_.families.end();
  }

  bool arose_in_run(const Accelerator& accelerator, const std::string& metric) const {
    const auto& told = figures_of(accelerator.id, accelerator.device, metric);
    return std::any_of(told.begin(), told.end(), [](const auto* m) { return arose_under_load(*m); });
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
      // What kfab has no kernel for is its own lack: recorded, so that nobody takes it for tested.
      if (status.state == TestState::not_run && status.code == kfab::to_string(code::no_kernel_for_chip)) record_untested(status, words);
      else if (status.state == TestState::not_run && status.code != kfab::to_string(code::not_supported_by_accelerator) && !by_peer(status)) findings.add(Verdict::not_judged, words);
    }

    // Counted is as good as shown: a wrong bit fails whether a criterion asks for it or not.
    for (const auto* m : figures_of(accelerator.id, accelerator.device))
      if (counts_wrong_bits(m->metric) && m->value.value_or(0) > 0 && !wrong_tests.contains(m->test))
        findings.add(Verdict::fail, fmt::format("{}: {} wrong {} ({})", m->metric, format_number(*m->value), *m->value == 1 ? "value" : "values", kfab::to_string(code::wrong_bits)));

    load_followed(accelerator, findings);
    kernel_events(accelerator, findings);
    if (in_run("health.")) versions(accelerator, findings);
    peers_ = input_.peers;
    if (input_.peers_by_model) {
      const auto of_model = input_.peers_by_model->find(accelerator.model);
      peers_ = of_model == input_.peers_by_model->end() ? nullptr : of_model->second;
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

  // A link that could not be measured because the GPU at its other end is ill is that one's finding, as long as its own tests show it.
  bool by_peer(const TestStatus& of) const {
    if (of.code != kfab::to_string(code::peer_failed)) return false;
    return std::any_of(report_.statuses.begin(), report_.statuses.end(), [&](const auto& status) {
      return status.accelerator != of.accelerator && !status.accelerator.empty() && of.reason.find(status.accelerator) != std::string::npos && status.state != TestState::ran &&
             status.code != of.code && status.code != kfab::to_string(code::not_supported_by_accelerator);
    });
  }

  void record_untested(const TestStatus& status, const std::string& words) {
    CriterionVerdict one;
    one.criterion = "untested";
    one.metric = fmt::format("burnin.{}.mismatches", status.test);
    one.unit = "count";
    one.test = status.test;
    one.accelerator = status.accelerator;
    one.device = status.device;
    one.counts = false;
    one.reason = words;
    out_.criteria.push_back(std::move(one));
  }

  bool has_criterion(std::string_view metric) const {
    return input_.criteria && std::any_of(input_.criteria->criteria.begin(), input_.criteria->criteria.end(), [&](const auto& c) { return c.metric == metric; });
  }

  // What the kernel's log said, by the table of XIDs; a criterion of its own on a number takes the table's place. Where nobody
  // may read the log, that is said and not passed over.
  void kernel_events(const Accelerator& accelerator, Findings& findings) {
    for (const auto* figure : figures_of(accelerator.id, accelerator.device)) {
      const Measurement& m = *figure;
      if (m.metric == "counters.xids" && !m.value && !has_criterion(m.metric))
        findings.add(Verdict::not_judged, fmt::format("XIDs during {} are not known: {}", m.test, m.detail));
      if (!m.value || *m.value <= 0 || has_criterion(m.metric)) continue;
      const auto event = judge_kernel_event(m.metric, m.test != "health", m.detail.rfind("fatal, ", 0) == 0);
      if (event) findings.add(event->verdict, fmt::format("{}{}; {} ({})", event->words, *m.value > 1 ? fmt::format(", {} times", format_number(*m.value)) : std::string(), event->action, m.detail));
    }
  }

  // What the profile pins and the accelerator tells of itself: exactly that, and no other.
  void versions(const Accelerator& accelerator, Findings& findings) {
    if (!input_.profile) return;
    for (const std::string_view key : pinned_versions) {
      const auto pin = input_.profile->pins.find(std::string(key));
      if (pin == input_.profile->pins.end()) continue;
      const auto found = accelerator.versions.find(std::string(key));
      if (found == accelerator.versions.end()) findings.add(Verdict::not_judged, fmt::format("{} is pinned to {}, and the accelerator does not tell its own", key, pin->second));
      else if (found->second != pin->second) findings.add(Verdict::fail, fmt::format("{} {} is not the pinned {}", key, found->second, pin->second));
    }
  }

  // One verdict for each figure of that metric (links have one each), or one about its absence.
  std::vector<CriterionVerdict> judge_criterion(const Criterion& criterion, const Accelerator& accelerator) {
    CriterionVerdict base;
    base.criterion = criterion.id;
    base.metric = criterion.metric;
    base.unit = criterion.unit;
    base.accelerator = accelerator.id;
    base.device = accelerator.device;
    std::string derived;
    base.limit = limit_of(criterion, accelerator, derived);
    base.direction = criterion.direction;
    base.beside_peers = criterion.basis == Basis::fleet_relative;
    if (criterion.device != "any" && !criterion.device.empty() && criterion.device != accelerator.device) return {};   // never compared
    if (!in_run(criterion.metric) && !arose_in_run(accelerator, criterion.metric)) {
      base.counts = false;
      base.reason = fmt::format("{} is not part of this run", criterion.metric);
      return {base};
    }
    base.counts = criterion.basis != Basis::record_only;

    std::vector<CriterionVerdict> out;
    std::vector<const Measurement*> without;   // those that came without a value
    std::set<std::string_view> tests;
    const std::string shaped = at_steady_load_only(criterion.metric) ? shaped_load(accelerator) : std::string();
    const bool encrypted = of_host_copies(criterion) && confidential(accelerator);
    for (const auto* figure : figures_of(accelerator.id, accelerator.device, criterion.metric)) {
      const Measurement& measurement = *figure;
      tests.insert(measurement.test);
      if (!measurement.value) {
        without.push_back(figure);
        continue;
      }
      CriterionVerdict one = base;
      one.test = measurement.test;
      one.link = measurement.link;
      one.value = measurement.value;
      if (encrypted) {
        one.reason = fmt::format("{} is not judged: confidential computing is on ({}, criterion {})", criterion.metric, kfab::to_string(code::confidential_computing_on), criterion.id);
      } else if (shaped.empty()) {
        compare(criterion, measurement, criterion.basis == Basis::record_only ? std::string() : doubts_.about(measurement), peers_, one);
      } else {
        one.counts = false;
        one.reason = fmt::format("{} is not judged: it is meant for a steady load, and this one was {} (criterion {})", criterion.metric, shaped, criterion.id);
      }
      if (!derived.empty() && !one.reason.empty()) one.reason += "; its limit: " + derived;
      out.push_back(std::move(one));
    }
    const auto missing = [&](const std::string& test, const std::string& link, const std::string& why) {
      CriterionVerdict one = base;
      one.test = test;
      one.link = link;
      one.verdict = criterion.basis == Basis::record_only ? Verdict::not_judged : criterion.on_missing;
      one.reason = fmt::format("{} was not measured{} (criterion {})", link.empty() ? criterion.metric : criterion.metric + " " + link, why.empty() ? "" : ": " + why, criterion.id);
      out.push_back(std::move(one));
    };
    if (out.empty()) {
      // What no test ever yields is not skipped: it would be a criterion that cannot be missed.
      const bool skipped = criterion.optional || !shaped.empty() || (criterion.optional_if_unsupported && unsupported(criterion.metric, accelerator, without));
      if (skipped && known_metric(criterion.metric) != nullptr) base.counts = false;
      missing({}, {}, without.empty() ? std::string() : without.back()->detail);
      return out;
    }
    // What was measured of one link, or during one family's tests, says nothing of another one; and where there is a figure of
    // one, none of another is a gap, also where the criterion may be skipped.
    std::set<std::pair<std::string_view, std::string_view>> told;
    for (const auto* gap : without)
      if (told.emplace(gap->test, gap->link).second) missing(gap->test, gap->link, (gap->test.empty() ? "" : gap->test + ": ") + gap->detail);
    if (criterion.metric.rfind("counters.", 0) == 0)
      for (const auto& family : input_.families)
        if (family != "health" && !tests.contains(family)) missing(family, {}, fmt::format("nothing is told of the tests of family {}", family));
    return out;
  }

  // Whether the accelerator says that it has nothing of the kind: of arithmetic that its burn-in in it is not supported, where its
  // compute capability bears that out, for a GPU whose bf16 is gone may say so as well; of any other figure that each of its
  // readings is not supported.
  bool unsupported(std::string_view metric, const Accelerator& accelerator, const std::vector<const Measurement*>& without) const {
    struct Arithmetic { std::string_view test; int least_capability; };
    static constexpr Arithmetic arithmetic[] = {{"gemm_fp8", 89}, {"gemm_fp8_e5m2", 89}, {"gemm_bf16", 80}, {"gemm_tf32", 80}};
    const std::string code(kfab::to_string(kfab::code::not_supported_by_accelerator));
    if (metric.starts_with("burnin.gemm_")) {
      const std::string_view test = metric.substr(7, metric.find('.', 7) - 7);
      const auto row = std::find_if(std::begin(arithmetic), std::end(arithmetic), [&](const auto& one) { return one.test == test; });
      if (row == std::end(arithmetic) || accelerator.capability == 0 || accelerator.capability >= row->least_capability) return false;
      return std::any_of(report_.statuses.begin(), report_.statuses.end(), [&](const auto& status) {
        return status.accelerator == accelerator.id && status.device == accelerator.device && status.test == test && status.state == TestState::not_run && status.code == code;
      });
    }
    return !without.empty() && std::all_of(without.begin(), without.end(), [&](const auto* gap) { return gap->detail.find("(" + code + ")") != std::string::npos; });
  }

  // Where the profile states no such figure, it follows from what the accelerator says of itself; `how` says so.
  std::optional<double> limit_of(const Criterion& criterion, const Accelerator& accelerator, std::string& how) {
    if (criterion.basis == Basis::record_only) return std::nullopt;
    if (criterion.limit) return criterion.limit;
    if (criterion.nominal_key.empty()) return std::nullopt;
    const auto stated = input_.profile ? manifest::figure_of(*input_.profile, criterion.nominal_key) : std::nullopt;
    if (stated && std::isfinite(*stated)) return *stated * criterion.factor;
    auto derived_of = derived_.find(accelerator.id);
    if (derived_of == derived_.end()) derived_of = derived_.emplace(accelerator.id, derived_figures(report_, accelerator)).first;
    const auto& derived = derived_of->second;
    const auto found = derived.find(criterion.nominal_key);
    if (found == derived.end()) return std::nullopt;
    how = fmt::format("{} of {} = {}", format_number(criterion.factor), format_number(found->second.value, 1), found->second.how);
    return found->second.value * criterion.factor;
  }

  // On, and the criteria are not those of a site that has it on: theirs say nothing of it, or ask for it.
  bool confidential(const Accelerator& accelerator) const {
    const auto& told = figures_of(accelerator.id, accelerator.device, "health.confidential_computing");
    if (std::none_of(told.begin(), told.end(), [](const auto* m) { return m->value.value_or(0) > 0; })) return false;
    return input_.criteria && std::any_of(input_.criteria->criteria.begin(), input_.criteria->criteria.end(), [](const auto& c) { return c.metric == "health.confidential_computing" && c.limit == 0.0; });
  }

  // What load the burn-in put on the accelerator when it was not a steady one, in its own words; empty for a steady one.
  std::string shaped_load(const Accelerator& accelerator) const {
    for (const auto* m : figures_of(accelerator.id, accelerator.device, "burnin.load.asked_pct"))
      if (m->value && *m->value < 100) return m->detail.empty() ? std::string("none") : m->detail;
    return {};
  }

  // Steps and pulses are what such a burn-in is for: where they did not come out, it has shown nothing.
  void load_followed(const Accelerator& accelerator, Findings& findings) const {
    constexpr double most_off_pct = 15;   // a product is not cut in two, and a busy node is late
    const std::string shaped = shaped_load(accelerator);
    if (shaped.empty()) return;
    const Measurement *off = nullptr, *worked = nullptr;
    for (const auto* m : figures_of(accelerator.id, accelerator.device, "burnin.load.off_pct")) off = m;
    for (const auto* m : figures_of(accelerator.id, accelerator.device, "burnin.load.worked_pct")) worked = m;
    if (off && off->value && *off->value <= most_off_pct) return;
    findings.add(Verdict::not_judged, worked && worked->value ? fmt::format("the load was to be {}, and it worked {} % {} ({})", shaped, format_number(*worked->value, 1), worked->detail, kfab::to_string(code::load_not_followed))
                                                              : fmt::format("the load was to be {}, and nobody knows what it was ({})", shaped, kfab::to_string(code::load_not_followed)));
  }

  using Figures = std::unordered_map<std::string, std::vector<const Measurement*>>;
  static const std::vector<const Measurement*>& in(const Figures& figures, const std::string& key) {
    static const std::vector<const Measurement*> none;
    const auto found = figures.find(key);
    return found == figures.end() ? none : found->second;
  }
  const std::vector<const Measurement*>& figures_of(const std::string& accelerator, const std::string& device) const { return in(figures_, accelerator + '\n' + device); }
  const std::vector<const Measurement*>& figures_of(const std::string& accelerator, const std::string& device, const std::string& metric) const {
    return in(by_metric_, accelerator + '\n' + device + '\n' + metric);
  }

  const JudgeInput& input_;
  const TestReport& report_;
  Doubts doubts_;
  Figures figures_, by_metric_;                                           // by accelerator and device; and by these and the metric
  std::map<std::string, std::map<std::string, DerivedFigure>> derived_;   // by accelerator: of each once
  const Peers* peers_ = nullptr;                                          // of the accelerator that is being judged
  NodeJudgement out_;
};

}  // namespace

std::string AcceleratorVerdict::reason() const { return joined_reason(reasons); }
std::string NodeJudgement::reason() const { return joined_reason(reasons); }

NodeJudgement judge(const JudgeInput& input, const TestReport& report) { return Judge(input, report).run(); }

}  // namespace kfab::validation

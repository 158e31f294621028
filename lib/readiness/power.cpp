#include "readiness/power.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/text.hpp"
#include "readiness/words.hpp"

namespace kfab::readiness {
namespace {

// What is compared with an envelope, within the rounding of the figures as people write them.
constexpr double rounding = 1e-9;
bool exceeds(double load_kw, double envelope_kw) { return load_kw > envelope_kw * (1 + rounding); }

std::int64_t whole(double value) { return static_cast<std::int64_t>(std::floor(value + rounding)); }

std::optional<double> rated_power_w(const manifest::Profile& profile) {
  for (const char* key : {"tdp_w", "power_w"})
    if (const auto found = profile.nominal.find(key); found != profile.nominal.end()) return found->second;
  for (const auto& fact : profile.facts)
    if (fact.id == "accelerator-power" && fact.unit == "w") return fact.value;
  return std::nullopt;
}

class PowerJudge {
 public:
  explicit PowerJudge(const PowerInput& input) : in_(input), power_(*input.power) {}

  PowerFinding run() {
    read_envelope();
    read_load();
    compare();
    what_would_fit();
    measured();
    decide();
    return std::move(out_);
  }

 private:
  void read_envelope() {
    auto& s = out_.status;
    s.cumulative = power_.cumulative;
    s.pue = power_.pue.get();
    s.overhead_fraction = power_.overhead_fraction.get();
    s.supply = power_.supply;
    if (power_.available_from.known()) s.available_from = to_string(*power_.available_from);
    if (power_.facility_kw.known()) {
      s.envelope_kw = *power_.facility_kw;
      s.envelope_at = "facility";
      if (s.pue && *s.pue > 0) s.it_envelope_kw = *power_.facility_kw / *s.pue;
    }
    if (power_.it_kw.known()) {
      if (!s.envelope_kw) {
        s.envelope_kw = *power_.it_kw;
        s.envelope_at = "it";
      }
      s.it_envelope_kw = std::min(*power_.it_kw, s.it_envelope_kw.value_or(*power_.it_kw));
    }
    out_.applies = s.envelope_kw.has_value() || power_.facility_kw.unknown() || power_.it_kw.unknown() ||
                   power_.rack_cap_kw.known();
    // The most that can be there for IT, whatever the PUE is: it is never below 1.
    if (s.envelope_kw) it_at_most_ = s.it_envelope_kw.value_or(*s.envelope_kw);
  }

  void read_load() {
    auto& s = out_.status;
    if (!in_.load_known) return;
    std::int64_t nodes = 0, accelerators = 0;
    double nameplate = 0;
    bool accelerators_counted = true, nodes_counted = true;
    for (const auto& load : in_.loads) {
      nodes += load.nodes;
      nodes_counted = nodes_counted && load.nodes_known;
      if (load.accelerators) accelerators += *load.accelerators;
      else if (load.profile && load.profile->per_node.known()) accelerators += load.nodes * *load.profile->per_node;
      else accelerators_counted = false;
      if (load.profile && load.nodes_known && load.profile->nameplate_kw.known()) nameplate += static_cast<double>(load.nodes) * *load.profile->nameplate_kw;
      else if (load.nodes > 0 || !load.nodes_known) without_nameplate_.push_back(load.profile_name.empty() ? "a chip that nobody has named" : load.profile_name);
    }
    if (nodes_counted) s.planned_nodes = nodes;
    if (accelerators_counted) s.planned_accelerators = accelerators;
    if (without_nameplate_.empty()) {
      s.nameplate_kw = nameplate;
      s.needed_it_kw = nameplate * (1 + s.overhead_fraction.value_or(0));
      if (s.pue) s.facility_needed_kw = *s.needed_it_kw * *s.pue;
    }
  }

  void compare() {
    auto& s = out_.status;
    if (!s.envelope_kw || !s.needed_it_kw) return;
    if (s.it_envelope_kw && *s.it_envelope_kw > 0) s.headroom_pct = (1 - *s.needed_it_kw / *s.it_envelope_kw) * 100;
    else if (*s.envelope_kw > 0 && exceeds(*s.needed_it_kw, *s.envelope_kw)) s.headroom_pct = (1 - *s.needed_it_kw / *s.envelope_kw) * 100;
  }

  void what_would_fit() {
    auto& s = out_.status;
    const double overhead = 1 + s.overhead_fraction.value_or(0);
    if (s.planned_accelerators && *s.planned_accelerators > 0) {
      const auto count = static_cast<double>(*s.planned_accelerators);
      if (s.nameplate_kw) s.nameplate_w_per_accelerator = *s.nameplate_kw / count * 1000;
      if (it_at_most_) s.fitting_w_per_accelerator = *it_at_most_ / overhead / count * 1000;
      if (s.envelope_kw && s.envelope_at == "facility") s.facility_kw_per_accelerator = *s.envelope_kw / count;
    }
    s.fitting_is_upper_bound = it_at_most_ && (!s.it_envelope_kw || !s.overhead_fraction);
    if (in_.loads.size() == 1 && s.nameplate_w_per_accelerator && s.fitting_w_per_accelerator)
      if (const auto rated = rated_power_w(*in_.loads.front().profile)) {
        const double cap = *s.fitting_w_per_accelerator - (*s.nameplate_w_per_accelerator - *rated);
        if (cap > 0 && cap < *rated) s.fitting_cap_w = cap;
      }
    if (!it_at_most_) return;
    for (const auto* profile : in_.profiles) {
      if (!profile || !profile->nameplate_kw.known() || *profile->nameplate_kw <= 0) continue;
      PowerCapacity capacity;
      capacity.profile = profile->name;
      capacity.nodes = whole(*it_at_most_ / overhead / *profile->nameplate_kw);
      if (profile->per_node.known()) capacity.accelerators = capacity.nodes * *profile->per_node;
      capacity.basis = basis();
      s.capacity.push_back(std::move(capacity));
    }
    const auto* only = in_.loads.size() == 1 ? in_.loads.front().profile : nullptr;
    if (in_.loads.empty() && in_.profiles.size() == 1) only = in_.profiles.front();
    if (!only || !only->nameplate_kw.known() || *only->nameplate_kw <= 0) return;
    s.max_nodes_at_nameplate = whole(*it_at_most_ / overhead / *only->nameplate_kw);
    if (s.planned_nodes) s.max_concurrent_burnin_nodes = std::min(*s.planned_nodes, *s.max_nodes_at_nameplate);
  }

  std::string basis() const {
    const auto& s = out_.status;
    std::string text;
    if (s.envelope_at == "facility") text = s.pue ? "PUE " + format_number(*s.pue) : "at most: the PUE is not stated, 1 is taken";
    return join_sentences(text, s.overhead_fraction ? "overhead " + percent_text(*s.overhead_fraction * 100) : "no overhead stated");
  }

  void measured() {
    auto& s = out_.status;
    s.measured_kw = in_.measured_kw;
    s.measured_accelerators_kw = in_.measured_accelerators_kw;
    s.measured_nodes = in_.measured_nodes;
    if (in_.measured_kw && in_.measured_nodes > 0 && s.planned_nodes)
      s.projected_kw = *in_.measured_kw / static_cast<double>(in_.measured_nodes) * static_cast<double>(*s.planned_nodes);
  }

  void say(Verdict verdict, std::string detail) {
    out_.verdict = verdict;
    out_.detail = std::move(detail);
  }

  // "7,500 nodes of dgx-b200 need 107.25 MW of IT load at nameplate (14.3 kW each)"
  std::string load_text() const {
    const auto& s = out_.status;
    std::string what = count_text(*s.planned_nodes, "node");
    if (in_.loads.size() == 1) what += fmt::format(" of {}", in_.loads.front().profile_name);
    std::string text = fmt::format("{} {} {} of IT load at nameplate", what, *s.planned_nodes == 1 ? "needs" : "need", power_text(*s.nameplate_kw));
    if (in_.loads.size() == 1) text += fmt::format(" ({} each)", power_text(*in_.loads.front().profile->nameplate_kw));
    return text;
  }

  std::string envelope_text() const {
    const auto& s = out_.status;
    return fmt::format("{} {}{}", power_text(*s.envelope_kw), s.envelope_at == "facility" ? "at the meter" : "of IT load",
                       s.cumulative ? ", this tranche and those before it together" : "");
  }

  std::string fitting_text() const {
    const auto& s = out_.status;
    if (!s.fitting_w_per_accelerator || !s.nameplate_w_per_accelerator) return {};
    std::string text = fmt::format("they would fit at {}{} W per accelerator, its share of the node counted in (nameplate {} W)",
                                   s.fitting_is_upper_bound ? "no more than " : "", format_number(*s.fitting_w_per_accelerator, 0),
                                   format_number(*s.nameplate_w_per_accelerator, 0));
    if (s.fitting_cap_w) text += fmt::format(", that is, with accelerators capped at {} W", format_number(*s.fitting_cap_w, 0));
    if (s.max_nodes_at_nameplate)
      text += fmt::format("; at nameplate the envelope holds {}{}", s.fitting_is_upper_bound ? "at most " : "", count_text(*s.max_nodes_at_nameplate, "node"));
    return text;
  }

  void decide() {
    const auto& s = out_.status;
    if (decide_by_measurement() || decide_by_racks()) return;
    if (!s.envelope_kw) return say(Verdict::not_judged, power_.rack_cap_kw.known() ? "rack caps hold; how much power there is in all is not stated"
                                                                                    : "how much power there is, nobody has said");
    if (!without_nameplate_.empty()) return say(Verdict::not_judged, no_nameplate_text());
    if (!in_.load_known || !s.planned_nodes || *s.planned_nodes == 0) return say(Verdict::not_judged, no_load_text());
    if (exceeds(*s.needed_it_kw, *it_at_most_)) return say(Verdict::fail, join_sentences(excess_text(), fitting_text()));
    decide_by_what_is_not_stated();
  }

  bool decide_by_measurement() {
    const auto& s = out_.status;
    if (!it_at_most_) return false;
    const double scale = s.projected_kw.value_or(0);
    if (s.measured_kw && exceeds(*s.measured_kw, *it_at_most_)) {
      say(Verdict::fail, fmt::format("{} drew {} when measured; the envelope is {}", count_text(s.measured_nodes, "node"), power_text(*s.measured_kw), envelope_text()));
      return true;
    }
    if (s.measured_accelerators_kw && exceeds(*s.measured_accelerators_kw, *it_at_most_)) {
      say(Verdict::fail, fmt::format("the accelerators alone drew {} when measured; the envelope is {}", power_text(*s.measured_accelerators_kw), envelope_text()));
      return true;
    }
    if (exceeds(scale, *it_at_most_)) {
      say(Verdict::fail, fmt::format("{} drew {} when measured, which makes {} for all {}; the envelope is {}", count_text(s.measured_nodes, "node"),
                                     power_text(*s.measured_kw), power_text(scale), count_text(*s.planned_nodes, "node"), envelope_text()));
      return true;
    }
    return false;
  }

  bool decide_by_racks() {
    if (in_.rack_excess.empty()) return false;
    const auto& worst = *std::max_element(in_.rack_excess.begin(), in_.rack_excess.end(),
                                          [](const RackExcess& a, const RackExcess& b) { return a.needed_kw < b.needed_kw; });
    say(Verdict::fail, fmt::format("{} of {} hold more than their cap of {} at nameplate; rack {} has {} that need {}",
                                   with_thousands(static_cast<long long>(in_.rack_excess.size())), count_text(in_.racks, "rack"),
                                   power_text(*power_.rack_cap_kw), one_line(worst.rack, 40), count_text(worst.nodes, "node"), power_text(worst.needed_kw)));
    return true;
  }

  std::string no_nameplate_text() const {
    const auto& s = out_.status;
    std::string text = fmt::format("the nameplate power of {} is not stated; the envelope is {}", join(without_nameplate_, ", "), envelope_text());
    if (s.facility_kw_per_accelerator)
      text += fmt::format(", {} kW for each of the {}", format_number(*s.facility_kw_per_accelerator, 3), count_text(*s.planned_accelerators, "accelerator"));
    return text + capacity_text();
  }

  std::string no_load_text() const {
    return "neither a number of accelerators nor nodes are stated, so there is no load to hold against the envelope of " + envelope_text() + capacity_text();
  }

  std::string capacity_text() const {
    std::string text;
    for (const auto& capacity : out_.status.capacity)
      text += fmt::format("; it would hold {}{} of {}{} ({})", out_.status.fitting_is_upper_bound ? "at most " : "", count_text(capacity.nodes, "node"), capacity.profile,
                          capacity.accelerators ? ", " + count_text(*capacity.accelerators, "accelerator") : "", capacity.basis);
    return text;
  }

  std::string excess_text() const {
    const auto& s = out_.status;
    const double over_pct = (*s.needed_it_kw / *it_at_most_ - 1) * 100;
    const double bare_pct = (*s.nameplate_kw / *s.envelope_kw - 1) * 100;
    std::string text = fmt::format("{}, and the envelope is {}", load_text(), envelope_text());
    if (bare_pct > 0) text += fmt::format(": {} over before cooling and other loads", percent_text(bare_pct));
    std::string with;
    if (s.pue && s.envelope_at == "facility") with = "a PUE of " + format_number(*s.pue);
    if (s.overhead_fraction) with += (with.empty() ? "" : " and ") + percent_text(*s.overhead_fraction * 100) + " of other IT load";
    if (with.empty()) return text;
    const bool at_meter = s.facility_needed_kw && s.envelope_at == "facility";
    text += fmt::format("; with {} they need {}, {} over", with, at_meter ? power_text(*s.facility_needed_kw) + " at the meter" : power_text(*s.needed_it_kw) + " of IT load", percent_text(over_pct));
    return text;
  }

  void decide_by_what_is_not_stated() {
    const auto& s = out_.status;
    const std::string fits = fmt::format("{}; the envelope is {}", load_text(), envelope_text());
    if (s.envelope_at == "facility" && !s.it_envelope_kw)
      return say(Verdict::not_judged, fmt::format("{}; the PUE is not stated, and they fit only if it is at most {}", fits, format_number(*s.envelope_kw / *s.needed_it_kw)));
    if (power_.overhead_fraction.unknown())
      return say(Verdict::not_judged, fmt::format("{}; the overhead is not known, and they fit only if it is at most {}", fits,
                                                  percent_text((*s.it_envelope_kw / *s.nameplate_kw - 1) * 100)));
    if (!in_.load_missing_of.empty())
      return say(Verdict::not_judged, fmt::format("{}; what {} adds is not stated", fits, join(in_.load_missing_of, ", ")));
    if (power_.available_from.known() && in_.today < *power_.available_from)
      return say(Verdict::not_judged, fmt::format("{}; it is available only from {}", fits, s.available_from));
    if (power_.available_from.unknown())
      return say(Verdict::not_judged, fits + "; from when it is available, nobody has said");
    std::string text = fmt::format("{} ({}): {} left", fits, basis(), percent_text(s.headroom_pct.value_or(0)));
    text += s.measured_kw ? fmt::format("; {} were measured at {}", count_text(s.measured_nodes, "node"), power_text(*s.measured_kw)) : "; not measured yet";
    say(Verdict::pass, text);
  }

  const PowerInput& in_;
  const manifest::Power& power_;
  PowerFinding out_;
  std::optional<double> it_at_most_;
  std::vector<std::string> without_nameplate_;
};

}  // namespace

PowerFinding judge_power(const PowerInput& input) { return PowerJudge(input).run(); }

}  // namespace kfab::readiness

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/words.hpp"
#include "manifest/model.hpp"

// Does what is planned fit the power that is declared? On paper at nameplate, and by measurement where there is one.
namespace kfab::readiness {

// Nodes of one profile that draw on an envelope. `profile` may be null: then nothing is known about their load.
struct PowerLoad {
  const manifest::Profile* profile = nullptr;
  std::string profile_name;
  std::int64_t nodes = 0;
  bool nodes_known = true;                           // false: only accelerators are stated, of a chip not known
  std::optional<std::int64_t> accelerators;          // where stated; else nodes x per_node
};

// What an envelope holds of one profile at nameplate.
struct PowerCapacity {
  std::string profile;
  std::int64_t nodes = 0;
  std::optional<std::int64_t> accelerators;
  std::string basis;                       // "PUE 1.25, overhead 10 %", or what was taken because it is not stated
};

// The three keys that every tranche has (envelope, nameplate, measured) and how they came about. Absent is not known,
// never zero. "IT" is at the racks, "facility" at the meter.
struct PowerStatus {
  std::optional<double> envelope_kw;       // facility_kw where stated, else it_kw
  std::string envelope_at;                 // facility | it | "" (none)
  bool cumulative = false;                 // the envelope and the load are those of this tranche and all before it
  std::optional<double> nameplate_kw;      // IT load of all planned nodes at their rated maximum, without overhead
  std::optional<double> measured_kw;       // node power, summed over the nodes that have a figure
  std::optional<double> it_envelope_kw;    // at the racks: it_kw, or facility_kw / PUE
  std::optional<double> needed_it_kw;      // nameplate and the stated overhead
  std::optional<double> facility_needed_kw;  // needed_it_kw x PUE; absent when the PUE is not stated
  std::optional<double> pue, overhead_fraction;
  std::optional<double> headroom_pct;      // what is left of the envelope; negative when it does not fit
  std::optional<double> facility_kw_per_accelerator;   // envelope / planned accelerators
  // The share of a node's power per accelerator at nameplate, and the one at which all planned nodes would just fit.
  std::optional<double> nameplate_w_per_accelerator, fitting_w_per_accelerator;
  // The power limit of one accelerator at which they fit, where the profile tells its rated power (nominal
  // `tdp_w` or `power_w`, or a fact `accelerator-power` in w): the rest of the node is taken at its rated maximum.
  std::optional<double> fitting_cap_w;
  bool fitting_is_upper_bound = false;     // PUE or overhead are not stated, so that it may be less
  std::optional<std::int64_t> planned_nodes, planned_accelerators;
  std::optional<std::int64_t> max_nodes_at_nameplate;        // one profile only
  std::optional<std::int64_t> max_concurrent_burnin_nodes;   // that may run at full load at once
  std::int64_t measured_nodes = 0;
  std::optional<double> measured_accelerators_kw;   // sum of the accelerators' own sensors; a part of the IT load
  std::optional<double> projected_kw;      // measured_kw scaled to all planned nodes
  std::vector<PowerCapacity> capacity;     // per profile of the document: what the envelope would hold of it alone
  std::string supply, available_from;
};

// Racks that hold more than their cap allows.
struct RackExcess { std::string rack; std::int64_t nodes = 0; double needed_kw = 0; };

struct PowerInput {
  const manifest::Power* power = nullptr;
  std::vector<PowerLoad> loads;
  bool load_known = true;                  // false: no target and no node, so there is nothing to hold against it
  std::vector<std::string> load_missing_of;          // tranches on this envelope whose size nobody states
  std::vector<const manifest::Profile*> profiles;   // for `capacity`
  std::optional<double> measured_kw, measured_accelerators_kw;
  std::int64_t measured_nodes = 0;
  std::vector<RackExcess> rack_excess;
  std::int64_t racks = 0;
  Date today{};
};

struct PowerFinding {
  PowerStatus status;
  bool applies = false;                    // an envelope is declared
  Verdict verdict = Verdict::not_judged;
  std::string detail;
};

// Judges: fail where the load cannot fit whatever is not stated; pass where it fits with what is stated; not_judged
// with the reason where the answer hangs on a number that nobody gave (nameplate, PUE).
PowerFinding judge_power(const PowerInput&);

}  // namespace kfab::readiness

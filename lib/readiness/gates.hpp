#pragma once

#include <map>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "readiness/evidence_index.hpp"
#include "readiness/plan.hpp"
#include "readiness/readiness.hpp"

namespace kfab::readiness {

using NodeRefs = std::vector<const NodeStatus*>;

// Everything that the gates of one tranche look at. For a tranche of a programme the nodes are those of the sites'
// tranches of the same name.
struct TrancheScope {
  const manifest::Tranche& tranche;
  const Plan& plan;
  std::string site;                                    // empty: of the programme
  NodeRefs nodes;                                      // of this tranche
  NodeRefs nodes_with_dependencies;                    // and of all that it depends on: for cumulative figures
  manifest::Power power;                               // the tranche's, completed by the site's
  NodeRefs power_nodes;                                // that draw on the envelope
  std::vector<const manifest::Tranche*> power_tranches;
  std::map<std::string_view, std::string_view> fabric_of_group;
  const std::vector<manifest::Allocation>* allocations = nullptr;
  const std::vector<manifest::Tenant>* tenants = nullptr;
  const std::vector<manifest::FacilityGate>* facility_gates = nullptr;
  const std::unordered_set<std::string_view>* serials_seen = nullptr;   // of boards and accelerators in the evidence
  const EvidenceIndex* evidence = nullptr;             // null for a programme: its sites hold the measurements
  std::map<std::string, bool> dependency_ready;        // by name, of what depends_on names
  Date today{};
};

// Fills targets, allocations, deliveries, power, gates and not_required of the status. Reads nothing else of it.
void judge_gates(const TrancheScope&, TrancheStatus&);

// Today's answer to "at least `needed` of them": pass, not_judged while those without a verdict could still make it,
// else fail.
Verdict judge_count(std::int64_t accepted, std::int64_t undecided, std::int64_t needed);

// Nodes or accelerators in `nodes` of a profile (empty: any).
struct Tally { std::int64_t accepted = 0, failed = 0, undecided = 0; std::int64_t all() const { return accepted + failed + undecided; } };
Tally tally(const NodeRefs&, std::string_view profile, bool in_nodes);

}  // namespace kfab::readiness

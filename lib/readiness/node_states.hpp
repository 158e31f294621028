#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "readiness/evidence_index.hpp"
#include "readiness/readiness.hpp"

namespace kfab::readiness {

// What all nodes of one tranche and profile are held against. Null where the manifest has none.
struct NodeRules {
  const manifest::Profile* profile = nullptr;
  const manifest::CriteriaSet* criteria = nullptr;
  std::string_view level;                     // of ready_when; empty: any
  std::optional<int> evidence_max_age_days;
};

// Accelerators that another node has told of since, and the name of that node.
using SeenElsewhere = std::map<std::string_view, std::string_view>;

// Derives the state of one node. The steps stand on each other: what has no inventory that passed is not provisioned,
// whatever a later step says. A failure of the tests is told all the same. An accelerator that was seen elsewhere since
// does not count here.
NodeStatus judge_node(const manifest::Node&, const NodeRules&, const NodeEvidence*, const Context&, const SeenElsewhere* = nullptr);

// All nodes of a site, in order, with duplicate identities found: two nodes with one board serial both fail, and an
// accelerator counts where it was seen last.
std::vector<NodeStatus> judge_nodes(const manifest::Site&, const EvidenceIndex&, const Context&);

Counts count_nodes(const std::vector<const NodeStatus*>&);
Counts count_accelerators(const std::vector<const NodeStatus*>&);

// Accelerators that a node of this profile must have: per_node; 1 for CPU profiles that say nothing; 0 when unknown.
std::int64_t accelerators_of(const manifest::Profile*);
// Which device's verdicts count for a profile: its own word, else cuda for nvidia, cpu for cpu, vendor for the rest.
std::string_view device_of(const manifest::Profile&);

}  // namespace kfab::readiness

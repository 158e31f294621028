#pragma once

#include <vector>

#include "readiness/gates.hpp"

namespace kfab::readiness {

// What stands between a tranche and ready: one row per gate that does not pass, and one per reason that nodes are not
// accepted for, with the nodes folded. Reads the gates, targets and allocations of the status.
std::vector<Blocker> blockers_of(const TrancheStatus&, const NodeRefs& nodes);

// What was not tested, and why: nodes without a verdict, power that was not measured, the fabric.
std::vector<NotTested> not_tested_in(const TrancheStatus&, const NodeRefs& nodes);

}  // namespace kfab::readiness

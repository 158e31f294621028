#pragma once

#include "readiness/plan.hpp"
#include "readiness/readiness.hpp"

namespace kfab::readiness {

// Arithmetic over the document alone: do allocations, targets, sites and power agree with each other? Fills
// plan_checks, the programme-wide allocations and target_accelerators; for a programme it reads the tranches.
void check_plan(const manifest::Site&, const Plan&, Readiness&);
void check_plan(const manifest::Program&, const Plan&, Readiness&);

}  // namespace kfab::readiness

#pragma once

#include <string_view>

#include "validation/judge.hpp"

// One figure against one criterion. Pure.
namespace kfab::validation {

// Sets verdict, reason and, where a criterion that may be skipped cannot be held against anything, `counts` of `out`, whose metric, link and
// limit are there. `doubt` says why the figure is not to be believed, or nothing; `peers` are those of the accelerator's model, or null.
void compare(const manifest::Criterion&, const Measurement&, std::string_view doubt, const Peers* peers, CriterionVerdict& out);

// Figures of the tests that count wrong bits: "memory.errors", "burnin.gemm_bf16.random_mismatches".
bool counts_wrong_bits(std::string_view metric);

}  // namespace kfab::validation

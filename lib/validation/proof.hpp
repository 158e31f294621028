#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "manifest/model.hpp"
#include "validation/judge.hpp"

// Proof that what judges can say no: faults planted into reports and criteria, and judged in the way a node's report is.
namespace kfab::validation {

// One planted fault, or one thing that must hold, and whether it was found.
struct Planted {
  std::string where;        // "judge", "criteria nvidia-h100", "cpu"
  std::string fault;        // "a test without a proven checker"
  bool found = false;
  std::string detail;       // what was seen; the seed and place where there are any
};

// Holds one criterion against a good and a bad case made from its own limit, and against a missing figure: the good one must pass,
// the bad one must come out as the criterion says, the missing one must never pass. One Planted that says what went wrong
// first. Criteria that only record have nothing to prove and give an empty list.
std::vector<Planted> prove_criterion(const manifest::Criterion&, const manifest::Profile&, const std::string& where);
std::vector<Planted> prove_criteria(const manifest::CriteriaSet&, const manifest::Profile&);

// Devices that lie, and reports that are cut, empty, hostile or of something else: none may pass. Also a copy that is slower than
// all its peers. Values and places follow from the seed.
std::vector<Planted> plant_into_judge(std::uint64_t seed);

}  // namespace kfab::validation

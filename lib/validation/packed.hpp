#pragma once

#include <string>
#include <string_view>

#include "validation/judge.hpp"
#include "validation/measurement.hpp"

// What a node told and what became of it as few bytes: a node of eight accelerators takes two megabytes as structs, a site gigabytes. For
// the process that packed it and no other; what is kept for later is kept as JSON (messages_of).
namespace kfab::validation {

// Figures, statuses of tests and mismatches, which are a report's bulk.
std::string packed(const TestReport&);
// Puts them back into a report that holds the rest.
void unpack(std::string_view, TestReport&);

std::string packed(const NodeJudgement&);
void unpack(std::string_view, NodeJudgement&);

}  // namespace kfab::validation

#pragma once

#include <vector>

#include "readiness/readiness.hpp"

namespace kfab::readiness {

// From what is accepted (dates of acceptance, one per accelerator's node with its count) and what remains.
struct Acceptance { Date day; std::int64_t accelerators = 0; };

// What a rate may be told from at the least: 10 days on which something was accepted, and 20 accelerators.
inline constexpr int fewest_days = 10;
inline constexpr std::int64_t fewest_acceptances = 20;

struct ForecastInput {
  bool ready = false;
  std::optional<Date> due;
  Date today{};
  std::optional<std::int64_t> remaining_accelerators, remaining_nodes;   // absent: there is no target
  std::vector<Acceptance> history;
};
Forecast forecast(const ForecastInput&);

}  // namespace kfab::readiness

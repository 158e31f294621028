#pragma once

#include <optional>
#include <string>
#include <vector>

#include "store/records.hpp"

namespace kfab::report {

// The figures of one metric on one kind of device over the whole fleet. A CPU's figures are never in one row with a GPU's.
struct MetricSummary {
  std::string device, metric, unit;
  std::int64_t count = 0;                        // with a value
  std::int64_t without_value = 0;
  double least = 0, median = 0, most = 0;        // meaningless when count is 0
  std::string least_at;                          // node (and accelerator) of the least
  std::optional<double> limit;                   // where all rows were held against the same
  std::int64_t failed = 0, degraded = 0, not_judged = 0;
};

// Sorted by device and metric.
std::vector<MetricSummary> summarise(const std::vector<store::MeasurementRecord>&);

}  // namespace kfab::report

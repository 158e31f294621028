#pragma once

// One accelerator to be judged, and how criteria are made for it.
#include <optional>
#include <string>

#include "validation/judge.hpp"

namespace kfab::validation::judging {

inline manifest::Criterion criterion(std::string id, std::string metric, manifest::Direction direction, std::optional<double> limit, std::string unit) {
  manifest::Criterion out;
  out.id = std::move(id);
  out.metric = std::move(metric);
  out.device = "any";
  out.unit = std::move(unit);
  out.direction = direction;
  out.limit = limit;
  return out;
}

// One accelerator whose gemm_fp32 ran, with a proven checker.
struct Bench {
  manifest::Profile profile;
  manifest::CriteriaSet criteria;
  TestReport report;
  Peers peers;
  JudgeInput input;

  explicit Bench(std::string device = "cuda") {
    report.accelerators.push_back({"GPU-1", device, "Test GPU", "", "", 0, -1, 0});
    report.statuses.push_back({"GPU-1", device, "gemm_fp32", TestState::ran, "", "", 1});
    measure("selftest.gemm_fp32.found", 1, "ratio");
    measure("burnin.gemm_fp32.iterations", 40, "count");
    input.device = device;
  }
  void measure(std::string metric, std::optional<double> value, std::string unit, std::string test = "gemm_fp32", std::string link = {}) {
    report.measurements.push_back({"GPU-1", report.accelerators[0].device, std::move(test), std::move(metric), std::move(unit), value, {}, std::move(link), ""});
  }
  void tested(std::string test) {
    report.statuses.push_back({"GPU-1", report.accelerators[0].device, test, TestState::ran, "", "", 1});
    measure("selftest." + test + ".found", 1, "ratio", test);
  }
  NodeJudgement judged() {
    input.profile = &profile;
    input.criteria = &criteria;
    input.peers = &peers;
    return judge(input, report);
  }
};

inline void set(Bench& bench, std::string_view metric, std::optional<double> value) {
  for (auto& m : bench.report.measurements)
    if (m.metric == metric) m.value = value;
}

}  // namespace kfab::validation::judging

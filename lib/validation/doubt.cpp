#include "validation/doubt.hpp"

#include "validation/catalogue.hpp"

namespace kfab::validation {
namespace {

// Whether `metric` is `before`, the test's name and `after`.
bool is_tests_own(const Measurement& m, std::string_view before, std::string_view after) {
  return m.metric.size() == before.size() + m.test.size() + after.size() && m.metric.starts_with(before) && m.metric.ends_with(after) &&
         m.metric.compare(before.size(), m.test.size(), m.test) == 0;
}

// Of test "gemm_bf16_random" they are "burnin.gemm_bf16.random_iterations".
bool is_iterations(const Measurement& m) {
  constexpr std::string_view random = "_random";
  if (is_tests_own(m, "burnin.", ".iterations")) return true;
  return m.test.ends_with(random) && m.metric == "burnin." + m.test.substr(0, m.test.size() - random.size()) + ".random_iterations";
}

}  // namespace

bool arose_under_load(const Measurement& m) { return family_of(m.metric) == "health" && m.test != "health" && !family_of(m.test).empty(); }

Doubts::Doubts(const TestReport& report) {
  for (const auto& m : report.measurements) {
    const bool selftest = is_tests_own(m, "selftest.", ".found"), iterations = !selftest && is_iterations(m);
    if (!selftest && !iterations) continue;
    Test& test = tests_[{m.accelerator, m.device, m.test}];
    auto& first = selftest ? test.selftest : test.iterations;
    if (first == nullptr) first = &m;
  }
  for (const auto& status : report.statuses) {
    Test& test = tests_[{status.accelerator, status.device, status.test}];
    test.ended = true;
    test.failed = test.failed || status.state == TestState::failed;
  }
}

const Doubts::Test* Doubts::of(const Measurement& m) const {
  const auto found = tests_.find({m.accelerator, m.device, m.test});
  return found == tests_.end() ? nullptr : &found->second;
}

std::string Doubts::about(const Measurement& measurement) const {
  if (measurement.test == "telemetry" || family_of(measurement.metric).empty() || arose_under_load(measurement)) return {};
  const Test* test = of(measurement);
  if (!test || !test->selftest || !test->selftest->value) return "the checker of " + measurement.test + " was not proven in this run";
  if (*test->selftest->value < 1) return "the checker of " + measurement.test + " missed a planted fault";
  if (test->iterations && (!test->iterations->value || *test->iterations->value < 1)) return measurement.test + " made no iteration";
  return test->ended ? std::string() : measurement.test + " did not come to its end";
}

bool Doubts::failed(const Measurement& measurement) const {
  const Test* test = of(measurement);
  return test && test->failed;
}

}  // namespace kfab::validation

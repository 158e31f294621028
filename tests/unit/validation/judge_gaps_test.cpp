// What must not pass although no criterion is violated, and what must although something is missing.
#include "unit/validation/judge_support.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>

#include "manifest/load.hpp"

using namespace kfab;
using namespace kfab::validation;
using namespace kfab::validation::judging;

TEST_CASE("a criterion that may be skipped is not skipped where no test could ever meet it") {
  Bench bench;
  bench.measure("burnin.gemm_fp32.mismatches", 0, "count");
  bench.criteria.criteria.push_back(criterion("exact", "burnin.gemm_fp32.mismatches", manifest::Direction::equal, 0, "count"));
  bench.criteria.criteria.push_back(criterion("triad", "bandwidth.stream_triad_gbps", manifest::Direction::min, 1000, "gbps"));
  bench.criteria.criteria[1].optional = true;
  CHECK(bench.judged().verdict == Verdict::pass);
  bench.criteria.criteria[1].metric = "bandwidth.stream_triad_gbs";
  CHECK(bench.judged().verdict == Verdict::not_judged);
}

TEST_CASE("a link without a figure is not made good by the other links") {
  Bench bench;
  const std::string metric = "bandwidth.device_to_device_memcpy_read_ce_gbps", test = "device_to_device_memcpy_read_ce";
  bench.tested(test);
  bench.criteria.criteria.push_back(criterion("nvlink", metric, manifest::Direction::min, 335, "gbps"));
  bench.measure(metric, 371, "gbps", test, "1->0");
  REQUIRE(bench.judged().verdict == Verdict::pass);
  bench.measure(metric, std::nullopt, "gbps", test, "2->0");
  CHECK(bench.judged().verdict == Verdict::not_judged);
  CHECK(bench.judged().reason().find("2->0 was not measured") != std::string::npos);
  bench.criteria.criteria[0].optional = true;   // where the others have one, its absence is no absence of links
  CHECK(bench.judged().verdict == Verdict::not_judged);
}

TEST_CASE("a counter that was watched in one family's tests says nothing of another family's") {
  Bench bench;
  bench.criteria.criteria.push_back(criterion("ecc", "counters.ecc_volatile_uncorrected", manifest::Direction::max, 0, "count"));
  bench.input.families = {"health", "memory", "burnin"};
  bench.measure("counters.ecc_volatile_uncorrected", 0, "count", "memory");
  CHECK(bench.judged().verdict == Verdict::not_judged);
  CHECK(bench.judged().reason().find("burnin") != std::string::npos);
  bench.measure("counters.ecc_volatile_uncorrected", std::nullopt, "count", "burnin");
  CHECK(bench.judged().verdict == Verdict::not_judged);
  bench.report.measurements.back().value = 0;
  CHECK(bench.judged().verdict == Verdict::pass);
}

TEST_CASE("what a node told and could not be taken may have been its failure") {
  for (const bool wrong : {false, true}) {
    ReportReader reader;
    reader.take(json::Object{{"type", "accelerator"}, {"id", "GPU-1"}, {"device", "cuda"}, {"model", "B200"}});
    reader.take(json::Object{{"type", "measurement"}, {"accelerator", "GPU-1"}, {"device", "cuda"}, {"test", "gemm"}, {"metric", "selftest.gemm.found"}, {"value", 1}, {"unit", "ratio"}});
    reader.take(json::Object{{"type", "measurement"}, {"accelerator", "GPU-1"}, {"device", "cuda"}, {"test", "gemm"}, {"metric", "burnin.gemm.mismatches"}, {"value", 0}, {"unit", "count"}});
    reader.take(json::Object{{"type", "test_done"}, {"accelerator", "GPU-1"}, {"device", "cuda"}, {"test", "gemm"}, {"status", "ran"}});
    if (wrong) reader.take(json::Object{{"type", "test_done"}, {"accelerator", "GPU-1"}, {"device", "cuda"}, {"test", "memory"}, {"status", "fai\x01led"}});
    manifest::CriteriaSet set;
    set.criteria.push_back(criterion("exact", "burnin.gemm.mismatches", manifest::Direction::equal, 0, "count"));
    manifest::Profile profile;
    JudgeInput input{&profile, &set, {}, "cuda", nullptr};
    CHECK(judge(input, reader.report()).verdict == (wrong ? Verdict::not_judged : Verdict::pass));
    // And it stays so when the report is kept and read again.
    ReportReader again;
    for (const auto& message : messages_of(reader.report())) again.take(message);
    CHECK(judge(input, again.report()).verdict == (wrong ? Verdict::not_judged : Verdict::pass));
  }
}

TEST_CASE("two accelerators of one identity are not one that passed") {
  ReportReader reader;
  for (int i = 0; i < 2; ++i) reader.take(json::Object{{"type", "accelerator"}, {"id", "GPU-1"}, {"device", "cuda"}, {"index", i}});
  reader.take(json::Object{{"type", "measurement"}, {"accelerator", "GPU-1"}, {"device", "cuda"}, {"test", "health"}, {"metric", "pcie.width_missing"}, {"value", 0}, {"unit", "count"}});
  manifest::CriteriaSet set;
  set.criteria.push_back(criterion("width", "pcie.width_missing", manifest::Direction::max, 0, "count"));
  manifest::Profile profile;
  JudgeInput input{&profile, &set, {}, "cuda", nullptr};
  CHECK(judge(input, reader.report()).verdict == Verdict::not_judged);
}

TEST_CASE("an accelerator is held beside those of its own model, also in a node of two models") {
  Bench bench;
  auto c = criterion("peers", "burnin.gemm_fp32.tflops", manifest::Direction::min, 3, "tflops");
  c.basis = manifest::Basis::fleet_relative;
  bench.criteria.criteria.push_back(c);
  bench.measure("burnin.gemm_fp32.tflops", 45, "tflops");
  Peers slow, fast;
  slow[c.metric] = {*robust({40, 40.5, 39.5, 40.2, 39.8, 40}), 6};
  fast[c.metric] = {*robust({50, 50.5, 49.5, 50.2, 49.8, 50}), 6};
  std::map<std::string, const Peers*> by_model{{"Other GPU", &slow}, {"Test GPU", &fast}};
  bench.input.peers_by_model = &by_model;
  CHECK(bench.judged().verdict == Verdict::fail);
  by_model.erase("Test GPU");
  CHECK(bench.judged().verdict == Verdict::not_judged);
}

namespace {

// What a sound GPU of a model tells, as far as the criteria of a set ask: every figure within its limit, but for arithmetic that the
// chip does not have and for what the driver says it does not count.
struct GpuOfChip {
  int capability = 90;
  std::set<std::string> no_arithmetic{};   // "gemm_bf16"
  std::set<std::string> uncounted{};       // ends of health metrics
  std::set<std::string> missing{};         // metrics that nobody told
};
NodeJudgement judged_by(const std::string& name, const GpuOfChip& gpu) {
  const auto set = manifest::built_in_criteria(name);
  REQUIRE(set);
  TestReport report;
  report.accelerators.push_back({"GPU-1", "cuda", "Test GPU", "", "", 0, -1, 0});
  report.accelerators[0].capability = gpu.capability;
  const auto say = [&](const std::string& test, const std::string& metric, const std::string& unit, std::optional<double> value, const std::string& detail = {}) {
    report.measurements.push_back({"GPU-1", "cuda", test, metric, unit, value, {}, "", detail});
  };
  const std::pair<const char*, double> device[] = {{"multiprocessors", 40}, {"sm_clock_mhz", 1590}, {"memory_clock_mhz", 5001}, {"memory_bus_bits", 256}, {"capability", gpu.capability}, {"pcie_generation", 3}, {"pcie_width", 16}};
  for (const auto& [figure, value] : device) say("health", std::string("device.") + figure, "count", value);
  std::set<std::string> tests, told;
  for (const auto& test : gpu.no_arithmetic) report.statuses.push_back({"GPU-1", "cuda", test, TestState::not_run, "it has none", "KF4011", 0});
  for (const auto& criterion : set->criteria) {
    if (criterion.basis == manifest::Basis::fleet_relative || !told.insert(criterion.metric).second || gpu.missing.contains(criterion.metric)) continue;
    const auto dot = criterion.metric.find('.');
    const std::string inside = criterion.metric.substr(dot + 1);
    std::string test = inside.substr(0, inside.find('.'));
    if (gpu.no_arithmetic.contains(test)) continue;
    if (inside.find(".random_") != std::string::npos) test += "_random";
    const bool uncounted = std::any_of(gpu.uncounted.begin(), gpu.uncounted.end(), [&](const auto& part) { return criterion.metric.find(part) != std::string::npos; });
    const bool floor = criterion.direction == manifest::Direction::min;
    say(test, criterion.metric, criterion.unit, uncounted ? std::nullopt : std::optional(floor ? 1e6 : criterion.limit.value_or(0)), uncounted ? "Not Supported (KF4011)" : "");
    if (!tests.insert(test).second) continue;
    report.statuses.push_back({"GPU-1", "cuda", test, TestState::ran, "", "", 1});
    say(test, "selftest." + test + ".found", "ratio", 1);
  }
  manifest::Profile profile;
  Peers peers;
  JudgeInput input{&profile, set.get(), {}, "cuda", &peers};
  return judge(input, report);
}

}  // namespace

TEST_CASE("nvidia-any passes a sound GPU without bf16, ECC or row remapping, and none that has lost them") {
  const std::set<std::string> before_80{"gemm_bf16", "gemm_tf32", "gemm_fp8", "gemm_fp8_e5m2"}, before_89{"gemm_fp8", "gemm_fp8_e5m2"};
  const auto check = [](const GpuOfChip& gpu, Verdict wanted) {
    const auto verdict = judged_by("nvidia-any", gpu);
    CAPTURE(verdict.reason());
    CHECK(verdict.verdict == wanted);
  };
  check({75, before_80, {"remapped_rows"}, {}}, Verdict::pass);                     // T4: ECC, and pages instead of rows
  check({89, {}, {"remapped_rows", "retired_pages", "ecc_"}, {}}, Verdict::pass);   // GeForce
  check({80, before_89, {"retired_pages"}, {}}, Verdict::pass);                     // A100: rows instead of pages
  check({80, {"gemm_bf16", "gemm_fp8", "gemm_fp8_e5m2"}, {}, {}}, Verdict::not_judged);   // whose bf16 vanished: its capability says that it has it
  check({90, {"gemm_fp8"}, {}, {}}, Verdict::not_judged);
  check({80, before_89, {}, {"burnin.gemm_bf16.mismatches"}}, Verdict::not_judged);       // merely missing
  check({89, {}, {}, {"health.ecc_mode"}}, Verdict::not_judged);
  check({0, before_80, {}, {}}, Verdict::not_judged);                               // nobody knows what it is
  CHECK(judged_by("nvidia-t4", {75, before_80, {"remapped_rows"}, {}}).verdict == Verdict::pass);
  CHECK(judged_by("nvidia-t4", {75, before_80, {"remapped_rows", "retired_pages"}, {}}).verdict == Verdict::not_judged);
  CHECK(judged_by("nvidia-t4", {75, before_80, {"remapped_rows", "ecc_"}, {}}).verdict == Verdict::not_judged);
  for (const char* name : {"nvidia-geforce-rtx-4090", "nvidia-rtx-6000-ada"})
    CHECK(judged_by(name, {89, {}, {"remapped_rows", "retired_pages", "ecc_"}, {}}).verdict == Verdict::pass);
  CHECK(judged_by("nvidia-geforce-rtx-5090", {120, {}, {"remapped_rows", "retired_pages", "ecc_"}, {}}).verdict == Verdict::pass);
  CHECK(judged_by("nvidia-a30", {80, before_89, {"retired_pages"}, {}}).verdict == Verdict::pass);
  CHECK(judged_by("nvidia-h800", {90, {}, {"retired_pages"}, {}}).verdict == Verdict::pass);
  // A set for a model asks for everything that the model has.
  CHECK(judged_by("nvidia-h200-nvl", {90, {}, {}, {}}).verdict == Verdict::pass);
  CHECK(judged_by("nvidia-h200-nvl", {90, {"gemm_fp8_e5m2"}, {}, {}}).verdict == Verdict::not_judged);
  CHECK(judged_by("nvidia-h200-nvl", {90, {}, {"ecc_"}, {}}).verdict == Verdict::not_judged);
}

TEST_CASE("a GPU far below what its chip can is degraded, and one at a crawl fails, also where it is alone") {
  const auto set = manifest::built_in_criteria("nvidia-any");
  REQUIRE(set);
  const auto at = [&](double tflops, const std::string& model = "NVIDIA H100 80GB HBM3") {
    Bench bench;
    bench.report.accelerators[0].model = model;
    for (const auto& one : set->criteria)
      if (one.metric == "burnin.gemm_bf16.tflops" && one.basis == manifest::Basis::nominal) bench.criteria.criteria.push_back(one);
    CHECK(bench.criteria.criteria.size() == 2);
    bench.tested("gemm_bf16");
    bench.measure("device.multiprocessors", 132, "count", "health");
    bench.measure("device.sm_clock_mhz", 1830, "count", "health");
    bench.measure("device.capability", 90, "count", "health");
    bench.measure("burnin.gemm_bf16.tflops", tflops, "tflops", "gemm_bf16");
    return bench.judged().verdict;
  };
  CHECK(at(600) == Verdict::pass);
  CHECK(at(200) == Verdict::degraded);   // a fifth of 989
  CHECK(at(90) == Verdict::fail);
  CHECK(at(90, "NVIDIA H20") == Verdict::not_judged);   // which has 148 by its data sheet: its chip says nothing of it
  CHECK(at(90, "NVIDIA H20-3e") == Verdict::not_judged);
}

TEST_CASE("what kfab has no kernel for is recorded as untested, and does not hold the accelerator up") {
  Bench bench;
  bench.criteria.criteria.push_back(criterion("exact", "burnin.gemm_fp32.mismatches", manifest::Direction::equal, 0, "count"));
  bench.measure("burnin.gemm_fp32.mismatches", 0, "count");
  bench.report.statuses.push_back({"GPU-1", "cuda", "gemm_fp4", TestState::not_run, "kfab has no kernel in fp4 for compute capability 10.0", "KF4155", 0});
  const auto judged = bench.judged();
  CHECK(judged.verdict == Verdict::pass);
  REQUIRE(judged.criteria.size() == 2);
  CHECK(judged.criteria[0].metric == "burnin.gemm_fp4.mismatches");
  CHECK_FALSE(judged.criteria[0].counts);
  CHECK(judged.criteria[0].reason.find("KF4155") != std::string::npos);
}

TEST_CASE("a test of full mantissas that made no iteration is not judged") {
  Bench bench;
  bench.tested("gemm_bf16_random");
  bench.criteria.criteria.push_back(criterion("same", "burnin.gemm_bf16.random_mismatches", manifest::Direction::equal, 0, "count"));
  bench.measure("burnin.gemm_bf16.random_mismatches", 0, "count", "gemm_bf16_random");
  bench.measure("burnin.gemm_bf16.random_iterations", 0, "count", "gemm_bf16_random");
  CHECK(bench.judged().verdict == Verdict::not_judged);
  set(bench, "burnin.gemm_bf16.random_iterations", 3);
  CHECK(bench.judged().verdict == Verdict::pass);
}

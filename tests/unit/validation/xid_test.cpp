#include "validation/xid.hpp"

#include <doctest/doctest.h>

#include "manifest/load.hpp"
#include "validation/judge.hpp"

using namespace kfab;
using namespace kfab::validation;

TEST_CASE("the table of XIDs is in order, without overlap, each row with a meaning and what to do") {
  int last = 0;
  for (const auto& row : xid_table()) {
    CAPTURE(row.first);
    CHECK(row.first > last);
    CHECK(row.last >= row.first);
    CHECK_FALSE(row.meaning.empty());
    CHECK_FALSE(row.action.empty());
    CHECK_FALSE(to_string(row.severity).empty());
    last = row.last;
  }
  CHECK_FALSE(xid_table_version().empty());
}

TEST_CASE("every severity can pass or fail as the table says") {
  struct Row { const char* metric; bool during, fatal; Verdict verdict; };
  for (const auto& row : {Row{"xid.79", true, false, Verdict::fail}, Row{"xid.79", false, false, Verdict::fail}, Row{"xid.48", false, false, Verdict::fail},
                          Row{"xid.63", true, false, Verdict::pass}, Row{"xid.64", true, false, Verdict::fail}, Row{"xid.92", true, false, Verdict::degraded},
                          Row{"xid.31", true, false, Verdict::degraded}, Row{"xid.31", false, false, Verdict::pass}, Row{"xid.145", true, false, Verdict::degraded},
                          Row{"xid.149", true, true, Verdict::fail}, Row{"xid.119", true, false, Verdict::fail}, Row{"xid.9999", true, false, Verdict::degraded},
                          Row{"sxid.12028", true, false, Verdict::degraded}, Row{"sxid.20009", false, true, Verdict::fail}}) {
    CAPTURE(row.metric);
    const auto event = judge_kernel_event(row.metric, row.during, row.fatal);
    REQUIRE(event);
    CHECK(event->verdict == row.verdict);
    CHECK_FALSE(event->action.empty());
  }
  for (const char* metric : {"xid", "xid.", "xid.x", "xid.79a", "xid.-1", "counters.xids", "burnin.xid.79", ""}) CHECK_FALSE(judge_kernel_event(metric, true, false));
}

namespace {

// One GPU with all that the health criteria ask for, sound.
struct SoundGpu {
  manifest::Loaded loaded = manifest::load_text("apiVersion: kfab/v1\nkind: Criteria\nmetadata: {name: mine, version: \"1\"}\nspec:\n  extends: [nvidia-health]\n", "t.yaml", ".");
  manifest::Profile profile;
  TestReport report;
  JudgeInput input;
  SoundGpu() {
    report.accelerators.push_back({"GPU-1", "cuda", "Test GPU", "", "", 0, -1, 0});
    report.statuses.push_back({"GPU-1", "cuda", "health", TestState::ran, "", "", 1});
    set("selftest.health.found", 1, "health", "ratio");
    for (const auto& criterion : criteria().criteria)
      set(criterion.metric, criterion.metric.starts_with("health.kernel_log") || criterion.metric == "health.ecc_mode" || criterion.metric == "health.persistence_mode" ? 1 : 0, test_of(criterion.metric));
    set("counters.xids", 0, "burnin");
    input.families = {"health", "burnin"};
    input.device = "cuda";
    input.profile = &profile;
    input.criteria = &criteria();
  }
  const manifest::CriteriaSet& criteria() const { return std::get<manifest::CriteriaSet>(loaded.document); }
  void set(const std::string& metric, std::optional<double> value, const std::string& test = "health", const std::string& unit = "count", const std::string& detail = {}) {
    std::erase_if(report.measurements, [&](const auto& m) { return m.metric == metric; });
    report.measurements.push_back({"GPU-1", "cuda", test, metric, unit, value, {}, "", detail});
  }
  // Counters are told of each family's tests, in its name.
  static std::string test_of(const std::string& metric) { return metric.rfind("counters.", 0) == 0 ? "burnin" : "health"; }
  NodeJudgement judged() const { return judge(input, report); }
};

}  // namespace

TEST_CASE("the health criteria: sound passes, and each can fail by itself") {
  SoundGpu sound;
  REQUIRE(sound.criteria().criteria.size() > 20);
  CHECK(sound.judged().verdict == Verdict::pass);
  for (const auto& criterion : sound.criteria().criteria) {
    if (criterion.basis == manifest::Basis::record_only) continue;
    CAPTURE(criterion.id);
    SoundGpu ill;
    ill.set(criterion.metric, criterion.direction == manifest::Direction::max ? *criterion.limit + 1 : *criterion.limit - 1, SoundGpu::test_of(criterion.metric), "count", "gemm_bf16 +1");
    const auto verdict = ill.judged();
    CHECK(verdict.verdict == criterion.on_violation);
    CHECK(verdict.reason().find(criterion.id) != std::string::npos);
    CHECK(verdict.reason().find("gemm_bf16 +1") != std::string::npos);
    CHECK(verdict.reason().find(criterion.action) != std::string::npos);
    SoundGpu silent;
    silent.set(criterion.metric, std::nullopt, SoundGpu::test_of(criterion.metric), "count", "Insufficient Permissions");
    CHECK(silent.judged().verdict == (criterion.optional ? Verdict::pass : Verdict::not_judged));
  }
}

TEST_CASE("XIDs are judged without a criterion, by one where there is one, and are never silently unknown") {
  SoundGpu gpu;
  gpu.set("xid.79", 1, "burnin", "count", "during gemm_bf16: NVRM: Xid (PCI:0000:3b:00): 79, gone");
  CHECK(gpu.judged().verdict == Verdict::fail);
  CHECK(gpu.judged().reason().find("XID 79: the GPU has fallen off the bus; power-cycle") != std::string::npos);
  CHECK(gpu.judged().reason().find("during gemm_bf16") != std::string::npos);
  gpu.set("xid.79", 0, "burnin");
  CHECK(gpu.judged().verdict == Verdict::pass);
  gpu.set("xid.149", 1, "health", "count", "fatal, since boot: NETIR Fatal");
  CHECK(gpu.judged().verdict == Verdict::fail);
  gpu.set("xid.149", 1, "health", "count", "since boot: NETIR Nonfatal");
  CHECK(gpu.judged().verdict == Verdict::degraded);
  // The site records it and no more.
  auto own = gpu.criteria();
  manifest::Criterion record;
  record.id = "nvlink5-recorded";
  record.metric = "xid.149";
  record.device = "cuda";
  record.basis = manifest::Basis::record_only;
  own.criteria.push_back(record);
  gpu.input.criteria = &own;
  CHECK(gpu.judged().verdict == Verdict::pass);
  gpu.set("counters.xids", std::nullopt, "burnin", "count", "the kernel's log may not be read");
  CHECK(gpu.judged().verdict == Verdict::not_judged);
  CHECK(gpu.judged().reason().find("may not be read") != std::string::npos);
}

TEST_CASE("where health is read and nothing is tested, no movement of counters is asked for") {
  SoundGpu gpu;
  gpu.input.families = {"health"};
  std::erase_if(gpu.report.measurements, [](const auto& m) { return m.metric.rfind("counters.", 0) == 0; });
  CHECK(gpu.judged().verdict == Verdict::pass);
  gpu.input.families = {"health", "memory"};
  CHECK(gpu.judged().verdict == Verdict::not_judged);
}

TEST_CASE("pinned versions: the same, another, and one that is not told") {
  SoundGpu gpu;
  gpu.profile.pins["driver"] = "570.133.20";
  gpu.profile.pins["kernel"] = "6.8";   // not the accelerator's to tell
  CHECK(gpu.judged().verdict == Verdict::not_judged);
  gpu.report.accelerators[0].versions["driver"] = "570.133.20";
  CHECK(gpu.judged().verdict == Verdict::pass);
  gpu.report.accelerators[0].versions["driver"] = "570.86.15";
  CHECK(gpu.judged().verdict == Verdict::fail);
  CHECK(gpu.judged().reason() == "driver 570.86.15 is not the pinned 570.133.20");
  gpu.input.families = {"burnin"};
  CHECK(gpu.judged().verdict == Verdict::pass);
}

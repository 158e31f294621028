#include "validation/fleet_relative.hpp"

#include <doctest/doctest.h>

#include <deque>
#include <functional>

#include "validation/derive.hpp"

using namespace kfab;
using namespace kfab::validation;

namespace {

// A test that ran, and whose checker was proven.
void prove(TestReport& report, const std::string& id, const std::string& test = "gemm_bf16") {
  report.statuses.push_back({id, "cuda", test, TestState::ran, "", "", 1});
  report.measurements.push_back({id, "cuda", test, "selftest." + test + ".found", "ratio", 1, {}, "", ""});
}

// Nodes of eight GPUs, each with one rate that the test chooses.
struct Hall {
  std::deque<TestReport> reports;
  Fleet fleet;
  std::function<void(TestReport&)> change;   // of the next reports
  std::string level;
  void node(int number, const std::function<double(int slot)>& rate, const std::string& rack = {}, const std::string& unit = "tflops", const std::string& metric = "burnin.gemm_bf16.tflops") {
    auto& report = reports.emplace_back();
    const std::string name = "n" + std::to_string(number);
    for (int slot = 0; slot < 8; ++slot) {
      const std::string id = name + "-" + std::to_string(slot);
      report.accelerators.push_back({id, "cuda", "H200", "", "", slot, -1, 0});
      prove(report, id);
      report.measurements.push_back({id, "cuda", "gemm_bf16", metric, unit, rate(slot), {}, "", ""});
    }
    if (change) change(report);
    fleet.add({name, rack.empty() ? "r" + std::to_string(number / 4) : rack, "p1", "dgx", level}, report, "cuda");
  }
};
// Sound GPUs differ by some percent, the same for the same place: no noise of a clock in a test.
double sound(int node, int slot) { return 700 + (node * 37 + slot * 101) % 17 - 8; }

}  // namespace

TEST_CASE("a GPU a quarter slower than its peers is found, whatever the floor says") {
  Hall hall;
  for (int n = 0; n < 8; ++n) hall.node(n, [&](int slot) { return n == 3 && slot == 5 ? 530.0 : sound(n, slot); });
  const auto found = hall.fleet.findings();
  REQUIRE(found.populations.size() == 1);
  CHECK(found.populations[0].accelerators == 64);
  CHECK(found.populations[0].nodes == 8);
  CHECK(found.populations[0].judged);
  CHECK(found.populations[0].least == 530);
  REQUIRE(found.outliers.size() == 1);
  CHECK(found.outliers[0].node == "n3");
  CHECK(found.outliers[0].slot == 5);
  CHECK(found.outliers[0].deviations > 3);
  CHECK(found.shared.empty());
  const auto& peers = hall.fleet.peers("dgx", "H200");
  CHECK(peers.at("burnin.gemm_bf16.tflops").accelerators == 64);
  CHECK(hall.fleet.peers("dgx", "B200").empty());
}

TEST_CASE("sound fleets have no outliers, and faster is no fault") {
  Hall hall;
  for (int n = 0; n < 8; ++n) hall.node(n, [&](int slot) { return n == 1 && slot == 1 ? 900.0 : sound(n, slot); });
  CHECK(hall.fleet.findings().outliers.empty());
  CHECK(hall.fleet.findings().positions.empty());
  // Of temperatures the high ones are the bad ones.
  Hall heat;
  for (int n = 0; n < 8; ++n) heat.node(n, [&](int slot) { return n == 1 && slot == 1 ? 91.0 : 60 + (n + slot) % 3; }, {}, "c", "burnin.temperature_c");
  CHECK(heat.fleet.findings().outliers.size() == 1);
  // A kernel that is slow beside the library's, on one GPU only.
  Hall beside;
  for (int n = 0; n < 8; ++n) beside.node(n, [&](int slot) { return n == 2 && slot == 0 ? 0.5 : 0.9 + (n + slot) % 3 * 0.01; }, {}, "ratio", "burnin.gemm_bf16.own_to_cublaslt");
  REQUIRE(beside.fleet.findings().outliers.size() == 1);
  CHECK(beside.fleet.findings().outliers[0].node == "n2");
  // What is in no unit that has a bad side is not compared.
  Hall odd;
  for (int n = 0; n < 8; ++n) odd.node(n, [&](int slot) { return n + slot == 0 ? 1e9 : 1.0; }, {}, "count", "counters.x");
  CHECK(odd.fleet.findings().populations.empty());
}

TEST_CASE("too few to say anything: not judged, and said") {
  Hall hall;
  auto& report = hall.reports.emplace_back();
  for (int slot = 0; slot < 5; ++slot) {
    const std::string id = std::to_string(slot);
    report.accelerators.push_back({id, "cuda", "H200", "", "", slot, -1, 0});
    prove(report, id);
    report.measurements.push_back({id, "cuda", "gemm_bf16", "burnin.gemm_bf16.tflops", "tflops", slot == 0 ? 1.0 : 700.0, {}, "", ""});
  }
  hall.fleet.add({"n", "r", "p", "dgx"}, report, "cuda");
  const auto found = hall.fleet.findings();
  REQUIRE(found.populations.size() == 1);
  CHECK_FALSE(found.populations[0].judged);
  CHECK(found.outliers.empty());
}

TEST_CASE("what outliers share: a slot on all nodes, or a rack") {
  Hall slots;
  for (int n = 0; n < 16; ++n) slots.node(n, [&](int slot) { return slot == 7 && n % 2 == 0 ? 600.0 : sound(n, slot); });
  const auto by_slot = slots.fleet.findings();
  CHECK(by_slot.outliers.size() == 8);
  REQUIRE_FALSE(by_slot.shared.empty());
  CHECK(by_slot.shared[0].kind == "slot");
  CHECK(by_slot.shared[0].name == "7");
  CHECK(by_slot.shared[0].outliers == 8);
  CHECK(by_slot.shared[0].accelerators == 16);

  Hall racks;
  for (int n = 0; n < 16; ++n) racks.node(n, [&](int slot) { return n / 4 == 2 && slot < 4 ? 610.0 : sound(n, slot); });
  bool rack = false;
  for (const auto& place : racks.fleet.findings().shared) rack |= place.kind == "rack" && place.name == "r2";
  CHECK(rack);
}

TEST_CASE("a place that is a little slow everywhere is found, although no GPU of it is an outlier") {
  Hall hall;
  for (int n = 0; n < 32; ++n) hall.node(n, [&](int slot) { return sound(n, slot) - (slot == 7 ? 20 : 0); });
  const auto found = hall.fleet.findings();
  CHECK(found.outliers.size() < 8);
  REQUIRE_FALSE(found.positions.empty());
  CHECK(found.positions[0].kind == "slot");
  CHECK(found.positions[0].name == "7");
  CHECK(found.positions[0].deviations > 4);
}

TEST_CASE("digests are voted on: the one who computes something else is named") {
  Hall hall;
  for (int n = 0; n < 4; ++n) hall.node(n, [&](int slot) { return n == 2 && slot == 6 ? 4711.0 : 1234.0; }, {}, "digest", "burnin.gemm_bf16.digest");
  auto dissents = hall.fleet.dissents();
  REQUIRE(dissents.size() == 1);
  CHECK(dissents[0].node == "n2");
  CHECK(dissents[0].slot == 6);
  CHECK(dissents[0].decided);
  CHECK(dissents[0].agreeing == 31);
  NodeJudgement judgement;
  judgement.verdict = Verdict::pass;
  judgement.accelerators.push_back({"n2-6", "cuda", "H200", 6, Verdict::pass, {}});
  judgement.accelerators.push_back({"n2-5", "cuda", "H200", 5, Verdict::pass, {}});
  take_dissents(dissents, "n1", judgement);
  CHECK(judgement.verdict == Verdict::pass);
  take_dissents(dissents, "n2", judgement);
  CHECK(judgement.verdict == Verdict::fail);
  CHECK(judgement.accelerators[0].verdict == Verdict::fail);
  CHECK(judgement.accelerators[1].verdict == Verdict::pass);
  CHECK(judgement.reason().find("31 of 32") != std::string::npos);
  Hall split;
  for (int n = 0; n < 2; ++n) split.node(n, [&](int slot) { return slot % 2 ? 1.0 : 2.0; }, {}, "digest", "d");
  dissents = split.fleet.dissents();
  CHECK(dissents.size() == 16);
  CHECK_FALSE(dissents[0].decided);
  Hall one;
  for (int n = 0; n < 2; ++n) one.node(n, [](int) { return 5.0; }, {}, "digest", "d");
  CHECK(one.fleet.dissents().empty());
}

TEST_CASE("figures that a GPU tells of itself become the nominal ones that nobody stated") {
  TestReport report;
  report.accelerators.push_back({"g", "cuda", "unknown", "", "", 0, -1, 0});
  const auto say = [&](const char* metric, double value) { report.measurements.push_back({"g", "cuda", "health", metric, "count", value, {}, "", ""}); };
  CHECK(derived_figures(report, report.accelerators[0]).empty());
  say("device.memory_clock_mhz", 2619);
  say("device.memory_bus_bits", 5120);
  say("device.pcie_generation", 5);
  say("device.pcie_width", 16);
  say("device.multiprocessors", 132);
  say("device.sm_clock_mhz", 1830);
  say("device.capability", 90);
  const auto h100 = derived_figures(report, report.accelerators[0]);
  CHECK(h100.at("hbm_gbps").value == doctest::Approx(3352).epsilon(0.001));        // data sheet: 3,350
  CHECK(h100.at("hbm_gbps").how == "2 x 2,619 MHz x 5,120 bits");
  CHECK(h100.at("pcie_gbps").value == doctest::Approx(63).epsilon(0.001));
  CHECK(h100.at("bf16_tflops").value == doctest::Approx(989).epsilon(0.002));      // data sheet: 989
  CHECK(h100.at("fp8_tflops").value == doctest::Approx(1979).epsilon(0.002));
  for (const auto& [key, figure] : h100) CHECK(manifest::told_by_device("cuda", key));
  // Nonsense and chips that nobody knows give nothing.
  report.measurements.back().value = 777;
  CHECK_FALSE(derived_figures(report, report.accelerators[0]).contains("bf16_tflops"));
  report.measurements[0].value = -1;
  CHECK_FALSE(derived_figures(report, report.accelerators[0]).contains("hbm_gbps"));
  CHECK_FALSE(pcie_gbps(9, 16));
  CHECK_FALSE(pcie_gbps(5, 0));
}

TEST_CASE("a floor that follows from the device says how, and can fail") {
  TestReport report;
  report.accelerators.push_back({"g", "cuda", "unknown", "", "", 0, -1, 0});
  report.statuses.push_back({"g", "cuda", "device_local_copy", TestState::ran, "", "", 1});
  const auto say = [&](const char* metric, double value, const char* test, const char* unit) { report.measurements.push_back({"g", "cuda", test, metric, unit, value, {}, "", ""}); };
  say("device.memory_clock_mhz", 1000, "health", "count");
  say("device.memory_bus_bits", 4096, "health", "count");
  say("selftest.device_local_copy.found", 1, "device_local_copy", "ratio");
  say("bandwidth.hbm_copy_rw_gbps", 700, "device_local_copy", "gbps");
  manifest::CriteriaSet set;
  manifest::Criterion floor;
  floor.id = "hbm-copy";
  floor.metric = "bandwidth.hbm_copy_rw_gbps";
  floor.device = "cuda";
  floor.unit = "gbps";
  floor.nominal_key = "hbm_gbps";
  floor.factor = 0.6;
  set.criteria.push_back(floor);
  manifest::Profile profile;
  JudgeInput input{&profile, &set, {}, "cuda", nullptr};
  CHECK(judge(input, report).verdict == Verdict::pass);
  report.measurements.back().value = 600;
  const auto slow = judge(input, report);
  CHECK(slow.verdict == Verdict::fail);
  CHECK(slow.reason().find("0.6 of 1,024 = 2 x 1,000 MHz x 4,096 bits") != std::string::npos);
  profile.nominal["hbm_gbps"] = 900;   // what the profile states comes first
  CHECK(judge(input, report).verdict == Verdict::pass);
}

TEST_CASE("who tells a figure often has one voice") {
  // One GPU that is wrong repeats its digest and a low figure until it would be the majority and the median.
  Hall hall;
  for (int n = 0; n < 2; ++n) hall.node(n, [&](int slot) { return n == 0 && slot == 0 ? 4711.0 : 1234.0; }, {}, "digest", "burnin.gemm_bf16.digest");
  Hall loud;
  for (int n = 0; n < 2; ++n) {
    auto report = hall.reports[static_cast<std::size_t>(n)];
    for (auto& a : report.accelerators) report.measurements.push_back({a.id, "cuda", "gemm_bf16", "burnin.gemm_bf16.tflops", "tflops", 700, {}, "", ""});
    if (n == 0)
      for (int i = 0; i < 200; ++i) {
        report.measurements.push_back(report.measurements[1]);
        report.measurements.push_back({report.accelerators[0].id, "cuda", "gemm_bf16", "burnin.gemm_bf16.tflops", "tflops", 1, {}, "", ""});
      }
    loud.reports.push_back(std::move(report));
    loud.fleet.add({"n" + std::to_string(n), "r", "p1", "dgx"}, loud.reports.back(), "cuda");
  }
  const auto dissents = loud.fleet.dissents();
  REQUIRE(dissents.size() == 1);
  CHECK(dissents[0].accelerator == "n0-0");
  CHECK(dissents[0].decided);
  CHECK(loud.fleet.peers("dgx", "H200").at("burnin.gemm_bf16.tflops").robust.median == 700);
}

TEST_CASE("however many dissent, each of them is judged; what is shown is cut") {
  Hall split;
  for (int n = 0; n < 100; ++n) split.node(n, [&](int slot) { return slot < 3 ? 4711.0 : 1234.0; }, {}, "digest", "burnin.gemm_bf16.digest");
  const auto found = split.fleet.findings();
  CHECK(found.dissents_in_all == 300);
  CHECK(found.dissents.size() == 200);
  int failed = 0;
  for (int n = 0; n < 100; ++n) {
    const std::string node = "n" + std::to_string(n);
    NodeJudgement judgement;
    judgement.verdict = Verdict::pass;
    for (int slot = 0; slot < 8; ++slot) judgement.accelerators.push_back({node + "-" + std::to_string(slot), "cuda", "H200", slot, Verdict::pass, {}});
    take_dissents(split.fleet.dissents_of(node), node, judgement);
    for (const auto& accelerator : judgement.accelerators) {
      CHECK(accelerator.verdict == (accelerator.index < 3 ? Verdict::fail : Verdict::pass));
      failed += accelerator.verdict == Verdict::fail;
    }
  }
  CHECK(failed == 300);
  CHECK(split.fleet.dissents_of("nobody").empty());
}

TEST_CASE("a kernel that computes wrong bits on one GPU fails it where most of its model prove it, and no GPU where all refuse it") {
  struct Row { const char* metric; Verdict verdict; };
  for (const auto& row : {Row{"burnin.gemm_bf16.kernels_wrong", Verdict::fail}, Row{"burnin.gemm_bf16.random_kernels_wrong", Verdict::fail},
                          Row{"burnin.gemm_bf16.cublaslt_inexact_pct", Verdict::fail}, Row{"burnin.gemm_bf16.kernels_refused", Verdict::degraded}}) {
    CAPTURE(row.metric);
    const auto of = [&](const std::function<double(int, int)>& wrong, int nodes = 4) {
      Hall hall;
      for (int n = 0; n < nodes; ++n) hall.node(n, [&](int slot) { return wrong(n, slot); }, {}, "count", row.metric);
      return hall.fleet.dissents();
    };
    const auto one = of([](int n, int slot) { return n == 1 && slot == 3 ? 2.0 : 0.0; });
    REQUIRE(one.size() == 1);
    CHECK(one[0].accelerator == "n1-3");
    CHECK(one[0].verdict == row.verdict);
    CHECK(one[0].reason.find("31 of 32") != std::string::npos);
    CHECK(of([](int, int) { return 1.0; }).empty());                                       // it is kfab's own fault
    CHECK(of([](int n, int slot) { return n + slot == 0 ? 0.0 : 1.0; }).empty());          // and the one that proves it is no worse for that
    CHECK(of([](int, int slot) { return slot % 2 ? 1.0 : 0.0; }).empty());                 // half and half: nobody knows
  }
}

TEST_CASE("figures are compared within one level and one load, and only those that are worth something") {
  Hall levels;
  for (int n = 0; n < 8; ++n) {
    levels.level = n < 4 ? "quick" : "soak";
    levels.node(n, [&](int slot) { return sound(n, slot) - (n < 4 ? 0 : 100); });
  }
  CHECK(levels.fleet.findings().outliers.empty());
  CHECK(levels.fleet.peers("dgx", "H200", "quick").at("burnin.gemm_bf16.tflops").robust.median > 690);
  CHECK(levels.fleet.peers("dgx", "H200", "soak").at("burnin.gemm_bf16.tflops").robust.median < 610);
  CHECK(levels.fleet.peers("dgx", "H200").empty());
  CHECK(levels.fleet.peers_of("dgx", levels.reports.front(), "quick").at("H200")->contains("burnin.gemm_bf16.tflops"));

  // Pulses: what is reached in them is held against other pulses, not against a steady load.
  Hall loads;
  for (int n = 0; n < 4; ++n) {
    loads.change = [&](TestReport& report) {
      if (n > 0) return;
      for (const auto& a : report.accelerators) report.measurements.push_back({a.id, "cuda", "load", "burnin.load.asked_pct", "percent", 50, {}, "", "pulses of 1 s"});
    };
    loads.node(n, [&](int slot) { return sound(n, slot) / (n == 0 ? 2 : 1); });
  }
  CHECK(loads.fleet.findings().outliers.empty());
  CHECK(loads.fleet.peers("dgx", "H200").at("burnin.gemm_bf16.tflops").accelerators == 24);

  const std::pair<const char*, std::function<void(TestReport&)>> doubts[] = {
      {"not proven", [](TestReport& r) { std::erase_if(r.measurements, [](const auto& m) { return m.metric.starts_with("selftest."); }); }},
      {"missed what was planted", [](TestReport& r) { for (auto& m : r.measurements) if (m.metric.starts_with("selftest.")) m.value = 0.5; }},
      {"failed", [](TestReport& r) { for (auto& s : r.statuses) s.state = TestState::failed; }},
      {"never ended", [](TestReport& r) { r.statuses.clear(); }},
      {"did nothing", [](TestReport& r) { for (const auto& a : r.accelerators) r.measurements.push_back({a.id, "cuda", "gemm_bf16", "burnin.gemm_bf16.iterations", "count", 0, {}, "", ""}); }}};
  for (const auto& [words, change] : doubts) {
    CAPTURE(words);
    Hall hall;
    hall.change = change;
    hall.node(0, [](int) { return 1.0; });
    hall.change = {};
    for (int n = 1; n < 4; ++n) hall.node(n, [&](int slot) { return sound(n, slot); });
    CHECK(hall.fleet.peers("dgx", "H200").at("burnin.gemm_bf16.tflops").accelerators == 24);
    CHECK(hall.fleet.findings().outliers.empty());
  }
}

#include "unit/validation/judge_support.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>
#include <tuple>

#include "manifest/load.hpp"

using namespace kfab;
using namespace kfab::validation;
using namespace kfab::validation::judging;

TEST_CASE("every shape of criterion can pass and can fail") {
  struct Case { manifest::Direction direction; double limit, good, bad; };
  for (const auto& c : {Case{manifest::Direction::min, 30, 30, 29.9}, Case{manifest::Direction::max, 5, 5, 5.1}, Case{manifest::Direction::equal, 0, 0, 1}}) {
    for (const auto on_violation : {Verdict::fail, Verdict::degraded}) {
      Bench bench;
      bench.criteria.criteria.push_back(criterion("shape", "burnin.gemm_fp32.tflops", c.direction, c.limit, "tflops"));
      bench.criteria.criteria[0].on_violation = on_violation;
      bench.measure("burnin.gemm_fp32.tflops", c.good, "tflops");
      CHECK(bench.judged().verdict == Verdict::pass);
      CHECK(bench.judged().reasons.empty());
      set(bench, "burnin.gemm_fp32.tflops", c.bad);
      const auto bad = bench.judged();
      CHECK(bad.verdict == on_violation);
      CHECK(bad.reason().find("burnin.gemm_fp32.tflops") != std::string::npos);
      CHECK(bad.reason().find("(criterion shape)") != std::string::npos);
    }
  }
}

TEST_CASE("a link that the GPU at its other end cost is that one's finding, as long as its own tests show it") {
  Bench bench;
  bench.criteria.criteria.push_back(criterion("done", "burnin.gemm_fp32.iterations", manifest::Direction::min, 1, "count"));
  bench.report.accelerators.push_back({"GPU-2", "cuda", "Test GPU", "", "", 1, -1, 0});
  bench.report.statuses.push_back({"GPU-1", "cuda", "device_to_device_memcpy_read_ce", TestState::not_run, "link 1->0: GPU 1 (GPU-2): its work did not end", "KF4145", 1});
  bench.report.statuses.push_back({"GPU-2", "cuda", "bandwidth", TestState::failed, "hung", "KF4007", 1});
  REQUIRE(bench.judged().accelerators.size() == 2);
  CHECK(bench.judged().accelerators[0].verdict == Verdict::pass);
  CHECK(bench.judged().accelerators[1].verdict == Verdict::fail);
  // Nobody's finding, or another one's: then it is a gap.
  bench.report.statuses.back().state = TestState::ran;
  CHECK(bench.judged().accelerators[0].verdict == Verdict::not_judged);
  bench.report.statuses.back() = {"GPU-3", "cuda", "bandwidth", TestState::failed, "hung", "KF4007", 1};
  CHECK(bench.judged().accelerators[0].verdict == Verdict::not_judged);
  bench.report.statuses.back() = {"GPU-2", "cuda", "device_to_device_memcpy_read_ce", TestState::not_run, "link 0->1: GPU 0 (GPU-1): its work did not end", "KF4145", 1};
  CHECK(bench.judged().accelerators[0].verdict == Verdict::not_judged);   // each lays it to the other
}

TEST_CASE("a wrong bit that is counted fails, whether a criterion asks for it or not and however mild that is") {
  for (const char* metric : {"burnin.gemm_fp32.random_mismatches", "burnin.gemm_fp32.mismatches", "memory.errors", "bandwidth.stream.mismatches"}) {
    CAPTURE(metric);
    Bench bench;
    bench.criteria.criteria.push_back(criterion("other", "burnin.gemm_fp32.iterations", manifest::Direction::min, 1, "count"));
    bench.measure(metric, 0, "count");
    CHECK(bench.judged().verdict == Verdict::pass);
    set(bench, metric, 1);
    CHECK(bench.judged().verdict == Verdict::fail);
    CHECK(bench.judged().reason().find("KF4010") != std::string::npos);
    bench.criteria.criteria.push_back(criterion("mild", metric, manifest::Direction::equal, 0, "count"));
    bench.criteria.criteria[1].on_violation = Verdict::degraded;
    CHECK(bench.judged().verdict == Verdict::fail);
  }
  Bench counters;   // what counts errors of links is judged by its own criteria
  counters.criteria.criteria.push_back(criterion("other", "burnin.gemm_fp32.iterations", manifest::Direction::min, 1, "count"));
  counters.measure("counters.nvlink_receive_errors", 3, "count");
  CHECK(counters.judged().verdict == Verdict::pass);
}

TEST_CASE("a load in steps or pulses is not held against what is meant for a steady one") {
  Bench bench;
  bench.criteria.criteria.push_back(criterion("floor", "burnin.gemm_fp32.tflops", manifest::Direction::min, 30, "tflops"));
  bench.criteria.criteria.push_back(criterion("ratio", "burnin.gemm_fp32.own_to_cublaslt", manifest::Direction::min, 0.5, "ratio"));
  bench.criteria.criteria.push_back(criterion("exact", "burnin.gemm_fp32.mismatches", manifest::Direction::equal, 0, "count"));
  bench.criteria.criteria.push_back(criterion("throttle", "burnin.throttle.hw_slowdown_pct", manifest::Direction::max, 0, "percent"));
  bench.measure("burnin.gemm_fp32.tflops", 1, "tflops");
  bench.measure("burnin.gemm_fp32.own_to_cublaslt", 0.1, "ratio");
  bench.measure("burnin.gemm_fp32.mismatches", 0, "count");
  bench.measure("burnin.throttle.hw_slowdown_pct", 0, "percent", "telemetry");
  bench.measure("burnin.load.asked_pct", 100, "percent", "telemetry");
  bench.measure("burnin.load.worked_pct", 52, "percent", "telemetry");
  bench.measure("burnin.load.off_pct", 2, "percent", "telemetry");
  CHECK(bench.judged().verdict == Verdict::fail);   // a steady load: too slow
  set(bench, "burnin.load.asked_pct", 50);
  const auto pulsed = bench.judged();
  CHECK(pulsed.verdict == Verdict::pass);           // right to the last bit and not held back: what it is for
  for (const auto& one : pulsed.criteria) {
    const bool rate = one.criterion == "floor" || one.criterion == "ratio";
    CAPTURE(one.criterion);
    CHECK(one.counts == !rate);
    CHECK((one.verdict == Verdict::not_judged) == rate);
    CHECK((one.reason.find("meant for a steady load") != std::string::npos) == rate);
    CHECK(one.value.has_value());
  }
  // It is judged on that, and fails by it.
  set(bench, "burnin.throttle.hw_slowdown_pct", 4);
  CHECK(bench.judged().verdict == Verdict::fail);
  set(bench, "burnin.throttle.hw_slowdown_pct", 0);
  set(bench, "burnin.gemm_fp32.mismatches", 1);
  CHECK(bench.judged().verdict == Verdict::fail);
  set(bench, "burnin.gemm_fp32.mismatches", 0);
  // Pulses that did not come out have shown nothing.
  set(bench, "burnin.load.off_pct", 40);
  CHECK(bench.judged().verdict == Verdict::not_judged);
  CHECK(bench.judged().reason().find("KF4075") != std::string::npos);
  set(bench, "burnin.load.off_pct", std::nullopt);
  CHECK(bench.judged().verdict == Verdict::not_judged);
  // Where nothing but rates would be judged, nothing is.
  bench.criteria.criteria.resize(2);
  set(bench, "burnin.load.off_pct", 1);
  CHECK(bench.judged().verdict == Verdict::not_judged);
}

TEST_CASE("under confidential computing copies from and to the host are not held against floors made without it") {
  Bench bench;
  bench.tested("health");
  bench.tested("host_to_device_memcpy_ce");
  bench.criteria.criteria.push_back(criterion("floor", "bandwidth.host_to_device_memcpy_ce_gbps", manifest::Direction::min, 48, "gbps"));
  bench.criteria.criteria.push_back(criterion("confidential-off", "health.confidential_computing", manifest::Direction::equal, 0, "count"));
  bench.criteria.criteria[1].on_violation = Verdict::degraded;
  bench.measure("bandwidth.host_to_device_memcpy_ce_gbps", 9, "gbps", "host_to_device_memcpy_ce");
  bench.measure("health.confidential_computing", 0, "count", "health");
  CHECK(bench.judged().verdict == Verdict::fail);
  set(bench, "health.confidential_computing", 1);
  CHECK(bench.judged().verdict == Verdict::not_judged);
  CHECK(bench.judged().reason().find("KF4076") != std::string::npos);
  bench.criteria.criteria.pop_back();   // the site's own floors, for nodes that have it on
  CHECK(bench.judged().verdict == Verdict::fail);
}

TEST_CASE("a state that arose under load is judged as one from the start, also in a run without health") {
  Bench bench;
  bench.tested("health");
  bench.criteria.criteria.push_back(criterion("links", "health.nvlinks_down", manifest::Direction::max, 0, "count"));
  bench.measure("health.nvlinks_down", 0, "count", "health");
  CHECK(bench.judged().verdict == Verdict::pass);
  bench.measure("health.nvlinks_down", 2, "count", "burnin");
  bench.report.measurements.back().detail = "arose during burnin (0 before): links 16, 17";
  CHECK(bench.judged().verdict == Verdict::fail);
  CHECK(bench.judged().reason() == "health.nvlinks_down 2 > 0 (criterion links): arose during burnin (0 before): links 16, 17");
  // Well again is not well: the worst that was read counts.
  bench.measure("health.nvlinks_down", 0, "count", "memory");
  CHECK(bench.judged().verdict == Verdict::fail);
  bench.input.families = {"burnin"};
  std::erase_if(bench.report.measurements, [](const auto& m) { return m.test == "health" || m.test == "memory"; });
  CHECK(bench.judged().verdict == Verdict::fail);
}

TEST_CASE("a reason has the number, the limit and the criterion") {
  Bench bench;
  bench.tested("stream");
  bench.criteria.criteria.push_back(criterion("triad-floor", "bandwidth.stream_triad_gbps", manifest::Direction::min, 5000, "gbps"));
  bench.measure("bandwidth.stream_triad_gbps", 18.2, "gbps", "stream");
  CHECK(bench.judged().reason() == "bandwidth.stream_triad_gbps 18.2 < 5,000 (criterion triad-floor)");
}

TEST_CASE("a reason tells a figure and its limit apart however close and small they are") {
  for (const auto& [value, limit, words] : {std::tuple{0.0004, 0.00041, "0.0004 < 0.00041"}, std::tuple{3999.9999, 4000.0, "3,999.9999 < 4,000"}, std::tuple{3999.5, 4000.0, "3,999.5 < 4,000"}}) {
    Bench bench;
    bench.measure("burnin.gemm_fp32.tflops", value, "tflops");
    bench.criteria.criteria.push_back(criterion("floor", "burnin.gemm_fp32.tflops", manifest::Direction::min, limit, "tflops"));
    CHECK(bench.judged().reasons.at(0).find(words) != std::string::npos);
  }
}

TEST_CASE("a limit derived from the profile's nominal figure") {
  Bench bench;
  auto c = criterion("gemm-floor", "burnin.gemm_fp32.tflops", manifest::Direction::min, std::nullopt, "tflops");
  c.nominal_key = "fp32_tflops";
  c.factor = 0.5;
  bench.criteria.criteria.push_back(c);
  bench.measure("burnin.gemm_fp32.tflops", 40, "tflops");
  CHECK(bench.judged().verdict == Verdict::not_judged);   // no nominal figure: nothing to hold it against
  CHECK(bench.judged().reason().find("fp32_tflops") != std::string::npos);
  bench.profile.nominal["fp32_tflops"] = 67;
  CHECK(bench.judged().verdict == Verdict::pass);
  CHECK(bench.judged().criteria[0].limit == 33.5);
  set(bench, "burnin.gemm_fp32.tflops", 33.4);
  CHECK(bench.judged().verdict == Verdict::fail);
}

TEST_CASE("what is missing never passes") {
  Bench bench;
  bench.criteria.criteria.push_back(criterion("floor", "burnin.gemm_fp32.tflops", manifest::Direction::min, 1, "tflops"));
  CHECK(bench.judged().verdict == Verdict::not_judged);
  bench.criteria.criteria[0].on_missing = Verdict::fail;
  CHECK(bench.judged().verdict == Verdict::fail);
  bench.criteria.criteria[0].on_missing = Verdict::not_judged;
  bench.measure("burnin.gemm_fp32.tflops", std::nullopt, "tflops");
  CHECK(bench.judged().verdict == Verdict::not_judged);

  SUBCASE("no criteria") {
    bench.criteria.criteria.clear();
    CHECK(bench.judged().verdict == Verdict::not_judged);
    CHECK(bench.judged().reason().find("no criteria") != std::string::npos);
  }
  SUBCASE("an empty report") {
    bench.report = {};
    CHECK(bench.judged().verdict == Verdict::not_judged);
  }
}

TEST_CASE("zero iterations, an unproven checker and an unfinished test are not judged") {
  Bench bench;
  bench.criteria.criteria.push_back(criterion("exact", "burnin.gemm_fp32.mismatches", manifest::Direction::equal, 0, "count"));
  bench.measure("burnin.gemm_fp32.mismatches", 0, "count");
  REQUIRE(bench.judged().verdict == Verdict::pass);
  SUBCASE("zero iterations") { set(bench, "burnin.gemm_fp32.iterations", 0); }
  SUBCASE("checker missed its fault") { set(bench, "selftest.gemm_fp32.found", 0.5); }
  SUBCASE("checker told nothing") { set(bench, "selftest.gemm_fp32.found", std::nullopt); }
  SUBCASE("the test did not end") { bench.report.statuses.clear(); }
  CHECK(bench.judged().verdict == Verdict::not_judged);
  // A wrong bit that was found is a fault, whatever the checker would have missed.
  set(bench, "burnin.gemm_fp32.mismatches", 3);
  CHECK(bench.judged().verdict == Verdict::fail);
}

TEST_CASE("a wrong bit fails without any criterion") {
  Bench bench;
  bench.criteria.criteria.push_back(criterion("floor", "burnin.gemm_fp32.tflops", manifest::Direction::min, 1, "tflops"));
  bench.measure("burnin.gemm_fp32.tflops", 40, "tflops");
  bench.report.mismatches.push_back({"GPU-1", "cuda", "gemm_fp32", "slice 3 row 5 column 7", 5127, 0, 12, "0x3f800000", "0x3f800001", "0x00000001", "0x3f800001"});
  const auto judged = bench.judged();
  CHECK(judged.verdict == Verdict::fail);
  CHECK(judged.reason().find("12 wrong values") != std::string::npos);
  CHECK(judged.reason().find("slice 3 row 5 column 7") != std::string::npos);
  CHECK(judged.reason().find("(KF4010)") != std::string::npos);
}

TEST_CASE("tests that broke fail, tests that did not run are not judged, arithmetic that is not there is no gap") {
  Bench bench;
  bench.criteria.criteria.push_back(criterion("floor", "burnin.gemm_fp32.tflops", manifest::Direction::min, 1, "tflops"));
  bench.measure("burnin.gemm_fp32.tflops", 40, "tflops");
  auto& statuses = bench.report.statuses;
  SUBCASE("failed") {
    statuses.push_back({"GPU-1", "cuda", "memory", TestState::failed, "it said nothing for 60 s", "KF4007", 0});
    CHECK(bench.judged().verdict == Verdict::fail);
    CHECK(bench.judged().reason().find("KF4007") != std::string::npos);
  }
  SUBCASE("not run") {
    statuses.push_back({"GPU-1", "cuda", "memory", TestState::not_run, "allocate 3 MiB: out of memory", "KF4005", 0});
    CHECK(bench.judged().verdict == Verdict::not_judged);
  }
  SUBCASE("no such arithmetic") {
    statuses.push_back({"GPU-1", "cuda", "gemm_fp8", TestState::not_run, "no fp8", "KF4011", 0});
    CHECK(bench.judged().verdict == Verdict::pass);
  }
  SUBCASE("no driver") {
    bench.report = {};
    bench.report.statuses.push_back({"", "cuda", "inventory", TestState::not_run, "libcuda.so.1 cannot be loaded", "KF4001", 0});
    CHECK(bench.judged().verdict == Verdict::not_judged);
    CHECK(bench.judged().reason().find("KF4001") != std::string::npos);
  }
}

TEST_CASE("fewer accelerators than the profile says is a fail of the node") {
  Bench bench;
  bench.criteria.criteria.push_back(criterion("floor", "burnin.gemm_fp32.tflops", manifest::Direction::min, 1, "tflops"));
  bench.measure("burnin.gemm_fp32.tflops", 40, "tflops");
  bench.profile.per_node.state = manifest::Stated<int>::State::known;
  bench.profile.per_node.value = 1;
  CHECK(bench.judged().verdict == Verdict::pass);
  CHECK(bench.judged().of_node.empty());
  bench.profile.per_node.value = 8;
  CHECK(bench.judged().verdict == Verdict::fail);
  CHECK(bench.judged().accelerators[0].verdict == Verdict::pass);
  CHECK(bench.judged().reason() == "1 of 8 accelerators found");
  CHECK(bench.judged().of_node == std::vector<std::string>{"1 of 8 accelerators found"});
  CHECK(bench.judged().of_node_verdict == Verdict::fail);
  bench.report = {};
  bench.report.statuses.push_back({"", "cuda", "inventory", TestState::not_run, "the driver finds no GPU", "KF4003", 0});
  CHECK(bench.judged().verdict == Verdict::fail);   // the driver works and finds none
}

TEST_CASE("a figure of one device is never held against a criterion of another") {
  Bench bench("cpu");
  auto c = criterion("gpu-triad", "bandwidth.stream_triad_gbps", manifest::Direction::min, 10, "gbps");
  c.device = "cuda";
  bench.criteria.criteria.push_back(c);
  bench.tested("stream");
  bench.measure("bandwidth.stream_triad_gbps", 20'000, "gbps", "stream");
  const auto judged = bench.judged();
  CHECK(judged.verdict == Verdict::not_judged);
  CHECK(judged.criteria.empty());
  bench.input.device = "cuda";   // asked for GPUs, a processor answered
  CHECK(bench.judged().accelerators.empty());
  CHECK(bench.judged().verdict == Verdict::not_judged);
}

TEST_CASE("units must agree, and families outside the run do not count") {
  Bench bench;
  bench.criteria.criteria.push_back(criterion("floor", "burnin.gemm_fp32.tflops", manifest::Direction::min, 1, "tops"));
  bench.measure("burnin.gemm_fp32.tflops", 40, "tflops");
  CHECK(bench.judged().verdict == Verdict::not_judged);
  bench.criteria.criteria[0].unit = "tflops";
  bench.criteria.criteria.push_back(criterion("memory-exact", "memory.errors", manifest::Direction::equal, 0, "count"));
  CHECK(bench.judged().verdict == Verdict::not_judged);   // the memory family was not measured
  bench.input.families = {"burnin"};
  const auto judged = bench.judged();
  CHECK(judged.verdict == Verdict::pass);
  CHECK_FALSE(judged.criteria[1].counts);
}

TEST_CASE("every link is judged by itself") {
  Bench bench;
  const std::string metric = "bandwidth.device_to_device_memcpy_read_ce_gbps", test = "device_to_device_memcpy_read_ce";
  bench.tested(test);
  bench.criteria.criteria.push_back(criterion("nvlink", metric, manifest::Direction::min, 335, "gbps"));
  bench.measure(metric, 371, "gbps", test, "1->0");
  bench.measure(metric, 120, "gbps", test, "2->0");
  const auto judged = bench.judged();
  REQUIRE(judged.criteria.size() == 2);
  CHECK(judged.criteria[0].verdict == Verdict::pass);
  CHECK(judged.criteria[1].verdict == Verdict::fail);
  CHECK(judged.reason().find("2->0 120 < 335") != std::string::npos);
}

TEST_CASE("against the fleet") {
  Bench bench;
  auto c = criterion("peers", "burnin.gemm_fp32.tflops", manifest::Direction::min, 3, "tflops");
  c.basis = manifest::Basis::fleet_relative;
  bench.criteria.criteria.push_back(c);
  bench.measure("burnin.gemm_fp32.tflops", 50, "tflops");
  bench.peers[c.metric] = {*robust({50, 50.5, 49.5, 50.2, 50}), 5};
  CHECK(bench.judged().verdict == Verdict::not_judged);
  CHECK(bench.judged().reason().find("4 peers") != std::string::npos);
  bench.peers[c.metric] = {*robust({50, 50.5, 49.5, 50.2, 49.8, 50}), 6};
  CHECK(bench.judged().verdict == Verdict::pass);
  set(bench, "burnin.gemm_fp32.tflops", 45);
  CHECK(bench.judged().verdict == Verdict::fail);
  set(bench, "burnin.gemm_fp32.tflops", 70);   // better than its peers is no fault of a floor
  CHECK(bench.judged().verdict == Verdict::pass);
  bench.criteria.criteria[0].direction = manifest::Direction::equal;
  CHECK(bench.judged().verdict == Verdict::fail);
  bench.peers[c.metric] = {*robust({0, 0, 0, 0, 0, 0}), 6};   // nothing can be said against a median of nothing
  CHECK(bench.judged().verdict == Verdict::not_judged);
}

TEST_CASE("record-only figures are shown and never judged") {
  Bench bench;
  auto recorded = criterion("record", "burnin.gemm_fp32.tflops", manifest::Direction::min, std::nullopt, "tflops");
  recorded.basis = manifest::Basis::record_only;
  bench.criteria.criteria.push_back(recorded);
  bench.measure("burnin.gemm_fp32.tflops", 0.001, "tflops");
  CHECK(bench.judged().verdict == Verdict::not_judged);
  bench.criteria.criteria.push_back(criterion("exact", "burnin.gemm_fp32.iterations", manifest::Direction::min, 1, "count"));
  CHECK(bench.judged().verdict == Verdict::pass);
}

TEST_CASE("median and its deviation") {
  CHECK_FALSE(robust({}));
  CHECK(robust({1, 2, 3, 4, 100})->median == 3);
  CHECK(robust({1, 2, 3, 4, 100})->mad == 1);
  CHECK(robust({2, 4})->median == 3);
}

TEST_CASE("inventory: facts against expectations") {
  manifest::Profile profile;
  const json::Value facts = json::Object{{"memory", json::Object{{"total_gib", 128.0}}}, {"os", json::Object{{"arch", "x86_64"}}},
                                         {"gpus", json::Array{json::Object{{"name", "B200"}}}}};
  CHECK(judge_inventory(profile, facts).verdict == Verdict::not_judged);
  const auto with = [&](std::string path, json::Value wanted) {
    profile.expect = json::Object{{std::move(path), std::move(wanted)}};
    return judge_inventory(profile, facts);
  };
  CHECK(with("memory.total_gib", json::Object{{"min", 64}}).verdict == Verdict::pass);
  CHECK(with("memory.total_gib", json::Object{{"min", 256}}).verdict == Verdict::fail);
  CHECK(with("memory.total_gib", json::Object{{"min", 256}}).reason() == "memory.total_gib is 128, at least 256 was expected");
  CHECK(with("memory.total_gib", json::Object{{"max", 64}}).verdict == Verdict::fail);
  CHECK(with("memory.total_gib", json::Object{{"min", 64}, {"max", 256}}).verdict == Verdict::pass);
  CHECK(with("memory.total_gib", 128).verdict == Verdict::pass);
  CHECK(with("os.arch", json::Object{{"equal", "aarch64"}}).verdict == Verdict::fail);
  CHECK(with("os.arch", json::Object{{"one_of", json::Array{"aarch64", "x86_64"}}}).verdict == Verdict::pass);
  CHECK(with("os.arch", json::Object{{"one_of", json::Array{"aarch64"}}}).verdict == Verdict::fail);
  CHECK(with("os.arch", json::Object{{"min", 3}}).verdict == Verdict::not_judged);
  CHECK(with("os.kernel", json::Object{{"equal", "6.1"}}).verdict == Verdict::not_judged);
  CHECK(with("gpus.0.name", "B200").verdict == Verdict::pass);
  CHECK(with("gpus.1.name", "B200").verdict == Verdict::not_judged);
  CHECK(with("os.arch", json::Object{{"atleast", 3}}).verdict == Verdict::not_judged);
}

TEST_CASE("inventory: accelerators that are not there") {
  manifest::Profile profile;
  profile.vendor = "nvidia";
  profile.per_node.state = manifest::Stated<int>::State::known;
  profile.per_node.value = 2;
  const auto cards = [](const char* vendor, int count) {
    json::Array all;
    for (int i = 0; i < count; ++i) all.push_back(json::Object{{"vendor", vendor}});
    return all;
  };
  const auto facts = [&](int on_bus, int by_driver) {
    return json::Value(json::Object{{"accelerators", cards("nvidia", on_bus)}, {"gpus", cards("", by_driver)}, {"os", json::Object{{"arch", "x86_64"}}}});
  };
  CHECK(judge_inventory(profile, json::Object{}).verdict == Verdict::fail);
  CHECK(judge_inventory(profile, facts(0, 0)).verdict == Verdict::fail);
  CHECK(judge_inventory(profile, facts(1, 0)).reason() == "1 of 2 accelerators of nvidia are there, on the PCI bus");
  CHECK(judge_inventory(profile, facts(2, 1)).reason() == "1 of 2 accelerators of nvidia are there, says the driver");
  CHECK(judge_inventory(profile, facts(2, 0)).verdict == Verdict::pass);   // before the driver is installed
  CHECK(judge_inventory(profile, facts(2, 2)).verdict == Verdict::pass);
  profile.expect = json::Object{{"os.arch", "x86_64"}};
  CHECK(judge_inventory(profile, facts(1, 1)).verdict == Verdict::fail);
  profile.vendor = "amd";
  CHECK(judge_inventory(profile, facts(8, 8)).verdict == Verdict::fail);   // another maker's
  profile.vendor = "rebellions";   // of which kfab is not sure that it sees all
  CHECK(judge_inventory(profile, facts(0, 0)).verdict == Verdict::not_judged);
  profile.vendor = "cpu";
  CHECK(judge_inventory(profile, facts(0, 0)).verdict == Verdict::pass);
}

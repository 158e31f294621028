#include "validation/catalogue.hpp"
#include "validation/plan.hpp"

#include <doctest/doctest.h>

#include "base/codes/validation.hpp"

using namespace kfab;
using namespace kfab::validation;

TEST_CASE("every check yields metrics of its own family, and both devices have all families") {
  for (const auto& check : all_checks()) {
    CHECK_FALSE(check.metrics.empty());
    for (const auto& metric : check.metrics) CHECK(family_of(metric.id) == check.family);
  }
  for (const auto* device : {"cpu", "cuda", "vendor"})
    for (const auto& family : all_families()) {
      int count = 0;
      for (const auto& check : all_checks()) count += check.device == device && check.family == family;
      CHECK(count == 1);
    }
  CHECK(family_of("selftest.memory.found").empty());
}

TEST_CASE("every check says what leaves it without a verdict, and what it takes") {
  for (const auto& check : all_checks()) {
    CAPTURE(check.title);
    CHECK(check.not_judged.size() > 10);
    CHECK_FALSE(check.not_judged.ends_with('.'));
  }
  CHECK(samples_of(Level::quick) < samples_of(Level::soak));
}

TEST_CASE("a metric is found by its id or the pattern that it is of") {
  const auto means = [](std::string_view id, std::string_view device) {
    const auto* found = find_metric(id, device);
    return found ? std::string(found->id) : std::string();
  };
  CHECK(means("memory.coverage_pct", "cuda") == "memory.coverage_pct");
  CHECK(means("burnin.gemm_fp8.tflops", "cuda") == "burnin.gemm_<p>.tflops");
  CHECK(means("burnin.gemm_fp8.tflops", "any") == "burnin.gemm_<p>.tflops");
  CHECK(means("burnin.gemm_int8.tops", "cpu") == "burnin.gemm_int8.tops");
  CHECK(means("health.ecc_mode", "cuda") == "health.ecc_mode");                       // and not health.<counter>
  CHECK(means("health.ecc_volatile_corrected", "cuda") == "health.<counter>");
  CHECK(means("counters.ecc_volatile_uncorrected", "cpu") == "counters.ecc_<volatile|aggregate>_<corrected|uncorrected>");
  CHECK(means("counters.ecc_volatile_fixed", "cpu").empty());
  CHECK(means("bandwidth.stream.mismatches", "cpu") == "bandwidth.stream.mismatches");
  CHECK(means("xid.63", "cuda") == "xid.<number>");
  CHECK(means("burnin.gemm_fp8.tflops.", "cuda").empty());
  CHECK(means("burnin.gemm_.tflops", "cuda").empty());
  CHECK(means("health.ecc_mode", "cpu") == "health.<counter>");
  CHECK(means("", "any").empty());
  CHECK(means("nonsense", "any").empty());
}

TEST_CASE("a time that does not hold one compared round of each test is refused, and enough is named") {
  manifest::Profile cpu;
  cpu.vendor = "cpu";
  RequestOptions only;
  only.families = {"burnin"};
  only.duration_s = 0.001;
  REQUIRE_FALSE(plan_tests(cpu, only));
  CHECK(plan_tests(cpu, only).error().code == code::no_time_to_test);
  CHECK(plan_tests(cpu, only).error().message == "profile : of --duration 1 ms the burnin tests get 1 ms, and one round of them takes 500 ms: --duration 500 ms is enough");
  only.duration_s = 0.5;
  CHECK(plan_tests(cpu, only));
  only.families.clear();
  CHECK_FALSE(plan_tests(cpu, only));
  only.duration_s = 1;
  CHECK(plan_tests(cpu, only));
  manifest::Profile gpu;
  gpu.vendor = "nvidia";
  only.families = {"burnin"};
  only.duration_s = 4;
  CHECK_FALSE(plan_tests(gpu, only));
  only.duration_s = 5;
  CHECK(plan_tests(gpu, only));
}

TEST_CASE("a processor's prediction is its tests' time and little more") {
  manifest::Profile cpu;
  cpu.vendor = "cpu";
  for (const auto& family : {"memory", "bandwidth", "burnin", ""}) {
    RequestOptions options;
    if (*family) options.families = {family};
    const auto plan = plan_tests(cpu, options);
    REQUIRE(plan);
    double of_tests = 0;   // the memory test's planted faults and its last patterns take half a second beside its time
    for (const auto& check : all_checks())
      if (check.device == "cpu" && std::find(plan->families.begin(), plan->families.end(), check.family) != plan->families.end())
        of_tests += seconds_of(check, Level::quick, 0) + (check.family == "memory" ? 0.5 : 0);
    CAPTURE(family);
    CHECK(plan->predicted_s >= of_tests);
    CHECK(plan->predicted_s <= 1.25 * of_tests);
  }
}

TEST_CASE("what there is no test of gets no time, also not the time of the start") {
  manifest::Profile npu;
  npu.vendor = "rebellions";
  RequestOptions memory_alone;
  memory_alone.families = {"memory"};
  const auto untested = plan_tests(npu, memory_alone);
  REQUIRE(untested);
  CHECK(untested->family_s == std::vector<std::pair<std::string, double>>{{"memory", 0.0}});
  CHECK(json::Value(untested->members).string_or("vendor") == "rebellions");
}

TEST_CASE("a plan says what is sent and how long it takes") {
  manifest::Profile cpu;
  cpu.vendor = "cpu";
  const auto quick = plan_tests(cpu, {});
  REQUIRE(quick);
  CHECK(quick->device == "cpu");
  CHECK(quick->families.size() == 4);
  CHECK(quick->predicted_s <= 15);
  // A GPU may hang once: a watchdog's silence of 120 s, and 20 s for its counters, after which its node's others are done in time.
  CHECK(quick->deadline_s >= 2 * quick->predicted_s + 120 + 140);
  const json::Value members = quick->members;
  CHECK(members.double_or("duration_s", 0) == doctest::Approx(9));
  CHECK(members.int_or("samples", 0) >= 10);
  CHECK(members.int_or("memory_cap_mib", 0) == 768);
  for (const auto& [asked, taken] : {std::pair{64, 64}, std::pair{768, 768}, std::pair{100'000, 768}}) {   // a cap never adds
    RequestOptions capped;
    capped.memory_cap_mib = asked;
    CHECK(json::Value(plan_tests(cpu, capped)->members).int_or("memory_cap_mib", 0) == taken);
  }

  RequestOptions shared;
  shared.share = 4;
  CHECK(json::Value(plan_tests(cpu, shared)->members).int_or("memory_cap_mib", 0) == 192);

  RequestOptions only;
  only.families = {"memory", "memory"};
  only.duration_s = 100;
  const auto memory = plan_tests(cpu, only);
  CHECK(memory->families == std::vector<std::string>{"memory"});
  CHECK(json::Value(memory->members).double_or("duration_s", 0) == 100);

  only.duration_s = 0;   // nothing would be tested, and nothing would be wrong
  REQUIRE_FALSE(plan_tests(cpu, only));
  CHECK(plan_tests(cpu, only).error().code == code::no_time_to_test);

  RequestOptions soak;
  soak.level = Level::soak;
  CHECK(plan_tests(cpu, soak)->predicted_s >= 8 * 3600);
  soak.duration_s = 3600;
  CHECK(plan_tests(cpu, soak)->predicted_s < 2 * 3600);

  manifest::Profile gpu;
  gpu.vendor = "nvidia";
  gpu.per_node.state = manifest::Stated<int>::State::known;
  gpu.per_node.value = 8;
  CHECK(plan_tests(gpu, {})->device == "cuda");
  CHECK(plan_tests(gpu, {})->predicted_s > plan_tests(cpu, {})->predicted_s);

  RequestOptions pulses;
  pulses.families = {"burnin"};
  pulses.duration_s = 10;
  pulses.load = {"pulsed", 2, 0.3};
  const auto pulsed = plan_tests(cpu, pulses);
  REQUIRE(pulsed);
  CHECK(json::Value(pulsed->members).string_or("load") == "pulsed");
  CHECK(json::Value(pulsed->members).double_or("period_s", 0) == 2);
  CHECK(json::Value(pulsed->members).double_or("duty", 0) == 0.3);
  pulses.load.period_s = 30;   // what holds no two periods shows no pulses
  CHECK(plan_tests(cpu, pulses).error().code == code::load_too_long);
  pulses.families = {"memory"};
  CHECK(plan_tests(cpu, pulses));

  RequestOptions wrong;
  wrong.families = {"burn"};
  CHECK(plan_tests(cpu, wrong).error().code == code::unknown_test_family);
  manifest::Profile npu;
  npu.vendor = "furiosa";
  CHECK(plan_tests(npu, {})->device == "vendor");
  npu.device = "quantum";
  CHECK(plan_tests(npu, {}).error().code == code::no_tests_for_device);
  CHECK(parse_level("standard") == Level::standard);
  CHECK_FALSE(parse_level("long"));
}

TEST_CASE("standard lasts about five minutes however many GPUs a node has, and what criteria rest on is measured on each") {
  manifest::Profile gpu;
  gpu.vendor = "nvidia";
  gpu.per_node.state = manifest::Stated<int>::State::known;
  RequestOptions standard;
  standard.level = Level::standard;
  double one_gpu_burns = 0;
  for (const int count : {1, 2, 4, 8}) {
    CAPTURE(count);
    gpu.per_node.value = count;
    const auto plan = plan_tests(gpu, standard);
    REQUIRE(plan);
    CHECK(plan->predicted_s >= 270);
    CHECK(plan->predicted_s <= 345);
    const json::Value members = plan->members;
    CHECK(members.int_or("samples", 0) >= 10);
    CHECK(members["family_s"].double_or("memory", 0) == 60);
    const double burns = members["family_s"].double_or("burnin", 0), copies = members["family_s"].double_or("bandwidth", 0);
    if (count == 1) one_gpu_burns = burns;
    CHECK(burns >= one_gpu_burns / 4);
    // The copies of copy engines are measured whatever the time; what is planned has room for them.
    CHECK(copies >= (count > 1 ? 2.0 * members.int_or("samples", 0) : 40));
    // What is told to the agent and what is predicted are one.
    double told = 0;
    for (const auto& [family, seconds] : plan->family_s)
      if (family != "health") told += seconds;
    CHECK(told == doctest::Approx(60 + burns + count * copies));
  }
  gpu.per_node.value = 8;
  standard.families = {"bandwidth"};
  standard.duration_s = 1600;
  const json::Value longer = plan_tests(gpu, standard)->members;
  CHECK(longer["family_s"].double_or("bandwidth", 0) == 200);   // one after the other

  manifest::Profile npu;
  npu.vendor = "intel";
  npu.per_node = gpu.per_node;
  standard.families.clear();
  standard.duration_s.reset();
  const auto plan = plan_tests(npu, standard);
  REQUIRE(plan);
  CHECK(json::Value(plan->members)["family_s"].double_or("burnin", 0) == 30);   // makers' tools take turns as well
  CHECK(plan->predicted_s < 330);
  npu.vendor = "furiosa";
  CHECK(plan_tests(npu, standard)->predicted_s == doctest::Approx(plan->predicted_s));
  npu.vendor = "rebellions";   // of whose maker kfab drives no stress tool
  CHECK(plan_tests(npu, standard)->predicted_s == doctest::Approx(plan->predicted_s - 240));
}

TEST_CASE("a quick look lasts about half a minute, and little more on a node of eight GPUs that copy in turn") {
  manifest::Profile gpu;
  gpu.vendor = "nvidia";
  gpu.per_node.state = manifest::Stated<int>::State::known;
  for (const auto& [count, most_s] : {std::pair{1, 35.0}, std::pair{4, 36.0}, std::pair{8, 41.0}}) {
    gpu.per_node.value = count;
    const auto plan = plan_tests(gpu, {});
    REQUIRE(plan);
    CHECK(plan->predicted_s <= most_s);
    CHECK(plan->predicted_s >= 25);
    const json::Value members = plan->members;
    CHECK(members.int_or("samples", 0) == 10);
    CHECK(members["family_s"].double_or("burnin", 0) >= 7.5);
  }
}

TEST_CASE("what is predicted is the time that was asked for, and what comes beside it whatever that is") {
  struct Row { const char* vendor; int gpus; };
  for (const auto& row : {Row{"cpu", 1}, Row{"nvidia", 1}, Row{"nvidia", 8}})
    for (const auto level : {Level::quick, Level::standard, Level::soak})
      for (const auto& families : {std::vector<std::string>{}, {"memory"}, {"bandwidth"}, {"burnin"}, {"memory", "bandwidth"}}) {
        manifest::Profile profile;
        profile.vendor = row.vendor;
        profile.per_node.state = manifest::Stated<int>::State::known;
        profile.per_node.value = row.gpus;
        RequestOptions options;
        options.level = level;
        options.families = families;
        std::optional<double> beside;   // the same for each duration
        for (const double asked : {7200.0, 10800.0, 86400.0}) {
          options.duration_s = asked;
          const auto plan = plan_tests(profile, options);
          REQUIRE(plan);
          CAPTURE(row.vendor);
          CAPTURE(row.gpus);
          CAPTURE(to_string(level));
          CAPTURE(families.size());
          CAPTURE(asked);
          double parts = 0;
          for (const auto& part : plan->family_s) parts += part.second;
          CHECK(parts == doctest::Approx(plan->predicted_s));
          // What the agent is told to do is what is predicted: copies in turn, the rest side by side.
          const json::Value members = plan->members;
          double told = 0;
          for (const auto& family : plan->families)
            if (family != "health") told += members["family_s"].double_or(family, 0) * (family == "bandwidth" ? row.gpus : 1);
          const bool only_copies = families == std::vector<std::string>{"bandwidth"} && std::string(row.vendor) == "nvidia";
          if (only_copies && members.int_or("samples", 0) == 1000) {   // of each copy: they are enough
            CHECK(told < asked);
            CHECK(plan->predicted_s < asked);
            continue;
          }
          CHECK(told == doctest::Approx(asked).epsilon(0.001));
          if (!beside) beside = plan->predicted_s - asked;
          CHECK(plan->predicted_s - asked == doctest::Approx(*beside).epsilon(0.01));
          CHECK(*beside >= 0);
          CHECK(*beside < 15);
        }
      }
  // Copies that criteria rest on are not left out for want of time: of eight GPUs in turn they take what they take, and the burn-in keeps
  // half of its time; that is said.
  manifest::Profile eight;
  eight.vendor = "nvidia";
  eight.per_node.state = manifest::Stated<int>::State::known;
  eight.per_node.value = 8;
  RequestOptions minute;
  minute.duration_s = 20;
  const auto most = plan_tests(eight, minute);
  REQUIRE(most);
  const json::Value told = most->members;
  CHECK(told["family_s"].double_or("bandwidth", 0) == doctest::Approx(2.2));
  CHECK(most->predicted_s > 8 * 2.2 + 20 * (6 + 15 / 2.0) / 24);
}

TEST_CASE("more time for copies alone takes more samples of them; beside other tests it is the others'") {
  manifest::Profile gpu;
  gpu.vendor = "nvidia";
  gpu.per_node.state = manifest::Stated<int>::State::known;
  gpu.per_node.value = 1;
  const auto members = [&](std::vector<std::string> families, Level level, std::optional<double> duration) {
    RequestOptions options;
    options.families = std::move(families);
    options.level = level;
    options.duration_s = duration;
    return json::Value(plan_tests(gpu, options)->members);
  };
  CHECK(members({"bandwidth"}, Level::quick, {}).int_or("samples", 0) == 20);
  CHECK(members({"bandwidth"}, Level::quick, 90.0).int_or("samples", 0) == 600);
  // A quick look is over when all is seen; a time that was asked for is filled.
  CHECK_FALSE(members({}, Level::quick, {}).bool_or("fill_time", true));
  CHECK(members({}, Level::quick, 90.0).bool_or("fill_time", false));
  CHECK(members({}, Level::standard, {}).bool_or("fill_time", false));
  const auto soak = members({}, Level::soak, 36000.0);
  CHECK(soak.int_or("samples", 0) == 50);
  CHECK(soak["family_s"].double_or("bandwidth", 0) == 250);   // what fifty samples take
  CHECK(soak["family_s"].double_or("memory", 0) == doctest::Approx(7200));
  CHECK(soak["family_s"].double_or("burnin", 0) == doctest::Approx(36000 - 7200 - 250));
}

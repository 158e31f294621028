#include <doctest/doctest.h>

#include "fixture.hpp"
#include "readiness/power.hpp"

using namespace kfab;
using namespace kfab::readiness;
using namespace kfab::readiness::fixture;

namespace {

const manifest::Profile b200 = profile("dgx-b200", "nvidia", "B200", 8, 14.3);

PowerInput input(const manifest::Power& power, std::int64_t nodes) {
  PowerInput in;
  in.power = &power;
  PowerLoad load;
  load.profile = &b200;
  load.profile_name = b200.name;
  load.nodes = nodes;
  in.loads = {load};
  in.profiles = {&b200};
  in.today = day("2026-11-21");
  return in;
}

manifest::Power megawatts(double mw) {
  manifest::Power power;
  power.facility_kw = known(mw * 1000);
  return power;
}

}  // namespace

TEST_CASE("7,500 DGX B200 nodes need 107.25 MW of IT load and do not fit 103 MW, whatever the PUE is") {
  const auto power = megawatts(103);
  const auto found = judge_power(input(power, 7500));
  CHECK(found.applies);
  CHECK(found.verdict == Verdict::fail);
  CHECK(*found.status.nameplate_kw == doctest::Approx(107250));
  CHECK(*found.status.envelope_kw == doctest::Approx(103000));
  CHECK(*found.status.planned_accelerators == 60000);
  CHECK(*found.status.facility_kw_per_accelerator == doctest::Approx(1.7167).epsilon(0.001));
  CHECK(*found.status.fitting_w_per_accelerator == doctest::Approx(1716.67).epsilon(0.001));
  CHECK(*found.status.nameplate_w_per_accelerator == doctest::Approx(1787.5));
  CHECK(found.status.fitting_is_upper_bound);
  CHECK(has(found.detail, "107.25 MW"));
  CHECK(has(found.detail, "103 MW"));
  CHECK(has(found.detail, "4.1 %"));
  CHECK(has(found.detail, "1,717 W"));
}

TEST_CASE("with PUE 1.25 and 10 % of other IT load 103 MW hold 5,238 nodes, 41 MW hold 2,085") {
  auto power = megawatts(103);
  power.pue = known(1.25);
  power.overhead_fraction = known(0.10);
  auto found = judge_power(input(power, 7500));
  CHECK(found.verdict == Verdict::fail);
  CHECK(*found.status.max_nodes_at_nameplate == 5238);
  CHECK(*found.status.facility_needed_kw == doctest::Approx(147468.75));
  CHECK(*found.status.it_envelope_kw == doctest::Approx(82400));
  CHECK(*found.status.headroom_pct < -40);
  CHECK_FALSE(found.status.fitting_is_upper_bound);
  CHECK(*found.status.max_concurrent_burnin_nodes == 5238);
  power.facility_kw = known(41000.0);
  found = judge_power(input(power, 2000));
  CHECK(*found.status.max_nodes_at_nameplate == 2085);
  CHECK(found.status.capacity.at(0).accelerators == 16680);
  CHECK(found.verdict == Verdict::pass);
  CHECK(*found.status.max_concurrent_burnin_nodes == 2000);
  CHECK(judge_power(input(power, 2085)).verdict == Verdict::pass);
  CHECK(judge_power(input(power, 2086)).verdict == Verdict::fail);
}

TEST_CASE("without a PUE what fits at 1 is not known to fit") {
  const auto power = megawatts(103);
  const auto found = judge_power(input(power, 7000));   // 100.1 MW
  CHECK(found.verdict == Verdict::not_judged);
  CHECK(has(found.detail, "at most 1.03"));
}

TEST_CASE("an IT envelope needs no PUE") {
  manifest::Power power;
  power.it_kw = known(143.0);
  CHECK(judge_power(input(power, 10)).verdict == Verdict::pass);
  CHECK(judge_power(input(power, 11)).verdict == Verdict::fail);
  CHECK(judge_power(input(power, 10)).status.envelope_at == "it");
}

TEST_CASE("what is unknown leaves the gate open, with the reason") {
  auto power = megawatts(41);
  power.pue = known(1.25);
  SUBCASE("no load") {
    PowerInput in = input(power, 0);
    in.loads.clear();
    in.load_known = false;
    const auto found = judge_power(in);
    CHECK(found.verdict == Verdict::not_judged);
    CHECK(has(found.detail, "2,293 nodes of dgx-b200, 18,344 accelerators"));
  }
  SUBCASE("no nameplate") {
    const auto bare = profile("npu", "rebellions", "ATOM", 4, 0);
    PowerInput in = input(power, 5);
    in.loads[0].profile = &bare;
    in.loads[0].profile_name = "npu";
    const auto found = judge_power(in);
    CHECK(found.verdict == Verdict::not_judged);
    CHECK_FALSE(found.status.nameplate_kw.has_value());
    CHECK(has(found.detail, "npu"));
  }
  SUBCASE("no chip, only a number of accelerators") {
    PowerInput in = input(power, 0);
    in.loads[0] = PowerLoad{nullptr, "", 0, false, 60000};
    const auto found = judge_power(in);
    CHECK(found.verdict == Verdict::not_judged);
    CHECK_FALSE(found.status.planned_nodes.has_value());
    CHECK(*found.status.planned_accelerators == 60000);
  }
  SUBCASE("the envelope itself") {
    power.facility_kw = unknown<double>();
    const auto found = judge_power(input(power, 5));
    CHECK(found.applies);
    CHECK(found.verdict == Verdict::not_judged);
    CHECK_FALSE(found.status.envelope_kw.has_value());
  }
  SUBCASE("the overhead") {
    power.overhead_fraction = unknown<double>();
    CHECK(judge_power(input(power, 2000)).verdict == Verdict::not_judged);
    CHECK(judge_power(input(power, 2300)).verdict == Verdict::fail);
  }
  SUBCASE("power that comes later") {
    power.available_from = known(day("2027-11"));
    CHECK(judge_power(input(power, 2000)).verdict == Verdict::not_judged);
    power.available_from = known(day("2026-11-21"));
    CHECK(judge_power(input(power, 2000)).verdict == Verdict::pass);
  }
}

TEST_CASE("no envelope at all is no gate") {
  const manifest::Power power;
  CHECK_FALSE(judge_power(input(power, 5)).applies);
}

TEST_CASE("what was measured overrules the nameplate when it is worse") {
  manifest::Power power;
  power.it_kw = known(143.0);
  PowerInput in = input(power, 10);
  in.measured_kw = 60.0;
  in.measured_nodes = 5;
  CHECK(judge_power(in).verdict == Verdict::pass);
  CHECK(*judge_power(in).status.projected_kw == doctest::Approx(120));
  in.measured_kw = 75.0;   // 150 kW for all ten
  CHECK(judge_power(in).verdict == Verdict::fail);
  in.measured_kw = std::nullopt;
  in.measured_accelerators_kw = 144.0;
  CHECK(judge_power(in).verdict == Verdict::fail);
}

TEST_CASE("rack caps hold for each rack") {
  manifest::Power power;
  power.it_kw = known(1000.0);
  power.rack_cap_kw = known(40.0);
  PowerInput in = input(power, 4);
  in.racks = 2;
  CHECK(judge_power(in).verdict == Verdict::pass);
  in.rack_excess = {{"r1", 3, 42.9}};
  const auto found = judge_power(in);
  CHECK(found.verdict == Verdict::fail);
  CHECK(has(found.detail, "rack r1 has 3 nodes that need 42.9 kW"));
}

TEST_CASE("a power cap per accelerator is named where its rated power is known") {
  auto with_tdp = b200;
  with_tdp.nominal["tdp_w"] = 1000;
  const auto power = megawatts(103);
  PowerInput in = input(power, 7500);
  in.loads[0].profile = &with_tdp;
  const auto found = judge_power(in);
  CHECK(*found.status.fitting_cap_w == doctest::Approx(1000 - 1787.5 + 1716.667).epsilon(0.001));
}

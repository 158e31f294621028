#include <doctest/doctest.h>

#include <algorithm>

#include "fixture.hpp"
#include "readiness/json.hpp"

using namespace kfab;
using namespace kfab::readiness;
using namespace kfab::readiness::fixture;

namespace {

manifest::Target target(std::string profile_name, std::int64_t accelerators) {
  manifest::Target t;
  t.profile = std::move(profile_name);
  t.accelerators = known(accelerators);
  return t;
}

TrancheStatus p1(const manifest::Site& s, const store::Evidence& e, const Context& c = context()) { return assess(s, e, c).tranches.at(0); }

void fail_node(store::Evidence& e, const std::string& node) {
  record(e, node, "validate").verdict = Verdict::fail;
  record(e, node, "validate").reason = "memory: 3 wrong words";
}
void forget_node(store::Evidence& e, const std::string& node) {
  std::erase_if(e.nodes, [&](const auto& r) { return r.node == node; });
  std::erase_if(e.accelerators, [&](const auto& r) { return r.node == node; });
}

}  // namespace

TEST_CASE("a tranche whose nodes all passed is ready") {
  const auto s = site(4);
  const auto t = p1(s, evidence(s));
  CHECK(t.ready);
  CHECK(t.verdict == Verdict::pass);
  CHECK(t.counts.accepted == 4);
  CHECK(t.accelerator_counts.accepted == 32);
  CHECK(t.blockers.empty());
  CHECK(t.forecast.status == "ready");
  CHECK(has(t.headline, "4 of 4 nodes accepted; due 2027-11-30"));
}

TEST_CASE("without evidence nothing is ever ready, whatever is asked for") {
  auto s = site(4);
  CHECK_FALSE(p1(s, {}).ready);
  CHECK(p1(s, {}).verdict == Verdict::not_judged);
  s.tranches[0].ready_when.accepted_pct = 0;
  CHECK_FALSE(p1(s, {}).ready);
  s.tranches[0].targets = {target("h200x8", 0)};
  CHECK_FALSE(p1(s, {}).ready);
  s.nodes.clear();
  CHECK_FALSE(p1(s, {}).ready);
  CHECK_FALSE(assess(s, {}, context()).ready);
  s.tranches.clear();
  CHECK_FALSE(assess(s, {}, context()).ready);
}

TEST_CASE("accepted: the share of the target, failed and open nodes told apart") {
  auto s = site(10);
  s.tranches[0].targets = {target("h200x8", 80)};
  s.tranches[0].ready_when.accepted_pct = 90;
  auto e = evidence(s);
  forget_node(e, "n00001");
  CHECK(verdict_of(p1(s, e), "accepted") == Verdict::pass);   // 72 of 80
  CHECK(p1(s, e).ready);
  forget_node(e, "n00002");
  auto t = p1(s, e);
  CHECK(verdict_of(t, "accepted") == Verdict::not_judged);
  CHECK_FALSE(t.ready);
  CHECK(t.counts.not_judged == 2);
  CHECK(*t.forecast.remaining_accelerators == 8);
  CHECK(*t.forecast.remaining_nodes == 1);
  fail_node(e, "n00003");
  CHECK(verdict_of(p1(s, e), "accepted") == Verdict::not_judged);   // 7 + 2 without a verdict make 9
  fail_node(e, "n00004");
  t = p1(s, e);
  CHECK(verdict_of(t, "accepted") == Verdict::fail);
  CHECK(t.verdict == Verdict::fail);
  CHECK(t.counts.failed == 2);
  CHECK(t.targets.at(0).accepted == 48);
  CHECK(t.targets.at(0).required == 72);
}

TEST_CASE("accepted: what is not declared yet is open, not failed") {
  auto s = site(2);
  s.tranches[0].targets = {target("h200x8", 16680)};
  const auto t = p1(s, evidence(s));
  CHECK(verdict_of(t, "accepted") == Verdict::not_judged);
  CHECK(has(gate(t, "accepted")->detail, "16,664 in no declared node yet"));
}

TEST_CASE("accepted: one profile does not make up for another") {
  auto s = site(4);
  add_profile(s, profile("b200x8", "nvidia", "B200", 8, 14.3));
  add_nodes(s, "p1", "b200x8", 2, "b");
  s.tranches[0].targets = {target("h200x8", 32), target("b200x8", 16)};
  auto e = evidence(s);
  CHECK(p1(s, e).ready);
  fail_node(e, "b00001");
  CHECK_FALSE(p1(s, e).ready);
  CHECK(verdict_of(p1(s, e), "accepted") == Verdict::fail);
}

TEST_CASE("accepted: cumulative targets count the tranches before") {
  auto s = site(2);
  s.tranches.push_back(tranche("p2", "2029-02"));
  s.tranches[1].depends_on = {"p1"};
  s.tranches[1].targets = {target("h200x8", 40)};
  s.tranches[1].targets[0].cumulative = true;
  add_nodes(s, "p2", "h200x8", 3, "q");
  const auto r = assess(s, evidence(s), context());
  CHECK(r.tranches.at(1).targets.at(0).accepted == 40);
  CHECK(r.tranches.at(1).ready);
  CHECK(r.ready);
  CHECK(*r.target_accelerators == 40);
}

TEST_CASE("an unknown target is told as such and never as zero") {
  auto s = site(0);
  manifest::Target t;
  t.profile = "h200x8";
  t.accelerators = unknown<std::int64_t>();
  s.tranches[0].targets = {t};
  const auto found = p1(s, {});
  CHECK(verdict_of(found, "accepted") == Verdict::not_judged);
  CHECK(found.forecast.status == "no_target");
  CHECK(has(found.forecast.reason, "cannot forecast: no target"));
  CHECK_FALSE(found.forecast.rate_needed_per_day.has_value());
  CHECK(json::dump(to_json(found)).find("\"remaining_accelerators\":null") != std::string::npos);
}

TEST_CASE("contiguous blocks: pass, open, broken") {
  auto s = site(10);
  s.tranches[0].ready_when.contiguous = {6, 4};
  s.tranches[0].ready_when.accepted_pct = 90;
  auto e = evidence(s);
  CHECK(verdict_of(p1(s, e), "contiguous") == Verdict::pass);
  auto open = e;
  forget_node(open, "n00003");
  CHECK(verdict_of(p1(s, open), "contiguous") == Verdict::not_judged);
  CHECK_FALSE(p1(s, open).ready);
  fail_node(e, "n00003");
  CHECK(verdict_of(p1(s, e), "contiguous") == Verdict::fail);
  s.tranches[0].ready_when.contiguous = {7};
  CHECK(verdict_of(p1(s, e), "contiguous") == Verdict::pass);
}

TEST_CASE("contiguous blocks do not reach over fabric domains") {
  auto s = site(3);
  add_nodes(s, "p1", "h200x8", 3, "m");
  s.tranches[0].ready_when.contiguous = {6};
  CHECK(verdict_of(p1(s, evidence(s)), "contiguous") == Verdict::fail);
  s.groups[0].fabric = s.groups[1].fabric = "f1";
  CHECK(verdict_of(p1(s, evidence(s)), "contiguous") == Verdict::pass);
}

TEST_CASE("spares are tested beyond the target") {
  auto s = site(11);
  s.tranches[0].targets = {target("h200x8", 80)};
  s.tranches[0].targets[0].spares_pct = known(10.0);
  auto e = evidence(s);
  CHECK(verdict_of(p1(s, e), "spares") == Verdict::pass);
  auto open = e;
  forget_node(open, "n00001");
  CHECK(verdict_of(p1(s, open), "spares") == Verdict::not_judged);
  fail_node(e, "n00001");
  CHECK(verdict_of(p1(s, e), "spares") == Verdict::fail);
  CHECK_FALSE(p1(s, e).ready);
  s.tranches[0].targets[0].spares_pct = known(20.0);
  CHECK(verdict_of(p1(s, evidence(s)), "spares") == Verdict::not_judged);   // not declared yet
}

TEST_CASE("power: the tranche's envelope, the site's where it states none, cumulative ones") {
  auto s = site(4);   // 40.8 kW
  s.tranches[0].power.it_kw = known(50.0);
  CHECK(verdict_of(p1(s, evidence(s)), "power") == Verdict::pass);
  s.tranches[0].power.it_kw = known(40.0);
  CHECK(verdict_of(p1(s, evidence(s)), "power") == Verdict::fail);
  CHECK_FALSE(p1(s, evidence(s)).ready);

  s.tranches[0].power = {};
  CHECK(gate(p1(s, evidence(s)), "power") == nullptr);
  s.power.it_kw = known(80.0);
  s.tranches.push_back(tranche("p2"));
  add_nodes(s, "p2", "h200x8", 4, "q");   // both tranches draw on the site's 80 kW, and need 81.6
  CHECK(verdict_of(p1(s, evidence(s)), "power") == Verdict::fail);
  s.power.it_kw = known(82.0);
  CHECK(verdict_of(p1(s, evidence(s)), "power") == Verdict::pass);

  s.power = {};
  s.tranches[0].power.it_kw = known(41.0);
  s.tranches[1].power.it_kw = known(81.0);
  s.tranches[1].depends_on = {"p1"};
  CHECK(verdict_of(assess(s, evidence(s), context()).tranches[1], "power") == Verdict::pass);
  s.tranches[1].power.cumulative = true;
  CHECK(verdict_of(assess(s, evidence(s), context()).tranches[1], "power") == Verdict::fail);
}

TEST_CASE("power: the numbers of Ulsan as declared") {
  auto s = site(0);
  add_profile(s, profile("dgx-b200", "nvidia", "B200", 8, 14.3));
  s.tranches[0].power.facility_kw = known(41000.0);
  s.tranches[0].due = known(day("2027-11"));
  auto p2 = tranche("p2", "2029-02");
  p2.depends_on = {"p1"};
  p2.power.facility_kw = known(103000.0);
  p2.power.cumulative = true;
  p2.targets = {target("dgx-b200", 60000)};
  p2.targets[0].cumulative = true;
  s.tranches.push_back(p2);
  const auto r = assess(s, {}, context());
  const auto& t = r.tranches.at(1);
  CHECK(verdict_of(t, "power") == Verdict::fail);
  CHECK(*t.power.nameplate_kw == doctest::Approx(107250));
  CHECK(*t.power.envelope_kw == doctest::Approx(103000));
  CHECK(t.power.cumulative);
  CHECK(has(gate(t, "power")->detail, "7,500 nodes"));
  CHECK_FALSE(t.ready);
  CHECK(t.blockers.front().next_step.size() > 10);
  CHECK(verdict_of(r.tranches.at(0), "power") == Verdict::not_judged);   // no count for the first phase

  // What comes later and is of unknown size can break an envelope, and never keep one.
  auto later = tranche("later", "");
  later.depends_on = {"p2"};
  later.power.facility_kw = known(1'000'000.0);
  later.power.pue = known(1.25);
  later.power.cumulative = true;
  s.tranches.push_back(later);
  CHECK(verdict_of(assess(s, {}, context()).tranches.at(2), "power") == Verdict::not_judged);
  CHECK(has(gate(assess(s, {}, context()).tranches.at(2), "power")->detail, "what later adds is not stated"));
  s.tranches[2].power.facility_kw = known(100'000.0);
  CHECK(verdict_of(assess(s, {}, context()).tranches.at(2), "power") == Verdict::fail);
}

TEST_CASE("power: measured figures of nodes are summed, CPU power is not a node's") {
  auto s = site(2);
  s.tranches[0].power.it_kw = known(21.0);
  auto e = evidence(s);
  const auto figure = [](const char* node, const char* id, const char* metric, double watts) {
    store::MeasurementRecord m;
    m.node = node;
    m.accelerator_id = id;
    m.device = "cuda";
    m.metric = metric;
    m.unit = "w";
    m.value = watts;
    return m;
  };
  e.measurements = {figure("n00001", "", "telemetry.node_power_w", 9000), figure("n00002", "", "telemetry.node_power_w", 9500),
                    figure("n00002", "", "telemetry.node_power_w", 8000), figure("n00001", "GPU-n00001-0", "burnin.power_w", 690)};
  auto t = p1(s, e);
  CHECK(*t.power.measured_kw == doctest::Approx(18.5));
  CHECK(*t.power.measured_accelerators_kw == doctest::Approx(0.69));
  CHECK(verdict_of(t, "power") == Verdict::pass);
  e.measurements[0].value = 13000;
  CHECK(verdict_of(p1(s, e), "power") == Verdict::fail);
}

TEST_CASE("power: rack caps") {
  auto s = site(8);
  s.tranches[0].power.it_kw = known(1000.0);
  s.tranches[0].power.rack_cap_kw = known(41.0);
  CHECK(verdict_of(p1(s, evidence(s)), "power") == Verdict::pass);
  s.tranches[0].power.rack_cap_kw = known(40.0);
  CHECK(verdict_of(p1(s, evidence(s)), "power") == Verdict::fail);
}

TEST_CASE("fabric is a gate only where links are declared, and asks for all of them, up and at rate") {
  auto s = site(2);
  CHECK(gate(p1(s, evidence(s)), "fabric") == nullptr);
  s.profiles.begin()->second.nvlinks = known(18);
  auto e = evidence(s);
  {
    const auto t = p1(s, e);
    CHECK(verdict_of(t, "fabric") == Verdict::not_judged);   // nobody has looked
    CHECK_FALSE(t.ready);
  }
  for (const auto& a : e.accelerators)
    e.links.push_back({a.run_id, a.node, a.id, a.at, true, 18, 0, 0, 0, 14, 0});
  {
    const auto t = p1(s, e);
    CHECK(verdict_of(t, "fabric") == Verdict::pass);
    CHECK(t.ready);
    CHECK(gate(t, "fabric")->detail.find("up at rate on 2 accepted nodes") != std::string::npos);
    CHECK(std::any_of(t.not_tested.begin(), t.not_tested.end(), [](const auto& row) { return row.what == "the network between nodes"; }));
  }
  const auto with = [&](auto change) {
    auto other = e;
    change(other.links[11]);
    const auto t = p1(s, other);
    CHECK(t.ready == (verdict_of(t, "fabric") == Verdict::pass));
    return verdict_of(t, "fabric");
  };
  CHECK(with([](auto& l) { l.active = 17; }) == Verdict::fail);
  CHECK(with([](auto& l) { l.active = 20; }) == Verdict::not_judged);   // then the profile is wrong
  CHECK(with([](auto& l) { l.active.reset(); }) == Verdict::not_judged);
  CHECK(with([](auto& l) { l.looked_at = false; }) == Verdict::not_judged);
  CHECK(with([](auto& l) { l.down = 1; }) == Verdict::fail);
  CHECK(with([](auto& l) { l.down.reset(); }) == Verdict::pass);
  CHECK(with([](auto& l) { l.fabric_incomplete = 1; }) == Verdict::fail);
  CHECK(with([](auto& l) { l.fabric_unhealthy = 1; }) == Verdict::fail);
  CHECK(with([](auto& l) { l.copies_short = 1; }) == Verdict::fail);
  CHECK(with([](auto& l) { l.copies_judged = 0; }) == Verdict::not_judged);
  CHECK(with([](auto& l) { l.accelerator_id = "another"; }) == Verdict::not_judged);
  SUBCASE("the newest look counts") {
    auto later = e.links[3];
    later.run_id = "run-2";
    later.at += std::chrono::hours(1);
    later.copies_judged = 0;   // health alone
    later.active = 16;
    e.links.push_back(later);
    CHECK(verdict_of(p1(s, e), "fabric") == Verdict::fail);
    e.links.back().active = 18;
    CHECK(verdict_of(p1(s, e), "fabric") == Verdict::pass);   // the copies are those of before
    e.links.back().active.reset();
    CHECK(verdict_of(p1(s, e), "fabric") == Verdict::not_judged);
  }
  SUBCASE("what is not accepted has links as well") {
    record(e, "n00002", "validate").verdict = Verdict::not_judged;
    const auto t = p1(s, e);
    CHECK(verdict_of(t, "fabric") == Verdict::not_judged);
    CHECK(gate(t, "fabric")->detail.find("1 accepted node, and further nodes are not accepted yet") != std::string::npos);
  }
}

TEST_CASE("facility gates: closed needs evidence, open fails, unknown is open") {
  auto s = site(2);
  manifest::FacilityGate f;
  f.id = "L4";
  f.status = "closed";
  f.evidence = "commissioning record 7";
  s.facility_gates = {f};
  CHECK(p1(s, evidence(s)).ready);
  s.facility_gates[0].evidence.clear();
  CHECK(verdict_of(p1(s, evidence(s)), "facility") == Verdict::not_judged);
  s.facility_gates[0].status = "open";
  CHECK(verdict_of(p1(s, evidence(s)), "facility") == Verdict::fail);
  s.facility_gates[0].status = "unknown";
  CHECK(verdict_of(p1(s, evidence(s)), "facility") == Verdict::not_judged);
  s.facility_gates[0].tranche = "p9";
  CHECK(gate(p1(s, evidence(s)), "facility") == nullptr);
}

TEST_CASE("findings: fail where they stand in the way, a reservation where they do not") {
  auto s = site(10);
  auto e = evidence(s);
  CHECK(verdict_of(p1(s, e), "findings") == Verdict::pass);
  fail_node(e, "n00001");
  CHECK(verdict_of(p1(s, e), "findings") == Verdict::fail);
  s.tranches[0].ready_when.accepted_pct = 90;
  auto t = p1(s, e);
  CHECK(verdict_of(t, "findings") == Verdict::degraded);
  CHECK(t.ready);
  CHECK(t.verdict == Verdict::degraded);
  CHECK(has(t.blockers.at(0).message, "n00001"));
  CHECK(has(t.blockers.at(0).message, "3 wrong words"));
}

TEST_CASE("allocations are covered by what is accepted") {
  auto s = site(4);
  manifest::Allocation a;
  a.tenant = "msit";
  a.tranche = "p1";
  a.accelerators = known<std::int64_t>(24);
  s.allocations = {a};
  s.tenants = {{"msit", "Ministry", "state", ""}};
  auto e = evidence(s);
  auto t = p1(s, e);
  CHECK(verdict_of(t, "allocations") == Verdict::pass);
  CHECK(*t.allocations.at(0).shortfall == 0);
  forget_node(e, "n00001");
  forget_node(e, "n00002");
  t = p1(s, e);
  CHECK(verdict_of(t, "allocations") == Verdict::not_judged);
  CHECK(*t.allocations.at(0).accepted == 16);
  CHECK(*t.allocations.at(0).shortfall == 8);
  s.allocations[0].accelerators = known<std::int64_t>(33);
  CHECK(verdict_of(p1(s, evidence(s)), "allocations") == Verdict::fail);
  s.allocations[0].accelerators = unknown<std::int64_t>();
  CHECK(verdict_of(p1(s, evidence(s)), "allocations") == Verdict::not_judged);
  s.allocations[0] = a;
  s.allocations[0].accelerators = {};
  s.allocations[0].percent = known(50.0);
  CHECK(*p1(s, evidence(s)).allocations.at(0).entitled == 16);
}

TEST_CASE("signatures, deliveries and dependencies") {
  auto s = site(2);
  s.tranches[0].ready_when.signatures = {"accepter"};
  CHECK(verdict_of(p1(s, evidence(s)), "signatures") == Verdict::not_judged);
  CHECK(assess(s, evidence(s), context()).signatures.at(0).party == "accepter");
  s.tranches[0].ready_when.signatures.clear();

  manifest::Delivery d;
  d.id = "ship-1";
  d.arrived = known(day("2026-11-01"));
  s.tranches[0].deliveries = {d};
  CHECK(p1(s, evidence(s)).ready);
  s.tranches[0].deliveries[0].arrived = {};
  CHECK(verdict_of(p1(s, evidence(s)), "deliveries") == Verdict::not_judged);
  s.tranches[0].deliveries[0].expected = known(day("2026-12-01"));
  CHECK(verdict_of(p1(s, evidence(s)), "deliveries") == Verdict::not_judged);
  s.tranches[0].deliveries[0].expected = known(day("2026-11-20"));
  CHECK(verdict_of(p1(s, evidence(s)), "deliveries") == Verdict::fail);
  s.tranches[0].deliveries[0].serials = {"board-n00001", "board-missing"};
  CHECK(*p1(s, evidence(s)).deliveries.at(0).serials_seen == 1);
  s.tranches[0].deliveries.clear();

  s.tranches.push_back(tranche("p0"));
  s.tranches[0].depends_on = {"p0"};
  CHECK(verdict_of(p1(s, evidence(s)), "depends_on") == Verdict::not_judged);
  add_nodes(s, "p0", "h200x8", 1, "z");
  CHECK(p1(s, evidence(s)).ready);
  s.tranches[1].depends_on = {"p1"};   // a circle ends and is not ready
  CHECK_FALSE(assess(s, evidence(s), context()).ready);
}

TEST_CASE("fresh: stale evidence does not count, and is told") {
  auto s = site(4);
  s.tranches[0].ready_when.evidence_max_age_days = 30;
  auto e = evidence(s);
  CHECK(verdict_of(p1(s, e), "fresh") == Verdict::pass);
  for (auto& a : e.accelerators)
    if (a.node == "n00001") a.at = at("2026-10-01T00:00:00Z");
  const auto t = p1(s, e);
  CHECK(verdict_of(t, "fresh") == Verdict::fail);
  CHECK(t.counts.accepted == 3);
  CHECK_FALSE(t.ready);
}

TEST_CASE("gates that a tranche does not have are named with the reason") {
  const auto s = site(1);
  const auto t = p1(s, evidence(s));
  CHECK(t.gates.size() + t.not_required.size() == 12);
  for (const auto& row : t.not_required) CHECK_FALSE(row.reason.empty());
}

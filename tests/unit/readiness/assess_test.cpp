#include <algorithm>
#include <doctest/doctest.h>

#include <random>

#include "base/codes/commands.hpp"
#include "base/codes/readiness.hpp"
#include "base/codes/reboot.hpp"
#include "fixture.hpp"
#include "readiness/forecast.hpp"
#include "readiness/json.hpp"

using namespace kfab;
using namespace kfab::readiness;
using namespace kfab::readiness::fixture;

namespace {

const PlanCheck* check(const Readiness& r, std::string_view id) {
  for (const auto& c : r.plan_checks)
    if (c.id == id) return &c;
  return nullptr;
}

manifest::Allocation allocation(std::string tenant, std::int64_t accelerators) {
  manifest::Allocation a;
  a.tenant = std::move(tenant);
  a.accelerators = known(accelerators);
  return a;
}

// The national programme as its sources tell it.
manifest::Program programme() {
  manifest::Program p;
  p.metadata.name = "national";
  p.metadata.sources = {{"S4", "programme announcement"}};
  p.accelerators = known<std::int64_t>(260000, "S4");
  p.profiles["dgx-b200"] = profile("dgx-b200", "nvidia", "B200", 8, 14.3);
  p.power.pue = known(1.25);
  p.power.overhead_fraction = known(0.10);
  p.allocations = {allocation("state", 50000), allocation("a", 50000), allocation("b", 50000), allocation("c", 50000), allocation("d", 60000)};
  return p;
}

}  // namespace

TEST_CASE("programme: the allocations add up to 260,000, which are 32,500 nodes") {
  auto p = programme();
  auto r = assess(p, {}, context());
  CHECK(r.kind == "program");
  CHECK_FALSE(r.ready);
  CHECK(check(r, "allocations_sum")->verdict == Verdict::pass);
  CHECK(has(check(r, "power_of_whole")->detail, "32,500 nodes"));
  CHECK(has(check(r, "power_of_whole")->detail, "464.75 MW"));
  CHECK(has(check(r, "power_of_whole")->detail, "639.03 MW"));
  CHECK(check(r, "power_of_whole")->verdict == Verdict::not_judged);
  p.allocations[0].accelerators = known<std::int64_t>(50001);
  CHECK(check(assess(p, {}, context()), "allocations_sum")->verdict == Verdict::fail);
  p.allocations[0].accelerators = known<std::int64_t>(40000);
  CHECK(check(assess(p, {}, context()), "allocations_sum")->verdict == Verdict::degraded);
  p.allocations[0].accelerators = unknown<std::int64_t>();
  CHECK(check(assess(p, {}, context()), "allocations_sum")->verdict == Verdict::not_judged);
}

TEST_CASE("programme: sites are summed, and 55 MW cannot hold what needs 639") {
  auto p = programme();
  auto sejong = site(2);
  sejong.metadata.name = "sejong";
  sejong.tranches[0].power.facility_kw = known(55000.0);
  auto other = site(3);
  other.metadata.name = "other";
  p.sites = {sejong, other};
  EvidenceBySite e{{"sejong", evidence(sejong)}};
  const auto r = assess(p, e, context());
  CHECK(r.sites.size() == 2);
  CHECK(r.counts.declared == 5);
  CHECK(r.counts.accepted == 2);
  CHECK(r.sites[0].tranches_ready == 0);                  // 55 MW at the meter, and no PUE stated
  CHECK(*r.sites[0].evidence_age_days == doctest::Approx(1.0));
  CHECK_FALSE(r.sites[1].evidence_at.has_value());
  CHECK(check(r, "power_of_whole")->verdict == Verdict::fail);
  CHECK(has(check(r, "power_of_whole")->detail, "55 MW"));
}

TEST_CASE("programme: its own tranche counts the sites' tranches of that name") {
  auto p = programme();
  auto one = site(2), two = site(3);
  one.metadata.name = "one";
  two.metadata.name = "two";
  p.sites = {one, two};
  p.tranches = {tranche("p1")};
  EvidenceBySite e{{"one", evidence(one)}, {"two", evidence(two)}};
  auto r = assess(p, e, context());
  CHECK(r.tranches.size() == 3);
  CHECK(r.tranches[0].site.empty());
  CHECK(r.tranches[0].counts.accepted == 5);
  CHECK(r.ready);
  CHECK(select_tranches(r, {"two/p1"}).has_value());
  CHECK(r.tranches.size() == 1);
  CHECK(r.tranches[0].site == "two");
}

TEST_CASE("an unknown tranche is refused, with the nearest name") {
  auto s = site(1);
  auto r = assess(s, {}, context());
  const auto refused = select_tranches(r, {"pl"});
  CHECK_FALSE(refused.has_value());
  CHECK(refused.error().code == code::unknown_tranche);
  CHECK(refused.error().suggestions.at(0) == "p1");
  CHECK(r.tranches.size() == 1);
}

TEST_CASE("evidence about strangers counts for nothing and is told") {
  const auto s = site(1);
  auto e = evidence(s);
  auto stranger = e.nodes[0];
  stranger.node = "stranger";
  e.nodes.push_back(stranger);
  const auto r = assess(s, e, context());
  CHECK(r.counts.declared == 1);
  CHECK(r.diagnostics.at(0).code == code::evidence_of_unknown_node);
}

TEST_CASE("names of one machine count each, and that is said") {
  auto s = site(3);
  auto e = evidence(s);
  std::erase_if(e.accelerators, [](const auto& record) { return record.index > 0; });
  for (auto& record : e.accelerators) record.device = "cpu";
  for (auto& node : s.nodes) node.identity_by_name = true;
  const auto told = [&] { return assess(s, e, context()).diagnostics; };
  CHECK(told().empty());   // they say that they may be one, and are three
  for (auto& record : e.accelerators)
    if (record.node != "n00003") record.id = "cpu-board";
  const auto two = told();
  REQUIRE(two.size() == 1);
  CHECK(two[0].code == code::names_of_one_machine);
  CHECK(two[0].message == "n[00001-00002] tell of one and the same cpu-board: a machine that counts as 2 nodes with 16 accelerators");
  for (auto& node : s.nodes) node.identity_by_name = false;
  CHECK(told().empty());
}

TEST_CASE("nodes of no tranche make none ready") {
  auto s = site(2);
  s.nodes[1].tranche.clear();
  const auto r = assess(s, evidence(s), context());
  CHECK(r.unassigned_nodes.size() == 1);
  CHECK(r.tranches[0].counts.declared == 1);
  CHECK(check(r, "nodes_in_tranches")->verdict == Verdict::degraded);
}

TEST_CASE("where tests were only cut short, the next step is to run them whole") {
  auto s = site(3);
  auto e = evidence(s);
  for (auto& a : e.accelerators) a.level = "standard (shortened)";
  const auto words = [](const TrancheStatus& t) {
    std::string all;
    for (const auto& b : t.blockers) all += b.next_step + "\n";
    return all;
  };
  const auto cut = readiness::assess(s, e, context()).tranches[0];
  CHECK_FALSE(cut.ready);
  CHECK(words(cut).find("without --duration, --memory-cap and --threads") != std::string::npos);
  CHECK(words(cut).find("kfab provision") == std::string::npos);
  // A node that was never tested needs more than that, and both are told.
  std::erase_if(e.accelerators, [&](const auto& a) { return a.node == s.nodes[0].name; });
  const auto mixed = readiness::assess(s, e, context()).tranches[0];
  CHECK(words(mixed).find("without --duration, --memory-cap and --threads") != std::string::npos);
  CHECK(words(mixed).find("kfab provision") != std::string::npos);
}

TEST_CASE("nodes that wait for a reboot: the very command is the next step") {
  auto s = site(3);
  auto e = evidence(s);
  for (const char* name : {"n00001", "n00003"}) {
    auto& record = fixture::record(e, name, "provision");
    record.verdict = Verdict::not_judged;
    record.reason = std::string("stopped for a reboot at k/boot: another kernel runs; ") + name;
    record.detail = json::Object{{"code", "KF3320"}, {"reboot_required", true}};
  }
  const auto blockers = assess(s, e, context()).tranches.at(0).blockers;
  const auto found = std::find_if(blockers.begin(), blockers.end(), [](const auto& b) { return b.code == code::reboot_awaited; });
  REQUIRE(found != blockers.end());
  CHECK(found->node_count == 2);
  CHECK(found->next_step == "kfab reboot MANIFEST -w 'n[00001,00003]' --needed; it tells the command that goes on from there");
  // What only would change waits for no boot.
  fixture::record(e, "n00001", "provision").detail = json::Object{{"reboot_required", false}};
  fixture::record(e, "n00003", "provision").detail = json::Object{{"reboot_required", false}};
  const auto without = assess(s, e, context()).tranches.at(0).blockers;
  CHECK_FALSE(without.empty());
  for (const auto& b : without) CHECK(b.code != code::reboot_awaited);
}

TEST_CASE("blockers fold nodes of one reason and name a next step") {
  const auto s = site(6);
  auto e = evidence(s);
  for (const char* node : {"n00002", "n00003", "n00004"}) {
    record(e, node, "provision").verdict = Verdict::fail;
    record(e, node, "provision").reason = "package chrony: held";
  }
  const auto t = assess(s, e, context()).tranches.at(0);
  const auto found = std::find_if(t.blockers.begin(), t.blockers.end(), [](const auto& b) { return b.code == code::node_not_provisioned; });
  REQUIRE(found != t.blockers.end());
  CHECK(found->node_count == 3);
  CHECK(found->nodes == "n[00002-00004]");
  CHECK(has(found->message, "held"));
  for (const auto& b : t.blockers) CHECK_FALSE(b.next_step.empty());
}

TEST_CASE("facts keep their source, unknowns what follows from them") {
  auto s = site(1);
  s.metadata.sources = {{"S2", "press report"}};
  s.tranches[0].power.facility_kw = known(41000.0, "S2");
  manifest::Fact fact;
  fact.id = "investment";
  fact.text = "to be invested";
  fact.value = 4e9;
  fact.unit = "usd";
  fact.source = "S2";
  s.facts = {fact};
  manifest::Target t;
  t.accelerators = unknown<std::int64_t>();
  s.tranches[0].targets = {t};
  const auto r = assess(s, {}, context());
  const auto find = [&](std::string_view text) {
    return std::find_if(r.facts.begin(), r.facts.end(), [&](const auto& f) { return f.text == text; });
  };
  REQUIRE(find("facility power") != r.facts.end());
  CHECK(find("facility power")->value == "41 MW");
  CHECK(find("facility power")->source_text == "press report");
  CHECK(find("facility power")->as_of == "2026-11-01");
  CHECK(find("to be invested")->value == "4,000,000,000 usd");
  CHECK(std::any_of(r.unknowns.begin(), r.unknowns.end(), [](const auto& u) { return has(u.consequence, "cannot forecast: no target"); }));
}

TEST_CASE("forecast: the arithmetic, and no date that nobody knows") {
  ForecastInput in;
  in.today = day("2027-11-30");
  in.due = day("2029-02-28");
  in.remaining_accelerators = 36117;
  in.remaining_nodes = 4515;
  auto f = forecast(in);
  CHECK(f.status == "insufficient_history");
  CHECK(*f.days_to_due == 456);
  CHECK(*f.rate_needed_per_day == doctest::Approx(79.2).epsilon(0.001));
  CHECK(*f.nodes_needed_per_day == doctest::Approx(9.9).epsilon(0.001));
  CHECK_FALSE(f.rate_observed_per_day.has_value());
  in.history = {{day("2027-11-29"), 800}};
  CHECK(forecast(in).status == "insufficient_history");   // one day is no history
  for (int i = 1; i <= 10; ++i) in.history.push_back({day("2027-11-" + std::to_string(10 + i)), 8});
  f = forecast(in);
  CHECK(f.status == "rate_only");
  CHECK(f.rate_observed_per_day.has_value());
  in.due = day("2027-11-29");
  CHECK(forecast(in).status == "due_passed");
  CHECK(has(forecast(in).reason, "passed 1 day ago"));
  in.due.reset();
  CHECK(forecast(in).status == "no_due_date");
  in.remaining_accelerators.reset();
  in.remaining_nodes.reset();
  CHECK(forecast(in).status == "no_target");
  in.due = in.today;
  in.remaining_accelerators = 8;
  CHECK(*forecast(in).rate_needed_per_day == doctest::Approx(8));
}

TEST_CASE("the JSON has every promised key, and null where nothing is known") {
  const auto s = site(1);
  const json::Value v(to_json(assess(s, {}, context())));
  const auto& t = v["tranches"].as_array()->at(0);
  for (const char* key : {"name", "due", "ready", "verdict", "counts", "gates", "power", "blockers", "forecast"}) {
    CAPTURE(key);
    CHECK(t.as_object()->find(key) != nullptr);
  }
  for (const char* key : {"declared", "reachable", "provisioned", "validated", "accepted", "failed", "not_judged"}) CHECK(t["counts"][key].is_number());
  for (const char* key : {"envelope_kw", "nameplate_kw", "measured_kw"}) CHECK(t["power"].as_object()->find(key) != nullptr);
  CHECK(t["power"]["envelope_kw"].is_null());
  CHECK(t["power"]["measured_kw"].is_null());
  CHECK(t["due"].string_or("") == "");
  CHECK(*t["due"].as_string() == "2027-11-30");
  CHECK(*t["nodes"].as_array()->at(0)["node"].as_string() == "n00001");
}

// The rule that everything else serves: what is lost can never make a tranche ready.
TEST_CASE("property: removing any evidence never turns a tranche ready") {
  std::mt19937 random(20261121);
  const auto chance = [&](int percent) { return static_cast<int>(random() % 100) < percent; };
  int ready_before = 0;
  for (int round = 0; round < 300; ++round) {
    auto s = site(2 + static_cast<int>(random() % 8));
    auto& t = s.tranches[0];
    t.ready_when.accepted_pct = chance(50) ? 100 : 50 + static_cast<double>(random() % 50);
    if (chance(50)) t.targets = {manifest::Target{}};
    if (!t.targets.empty()) {
      t.targets[0].profile = "h200x8";
      t.targets[0].accelerators = known<std::int64_t>(8 * (1 + static_cast<std::int64_t>(random() % s.nodes.size())));
      if (chance(30)) t.targets[0].spares_pct = known(10.0);
    }
    if (chance(30)) t.ready_when.contiguous = {1 + static_cast<int>(random() % 3)};
    if (chance(30)) t.ready_when.evidence_max_age_days = 30;
    auto e = evidence(s);
    const Verdict words[] = {Verdict::pass, Verdict::fail, Verdict::not_judged, Verdict::degraded};
    for (auto& r : e.nodes)
      if (r.step != "reach" && chance(4)) r.verdict = words[random() % 4];
    for (auto& a : e.accelerators) {
      if (chance(2)) a.verdict = words[random() % 4];
      if (chance(2)) a.criteria_sha256 = "old";
      if (chance(1)) a.at = at("2026-01-01T00:00:00Z");
    }
    const bool before = assess(s, e, context()).tranches[0].ready;
    ready_before += before;
    if (before) continue;
    for (int cut = 0; cut < 12; ++cut) {
      auto less = e;
      const int many = 1 + static_cast<int>(random() % 6);
      for (int i = 0; i < many; ++i) {
        if (chance(50) && !less.nodes.empty()) less.nodes.erase(less.nodes.begin() + static_cast<long>(random() % less.nodes.size()));
        else if (!less.accelerators.empty()) less.accelerators.erase(less.accelerators.begin() + static_cast<long>(random() % less.accelerators.size()));
      }
      CHECK_FALSE(assess(s, less, context()).tranches[0].ready);
    }
  }
  CHECK(ready_before > 30);   // the sites are not all hopeless, or the property would say nothing
}

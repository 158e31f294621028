// Every criterion that ships is held against a known-good and a known-bad case, made from its own limit and judged the way a
// node's report is: none may be unable to fail, and none may fail what is sound.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "manifest/load.hpp"
#include "validation/catalogue.hpp"
#include "validation/fleet_relative.hpp"
#include "validation/known_metrics.hpp"
#include "validation/proof.hpp"

using namespace kfab;
using namespace kfab::validation;
using manifest::Basis;
using manifest::Criterion;
using manifest::Direction;

TEST_CASE("every shipped criterion passes what is good and fails what is bad, on both sides of its limit") {
  std::map<std::string, manifest::Profile> profiles;
  for (const auto& one : manifest::built_ins())
    if (one.kind == "Profile")
      if (auto loaded = manifest::load_text(one.text, "p", "."); auto* profile = std::get_if<manifest::Profile>(&loaded.document)) profiles[profile->criteria] = *profile;
  std::size_t sets = 0, judged = 0, recorded = 0;
  for (const auto& one : manifest::built_ins()) {
    if (one.kind != "Criteria") continue;
    ++sets;
    const auto set = manifest::built_in_criteria(one.name);
    REQUIRE(set);
    std::size_t of_set = 0;
    for (const auto& criterion : set->criteria) {
      CAPTURE(set->name);
      CAPTURE(criterion.id);
      CHECK_FALSE(criterion.source.empty());
      const auto proofs = prove_criterion(criterion, profiles[set->name], set->name);
      CHECK(proofs.size() == (criterion.basis == Basis::record_only ? 0 : 1));
      for (const auto& proof : proofs) {
        CAPTURE(proof.detail);
        CHECK(proof.found);
      }
      of_set += proofs.size();
      recorded += proofs.empty();
    }
    CHECK(of_set > 0);
    judged += of_set;
  }
  CHECK(sets >= 46);
  CHECK(judged > 400);
  CHECK(recorded > 50);
}

TEST_CASE("a criterion that cannot fail, or fails what is sound, is not proven") {
  const manifest::Profile profile;
  const auto proven = [&](const Criterion& criterion) {
    const auto proofs = prove_criterion(criterion, profile, "test");
    REQUIRE(proofs.size() == 1);
    return proofs[0].found;
  };
  Criterion good;
  good.id = "floor";
  good.metric = "burnin.test.tflops";
  good.device = "cuda";
  good.unit = "tflops";
  good.direction = Direction::min;
  good.limit = 10;
  CHECK(proven(good));
  Criterion none = good;
  none.limit.reset();
  CHECK_FALSE(proven(none));           // no limit follows
  Criterion ground = good;
  ground.limit = 0;
  CHECK_FALSE(proven(ground));         // nothing falls under it
  Criterion soft = good;
  soft.on_violation = Verdict::pass;
  CHECK_FALSE(proven(soft));           // a violation passes
  Criterion hopeless = good;
  hopeless.limit = std::nan("");
  CHECK_FALSE(proven(hopeless));
  Criterion silent = good;
  silent.on_missing = Verdict::pass;
  CHECK_FALSE(proven(silent));         // what is missing passes
}

TEST_CASE("whatever is planted into reports is found, for any seed") {
  for (std::uint64_t seed = 1; seed <= 25; ++seed) {
    const auto planted = plant_into_judge(seed);
    CHECK(planted.size() >= 20);
    for (const auto& one : planted) {
      CAPTURE(seed);
      CAPTURE(one.fault);
      CAPTURE(one.detail);
      CHECK(one.found);
    }
  }
}

TEST_CASE("every metric that a shipped criterion names is one that the catalogue or the table of XIDs knows") {
  const auto known = [](const std::string& metric) { return known_metric(metric) != nullptr; };
  CHECK(known("burnin.gemm_fp8.mismatches"));
  CHECK_FALSE(known("burnin.gemm_fp8.mismatch"));
  CHECK_FALSE(known("bandwidth.stream_triad_gbs"));
  CHECK_FALSE(known("health.nosuch"));
  CHECK(known("health.ecc_volatile_corrected"));
  CHECK_FALSE(known("health.ecc_volatile"));
  CHECK(known("xid.79"));
  CHECK_FALSE(known("xid.79a"));
  CHECK_FALSE(known("xid."));
  CHECK_FALSE(known(""));
  for (const auto& one : manifest::built_ins()) {
    if (one.kind != "Criteria") continue;
    const auto set = manifest::built_in_criteria(one.name);
    REQUIRE(set);
    CHECK(check_metrics(*set).empty());   // units as well
    for (const auto& criterion : set->criteria) {
      CAPTURE(criterion.metric);
      // Peers are only compared in units of which a bad side is known: in another one the criterion could never be judged.
      const auto units = compared_units();
      CHECK((criterion.basis != Basis::fleet_relative || std::any_of(units.begin(), units.end(), [&](const auto& row) { return row.unit == criterion.unit; })));
      CHECK(known(criterion.metric));
    }
  }
}

TEST_CASE("a criterion on a figure that no test yields is an error, whatever it does without a figure") {
  manifest::CriteriaSet set;
  manifest::Criterion one;
  one.id = "triad";
  one.metric = "bandwidth.stream_triad_gbs";
  one.unit = "gbps";
  set.criteria = {one};
  auto found = check_metrics(set);
  REQUIRE(found.size() == 1);
  CHECK(found[0].severity == Severity::error);
  CHECK(std::find(found[0].suggestions.begin(), found[0].suggestions.end(), "bandwidth.stream_triad_gbps") != found[0].suggestions.end());
  set.criteria[0].optional = true;
  CHECK(check_metrics(set)[0].severity == Severity::error);
  set.criteria[0].metric = "bandwidth.stream_triad_gbps";
  CHECK(check_metrics(set).empty());
  set.criteria[0].unit = "tflops";
  found = check_metrics(set);
  REQUIRE(found.size() == 1);
  CHECK(found[0].message == "criterion triad: bandwidth.stream_triad_gbps is told in gbps, not in tflops");
}

TEST_CASE("a set that can judge no accelerator of a profile is told, and so is a floor that nothing lies below") {
  manifest::Profile cpu;
  cpu.name = "mine";
  cpu.vendor = cpu.device = "cpu";
  manifest::CriteriaSet set;
  set.name = "own";
  const auto codes = [](const Diagnostics& all) {
    std::vector<std::string> out;
    for (const auto& one : all) out.push_back(to_string(one.code));
    return out;
  };
  CHECK(codes(check_judges(set, &cpu)) == std::vector<std::string>{"KF4131"});
  CHECK(codes(check_judges(set, nullptr)) == std::vector<std::string>{"KF4131"});
  manifest::Criterion one;
  one.id = "copies";
  one.metric = "bandwidth.host_to_device_memcpy_ce_gbps";
  one.unit = "gbps";
  one.limit = 10;
  one.optional = true;
  set.criteria = {one};
  CHECK(codes(check_judges(set, &cpu)) == std::vector<std::string>{"KF4131"});   // no test of a processor yields it
  cpu.criteria_span.line = 7;
  CHECK(check_judges(set, &cpu)[0].span->line == 7);                             // of the profile that names the set
  CHECK(check_judges(set, nullptr).empty());
  one.metric = "memory.gbps";
  set.criteria = {one};
  CHECK(check_judges(set, &cpu).empty());
  CHECK(check_metrics(set).empty());
  set.criteria[0].limit = 0;
  CHECK(codes(check_metrics(set)) == std::vector<std::string>{"KF4132"});
  set.criteria[0].direction = Direction::max;
  CHECK(check_metrics(set).empty());
  set.criteria[0].limit = 10;
  set.criteria[0].device = "cuda";
  CHECK(codes(check_judges(set, &cpu)) == std::vector<std::string>{"KF4131"});
  set.criteria[0].device = "any";
  set.criteria[0].basis = Basis::record_only;
  CHECK(codes(check_judges(set, &cpu)) == std::vector<std::string>{"KF4131"});
  CHECK(similar_metrics("memory.gbpz") == std::vector<std::string>{"memory.gbps"});
}

TEST_CASE("every profile that kfab brings is judged by its criteria") {
  std::size_t profiles = 0;
  for (const auto& one : manifest::built_ins()) {
    if (one.kind != "Profile") continue;
    const auto loaded = manifest::load_text(one.text, "p", ".");
    const auto* profile = std::get_if<manifest::Profile>(&loaded.document);
    REQUIRE(profile);
    const auto set = manifest::built_in_criteria(profile->criteria);
    CAPTURE(profile->name);
    REQUIRE(set);
    CHECK(check_judges(*set, profile).empty());
    ++profiles;
  }
  CHECK(profiles >= 8);
}

TEST_CASE("where NVLink joins all GPUs of a server, one that another cannot reach is a fail, and one of which it is not known no pass") {
  int sets = 0;
  for (const auto& one : manifest::built_ins()) {
    if (one.kind != "Criteria") continue;
    const auto set = manifest::built_in_criteria(one.name);
    REQUIRE(set);
    const auto joined = std::find_if(set->criteria.begin(), set->criteria.end(), [](const Criterion& c) { return c.metric == "health.nvlinks_active" && c.limit; });
    const auto reach = std::find_if(set->criteria.begin(), set->criteria.end(), [](const Criterion& c) { return c.metric == "bandwidth.peer_reachable"; });
    CAPTURE(one.name);
    CHECK((joined != set->criteria.end()) == (reach != set->criteria.end()));
    if (reach == set->criteria.end()) continue;
    ++sets;
    manifest::CriteriaSet alone;
    alone.criteria = {*reach};
    // What the GPU says of the second of two others, after it reaches the first.
    const auto verdict = [&](std::optional<double> second) {
      TestReport report;
      report.accelerators.push_back({"a", "cuda", "Model", "", "", 0, -1, 0});
      report.statuses.push_back({"a", "cuda", "peers", TestState::ran, "", "", 1});
      report.measurements.push_back({"a", "cuda", "peers", "selftest.peers.found", "ratio", 1, {}, "", ""});
      report.measurements.push_back({"a", "cuda", "peers", reach->metric, "count", 1, {}, "0->1", "by the driver"});
      report.measurements.push_back({"a", "cuda", "peers", reach->metric, "count", second, {}, "0->2", "the driver does not let it"});
      manifest::Profile profile;
      JudgeInput input{&profile, &alone, {"bandwidth"}, "cuda"};
      return judge(input, report);
    };
    CHECK(verdict(1).verdict == Verdict::pass);
    const auto shut = verdict(0);
    CHECK(shut.verdict == Verdict::fail);
    CHECK(std::any_of(shut.criteria.begin(), shut.criteria.end(), [](const auto& c) { return c.verdict == Verdict::fail && c.link == "0->2"; }));
    CHECK(verdict(std::nullopt).verdict != Verdict::pass);
  }
  CHECK(sets == 12);
}

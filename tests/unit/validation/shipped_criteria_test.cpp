// Every criterion that ships is held against a known-good and a known-bad case, made from its own limit and judged the way a
// node's report is: none may be unable to fail, and none may fail what is sound.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <regex>

#include "manifest/load.hpp"
#include "validation/catalogue.hpp"
#include "validation/fleet_relative.hpp"
#include "validation/judge.hpp"

using namespace kfab;
using namespace kfab::validation;
using manifest::Basis;
using manifest::Criterion;
using manifest::Direction;

namespace {

// A report of one accelerator with one figure, whose test ran and whose checker was proven.
TestReport report_of(const Criterion& criterion, const std::string& device, std::optional<double> value, const std::string& id = "a") {
  TestReport report;
  report.accelerators.push_back({id, device, "Model", "", "", 0, -1, 0});
  const auto say = [&](const std::string& metric, std::optional<double> figure, const std::string& unit) {
    report.measurements.push_back({id, device, "test", metric, unit, figure, {}, "", "a detail"});
  };
  report.statuses.push_back({id, device, "test", TestState::ran, "", "", 1});
  say("selftest.test.found", 1, "ratio");
  say("burnin.test.iterations", 10, "count");
  if (device == "cuda") {   // what limits may be derived from
    for (const auto& [metric, figure] : std::initializer_list<std::pair<const char*, double>>{{"device.memory_clock_mhz", 2619}, {"device.memory_bus_bits", 5120}, {"device.pcie_generation", 5}, {"device.pcie_width", 16}})
      say(metric, figure, "count");
  }
  say(criterion.metric, value, criterion.unit);
  return report;
}

struct Case { const manifest::Profile* profile; const Peers* peers; };

const CriterionVerdict& verdict_on(const NodeJudgement& judged, const std::string& id) {
  static const CriterionVerdict none;
  for (const auto& verdict : judged.criteria)
    if (verdict.criterion == id) return verdict;
  return none;
}

CriterionVerdict held(const Criterion& criterion, const std::string& device, std::optional<double> value, const Case& with) {
  manifest::CriteriaSet set;
  set.criteria.push_back(criterion);
  JudgeInput input{with.profile, &set, {}, device, with.peers};
  const auto report = report_of(criterion, device, value);
  const auto judged = judge(input, report);
  const auto verdict = verdict_on(judged, criterion.id);
  // The whole follows its only criterion.
  if (verdict.counts) CHECK(judged.verdict == verdict.verdict);
  return verdict;
}

// Just beyond a limit, by the least that a double of its size can show well.
double beyond(double limit, bool up) { return up ? limit + std::max(1e-6, std::abs(limit) * 1e-9) : limit - std::max(1e-6, std::abs(limit) * 1e-9); }

}  // namespace

TEST_CASE("every shipped criterion passes what is good and fails what is bad, on both sides of its limit") {
  std::map<std::string, manifest::Profile> profiles;
  for (const auto& one : manifest::built_ins())
    if (one.kind == "Profile")
      if (auto loaded = manifest::load_text(one.text, "p", "."); auto* profile = std::get_if<manifest::Profile>(&loaded.document)) profiles[profile->criteria] = *profile;
  int sets = 0, judged = 0, recorded = 0;
  for (const auto& one : manifest::built_ins()) {
    if (one.kind != "Criteria") continue;
    ++sets;
    const auto set = manifest::built_in_criteria(one.name);
    REQUIRE(set);
    manifest::Profile profile = profiles.contains(set->name) ? profiles.at(set->name) : manifest::Profile();
    profile.per_node = {};   // one accelerator stands for all here
    bool can_judge = false;
    for (const auto& criterion : set->criteria) {
      CAPTURE(set->name);
      CAPTURE(criterion.id);
      CHECK_FALSE(criterion.source.empty());
      const std::string device = criterion.device == "any" ? "cpu" : criterion.device;
      const Case with{&profile, nullptr};
      if (criterion.basis == Basis::record_only) {
        ++recorded;
        CHECK_FALSE(held(criterion, device, 1, with).counts);
        continue;
      }
      ++judged;
      can_judge = true;
      // Missing: never a pass.
      const auto missing = held(criterion, device, std::nullopt, with);
      CHECK(missing.verdict == criterion.on_missing);
      CHECK(missing.counts != criterion.optional);

      if (criterion.basis == Basis::fleet_relative) {
        // Nine peers around 100, and the one that is judged among them.
        std::vector<double> figures;
        for (int i = -4; i <= 4; ++i) figures.push_back(100 + i * 0.2);
        const Peers peers{{criterion.metric, {*robust(figures), figures.size()}}};
        const double step = spread_of(peers.at(criterion.metric).robust) * *criterion.limit;
        const bool floor = criterion.direction == Direction::min;
        CHECK(held(criterion, device, floor ? 100 - step * 0.99 : 100 + step * 0.99, {&profile, &peers}).verdict == Verdict::pass);
        CHECK(held(criterion, device, floor ? 100 - step * 1.01 : 100 + step * 1.01, {&profile, &peers}).verdict == criterion.on_violation);
        const Peers few{{criterion.metric, {*robust(figures), fewest_peers}}};
        CHECK(held(criterion, device, 1, {&profile, &few}).verdict == Verdict::not_judged);
        continue;
      }
      const auto at_limit = held(criterion, device, 0, with);
      REQUIRE(at_limit.limit);
      const double limit = *at_limit.limit;
      CHECK(held(criterion, device, limit, with).verdict == Verdict::pass);
      const bool up = criterion.direction != Direction::min;
      const auto bad = held(criterion, device, beyond(limit, up), with);
      CHECK(bad.verdict == criterion.on_violation);
      CHECK(bad.reason.find(criterion.id) != std::string::npos);
      if (criterion.direction == Direction::equal) CHECK(held(criterion, device, beyond(limit, false), with).verdict == criterion.on_violation);
      // A floor that nothing real can fall under, or a ceiling that nothing reaches, is none.
      if (criterion.direction == Direction::min) CHECK(limit > 0);
      CHECK(std::isfinite(limit));
    }
    CHECK((can_judge || set->name.rfind("rebellions", 0) == 0 || set->name.rfind("furiosa", 0) == 0));
  }
  CHECK(sets >= 18);
  CHECK(judged > 400);
  CHECK(recorded > 50);
}

TEST_CASE("every metric that a shipped criterion names is one that the catalogue or the table of XIDs knows") {
  // <a|b> and <name> stand for a part of a name.
  std::vector<std::regex> patterns;
  const auto take = [&](std::string_view id) {
    std::string text;
    for (std::size_t i = 0; i < id.size(); ++i) {
      if (id[i] == '<') {
        i = id.find('>', i);
        text += "[a-z0-9_]+";
      } else {
        text += id[i] == '.' ? std::string("\\.") : std::string(1, id[i]);
      }
    }
    patterns.emplace_back(text);
  };
  for (const auto& one : common_metrics()) take(one.id);
  for (const auto& check : all_checks())
    for (const auto& one : check.metrics) take(one.id);
  std::map<std::string, bool> asked;
  const auto known = [&](const std::string& metric) {
    const auto [answer, is_new] = asked.emplace(metric, false);
    if (is_new) answer->second = std::any_of(patterns.begin(), patterns.end(), [&](const std::regex& one) { return std::regex_match(metric, one); });
    return answer->second;
  };
  CHECK(known("burnin.gemm_fp8.mismatches"));
  CHECK_FALSE(known("burnin.gemm_fp8.mismatch"));
  for (const auto& one : manifest::built_ins()) {
    if (one.kind != "Criteria") continue;
    const auto set = manifest::built_in_criteria(one.name);
    REQUIRE(set);
    for (const auto& criterion : set->criteria) {
      if (criterion.device == "vendor") continue;
      CAPTURE(criterion.metric);
      CHECK(known(criterion.metric));
    }
  }
}

// Accelerators of other makers against the sets that ship for them: one as its maker's tools tell a sound one, and the same with one
// figure gone wrong or missing.
#include <doctest/doctest.h>

#include <map>
#include <string>

#include "manifest/load.hpp"
#include "unit/validation/judge_support.hpp"

using namespace kfab;
using namespace kfab::validation;

namespace {

struct Told { const char* metric; double value; const char* unit; };

const std::vector<Told> instinct{{"health.ecc_uncorrected", 0, "count"},       {"health.ecc_deferred", 0, "count"},       {"health.ecc_corrected", 12, "count"},
                                 {"health.retired_pages_pending", 0, "count"}, {"health.pages_unreservable", 0, "count"}, {"health.xgmi_errors", 0, "count"},
                                 {"health.thermal", 0, "count"},               {"health.pcie_width", 16, "count"},        {"health.pcie_gen", 5, "count"},
                                 {"health.pcie_width_missing", 0, "count"},    {"health.pcie_gen_missing", 0, "count"},   {"burnin.vendor_passed", 1, "count"}};
const std::vector<Told> gaudi{{"health.ecc_uncorrected", 0, "count"}, {"health.ports_up", 21, "count"}, {"health.ports_down", 0, "count"}, {"burnin.vendor_passed", 1, "count"}};
const std::vector<Told> rngd{{"health.alive", 1, "count"}, {"health.foreign_processes", 0, "count"}, {"burnin.vendor_passed", 1, "count"}};

// `changed`: in place of what is told; without a value it is not told.
Verdict verdict_of(const std::string& set, const std::vector<Told>& sound, const std::vector<Told>& own, const std::map<std::string, std::optional<double>>& changed) {
  judging::Bench bench("vendor");
  bench.report.statuses.clear();
  bench.report.measurements.clear();
  bench.tested("health");
  bench.tested("burnin");
  for (const auto* list : {&sound, &own})
    for (const Told& one : *list) {
      const auto other = changed.find(one.metric);
      bench.measure(one.metric, other == changed.end() ? std::optional(one.value) : other->second, one.unit, std::string(one.metric).starts_with("burnin") ? "burnin" : "health");
    }
  const auto criteria = manifest::built_in_criteria(set);
  REQUIRE(criteria);
  bench.criteria = *criteria;
  for (const auto& one : manifest::built_ins()) {
    if (one.kind != "Profile") continue;
    auto loaded = manifest::load_text(one.text, "p", ".");
    if (auto* profile = std::get_if<manifest::Profile>(&loaded.document); profile && profile->criteria == set) bench.profile = *profile;
  }
  bench.profile.per_node = {};
  bench.input.families = {"health", "burnin"};
  return bench.judged().verdict;
}

}  // namespace

TEST_CASE("accelerators of other makers: a sound one passes its set, and each thing that goes wrong is seen") {
  struct Set { const char* name; const std::vector<Told>* sound; std::vector<Told> own; };
  const std::vector<Set> sets{{"amd-mi300x", &instinct, {{"health.memory_gib", 191.98, "gib"}, {"burnin.vendor_tflops", 1687, "tflops"}}},
                              {"amd-mi325x", &instinct, {{"health.memory_gib", 255.98, "gib"}, {"burnin.vendor_tflops", 1650, "tflops"}}},
                              {"amd-mi355x", &instinct, {{"health.memory_gib", 287.98, "gib"}}},
                              {"intel-gaudi2", &gaudi, {{"health.memory_gib", 96, "gib"}}},
                              {"intel-gaudi3", &gaudi, {{"health.memory_gib", 128, "gib"}}},
                              {"furiosa-rngd", &rngd, {}}};
  struct Change { const char* metric; std::optional<double> value; Verdict verdict; };
  const std::map<const std::vector<Told>*, std::vector<Change>> changes{
      {&instinct,
       {{"health.ecc_uncorrected", 1, Verdict::fail}, {"health.ecc_uncorrected", std::nullopt, Verdict::not_judged}, {"health.ecc_deferred", 2, Verdict::degraded},
        {"health.retired_pages_pending", 1, Verdict::fail}, {"health.pages_unreservable", 1, Verdict::fail}, {"health.pages_unreservable", std::nullopt, Verdict::not_judged},
        {"health.xgmi_errors", 2, Verdict::fail}, {"health.xgmi_errors", std::nullopt, Verdict::pass}, {"health.thermal", 1, Verdict::degraded},
        {"health.pcie_width", 8, Verdict::fail}, {"health.pcie_width", std::nullopt, Verdict::not_judged}, {"health.pcie_gen", 4, Verdict::degraded},
        {"health.pcie_width_missing", 8, Verdict::fail}, {"health.memory_gib", 168, Verdict::fail}, {"health.memory_gib", std::nullopt, Verdict::not_judged},
        {"burnin.vendor_passed", 0, Verdict::fail}, {"burnin.vendor_passed", std::nullopt, Verdict::not_judged}, {"health.ecc_corrected", 1e6, Verdict::pass}}},
      {&gaudi,
       {{"health.ecc_uncorrected", 3, Verdict::fail}, {"health.ports_down", 1, Verdict::fail}, {"health.ports_up", 20, Verdict::fail}, {"health.ports_up", std::nullopt, Verdict::not_judged},
        {"health.memory_gib", 80, Verdict::fail}, {"burnin.vendor_passed", 0, Verdict::fail}, {"burnin.vendor_passed", std::nullopt, Verdict::not_judged}}},
      {&rngd, {{"health.alive", 0, Verdict::fail}, {"burnin.vendor_passed", 0, Verdict::fail}, {"burnin.vendor_passed", std::nullopt, Verdict::not_judged}}},
  };
  for (const auto& set : sets) {
    CAPTURE(set.name);
    CHECK(verdict_of(set.name, *set.sound, set.own, {}) == Verdict::pass);
    for (const auto& change : changes.at(set.sound)) {
      CAPTURE(change.metric);
      CAPTURE(change.value.value_or(-1));
      CHECK(verdict_of(set.name, *set.sound, set.own, {{change.metric, change.value}}) == change.verdict);
    }
  }
  // Half of what AMD asks of its own chip is no burn-in; agfhc tells no rate, and that is no fault.
  CHECK(verdict_of("amd-mi300x", instinct, sets[0].own, {{"burnin.vendor_tflops", 600}}) == Verdict::degraded);
  CHECK(verdict_of("amd-mi300x", instinct, sets[0].own, {{"burnin.vendor_tflops", std::nullopt}}) == Verdict::pass);
}

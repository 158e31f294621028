// Every criterion that ships is held against a known-good and a known-bad case, made from its own limit and judged the way a
// node's report is: none may be unable to fail, and none may fail what is sound.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <regex>

#include "manifest/load.hpp"
#include "validation/catalogue.hpp"
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
  CHECK(sets >= 18);
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
      CAPTURE(criterion.metric);
      CHECK(known(criterion.metric));
    }
  }
}

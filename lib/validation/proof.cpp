#include "validation/proof.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <functional>
#include <limits>

#include <fmt/format.h>

#include "base/random.hpp"
#include "base/text.hpp"
#include "validation/fleet_relative.hpp"

namespace kfab::validation {
namespace {

using manifest::Basis;
using manifest::Criterion;
using manifest::Direction;

// A report of one accelerator with one figure, whose test ran and whose checker was proven.
TestReport report_of(const Criterion& criterion, const std::string& device, std::optional<double> value) {
  TestReport report;
  report.accelerators.push_back({"a", device, "Model", "", "", 0, -1, 0});
  report.statuses.push_back({"a", device, "test", TestState::ran, "", "", 1});
  const auto say = [&](std::string metric, std::optional<double> figure, std::string unit) {
    report.measurements.push_back({"a", device, "test", std::move(metric), std::move(unit), figure, {}, "", "a detail"});
  };
  say("selftest.test.found", 1, "ratio");
  say("burnin.test.iterations", 10, "count");
  if (device == "cuda") {   // from which limits may follow
    say("device.memory_clock_mhz", 2619, "count");
    say("device.memory_bus_bits", 5120, "count");
    say("device.pcie_generation", 5, "count");
    say("device.pcie_width", 16, "count");
    say("device.multiprocessors", 132, "count");
    say("device.sm_clock_mhz", 1830, "count");
    say("device.capability", 90, "count");
  }
  say(criterion.metric, value, criterion.unit);
  return report;
}

CriterionVerdict held(const Criterion& criterion, const manifest::Profile& profile, std::optional<double> value, const Peers* peers = nullptr) {
  manifest::CriteriaSet set;
  set.criteria.push_back(criterion);
  const std::string device = criterion.device.empty() || criterion.device == "any" ? "cpu" : criterion.device;
  JudgeInput input{&profile, &set, {}, device, peers};
  const auto judged = judge(input, report_of(criterion, device, value));
  for (const auto& one : judged.criteria)
    if (one.criterion == criterion.id) {
      CriterionVerdict out = one;
      if (out.counts && judged.verdict != out.verdict) out.reason = fmt::format("the whole is {} although the criterion is {}", to_string(judged.verdict), to_string(out.verdict));
      return out;
    }
  return {};
}

// Just beyond a limit, by the least that a double of its size can show well.
double beyond(double limit, bool up) {
  const double step = std::max(1e-6, std::abs(limit) * 1e-9);
  return up ? limit + step : limit - step;
}

}  // namespace

std::vector<Planted> prove_criterion(const Criterion& criterion, const manifest::Profile& stated, const std::string& where) {
  if (criterion.basis == Basis::record_only) return {};
  manifest::Profile profile = stated;
  profile.per_node = {};               // one accelerator stands for all here
  profile.pins.clear();
  // Where the profile does not state the figure that the limit follows from, any will do to show that it is heeded.
  if (!criterion.limit && !criterion.nominal_key.empty() && !manifest::figure_of(profile, criterion.nominal_key) && !manifest::told_by_device(criterion.device, criterion.nominal_key))
    profile.nominal[criterion.nominal_key] = 16;
  Planted out{where, fmt::format("{}: beyond its limit, missing, and within it", criterion.id), false, {}};
  const auto ends = [&](std::string why) {
    out.detail = std::move(why);
    return std::vector<Planted>{out};
  };
  if (criterion.on_violation == Verdict::pass) return ends("a violation of it would pass");
  const auto missing = held(criterion, profile, std::nullopt);
  if (missing.verdict == Verdict::pass || (missing.counts && missing.verdict != criterion.on_missing)) return ends("a missing figure is " + std::string(to_string(missing.verdict)));
  double good = 0;
  std::vector<double> bad;
  Peers peers;
  const Peers* beside = nullptr;
  if (criterion.basis == Basis::fleet_relative) {
    if (!criterion.limit) return ends("it states no limit");
    std::vector<double> figures;
    for (int i = -4; i <= 4; ++i) figures.push_back(100 + i * 0.2);
    peers[criterion.metric] = {*robust(figures), figures.size()};
    beside = &peers;
    const double step = spread_of(peers[criterion.metric].robust) * *criterion.limit;
    const double side = criterion.direction == Direction::min ? -1 : 1;
    good = 100 + side * step * 0.99;
    bad = {100 + side * step * 1.01};
    if (criterion.direction == Direction::equal) bad.push_back(100 - side * step * 1.01);
  } else {
    const auto limit = held(criterion, profile, 0).limit;
    if (!limit || !std::isfinite(*limit)) return ends("no limit follows for it: it can neither pass nor fail");
    if (criterion.direction == Direction::min && *limit <= 0) return ends("nothing can fall under its floor");
    good = *limit;
    bad = {beyond(*limit, criterion.direction != Direction::min)};
    if (criterion.direction == Direction::equal) bad.push_back(beyond(*limit, false));
  }
  const auto sound = held(criterion, profile, good, beside);
  if (sound.verdict != Verdict::pass) return ends(fmt::format("{} is {}: {}", format_number(good, 4), to_string(sound.verdict), sound.reason));
  for (const double value : bad) {
    const auto ill = held(criterion, profile, value, beside);
    if (ill.verdict != criterion.on_violation || ill.reason.find(criterion.id) == std::string::npos)
      return ends(fmt::format("{} is {}, not {}", format_number(value, 6), to_string(ill.verdict), to_string(criterion.on_violation)));
  }
  out.found = true;
  return {out};
}

std::vector<Planted> prove_criteria(const manifest::CriteriaSet& set, const manifest::Profile& profile) {
  std::vector<Planted> out;
  for (const auto& criterion : set.criteria)
    for (auto& one : prove_criterion(criterion, profile, "criteria " + set.name)) out.push_back(std::move(one));
  return out;
}

std::vector<Planted> plant_into_judge(std::uint64_t seed) {
  SeededRandom random(seed);
  std::vector<Planted> out;
  Criterion exact;
  exact.id = "exact";
  exact.metric = "burnin.test.mismatches";
  exact.device = "cuda";
  exact.unit = "count";
  exact.direction = Direction::equal;
  exact.limit = 0;
  manifest::CriteriaSet set;
  set.criteria.push_back(exact);
  manifest::Profile profile;
  profile.per_node.state = manifest::Stated<int>::State::known;
  profile.per_node.value = 1;

  const auto judged = [&](const TestReport& report) {
    JudgeInput input{&profile, &set, {}, "cuda", nullptr};
    return judge(input, report);
  };
  const auto plant = [&](std::string fault, const std::function<void(TestReport&)>& change, std::optional<Verdict> wanted = {}) {
    TestReport report = report_of(exact, "cuda", 0);
    change(report);
    const auto verdict = judged(report);
    const bool found = wanted ? verdict.verdict == *wanted : verdict.verdict != Verdict::pass;
    out.push_back({"judge", std::move(fault), found, fmt::format("{}: {}", to_string(verdict.verdict), verdict.reason())});
  };
  const auto erase = [](TestReport& report, std::string_view metric) { std::erase_if(report.measurements, [&](const auto& m) { return m.metric == metric; }); };
  const auto set_value = [](TestReport& report, std::string_view metric, std::optional<double> value) {
    for (auto& m : report.measurements)
      if (m.metric == metric) m.value = value;
  };

  // What is sound must pass, or everything below proves nothing.
  const auto sound = judged(report_of(exact, "cuda", 0));
  out.push_back({"judge", "nothing: a sound report", sound.verdict == Verdict::pass, std::string(to_string(sound.verdict))});
  const double count = 1 + static_cast<double>(random.below(1'000'000));
  plant("a wrong bit that is counted", [&](auto& r) { set_value(r, exact.metric, count); }, Verdict::fail);
  const std::uint64_t place = random.below(std::uint64_t{1} << 40), bit = random.below(64);
  plant(fmt::format("a wrong bit that is told and not counted: bit {} of word {}", bit, place), [&](auto& r) {
    r.mismatches.push_back({"a", "cuda", "test", fmt::format("word {}", place), place, 0, 1, "0x0", fmt::format("0x{:x}", std::uint64_t{1} << bit), fmt::format("0x{:x}", std::uint64_t{1} << bit), "0x0"});
  }, Verdict::fail);
  plant("a checker that was not proven", [&](auto& r) { erase(r, "selftest.test.found"); }, Verdict::not_judged);
  plant("a checker that missed its planted fault", [&](auto& r) { set_value(r, "selftest.test.found", 0.5); }, Verdict::not_judged);
  plant("a test that made no iteration", [&](auto& r) { set_value(r, "burnin.test.iterations", 0); }, Verdict::not_judged);
  plant("a test that never came to its end", [&](auto& r) { r.statuses.clear(); }, Verdict::not_judged);
  plant("a test that broke", [&](auto& r) { r.statuses[0].state = TestState::failed; }, Verdict::fail);
  plant("a test that did not run", [&](auto& r) { r.statuses[0].state = TestState::not_run; }, Verdict::not_judged);
  plant("a figure that is missing", [&](auto& r) { erase(r, exact.metric); }, Verdict::not_judged);
  plant("a figure without a value", [&](auto& r) { set_value(r, exact.metric, std::nullopt); }, Verdict::not_judged);
  plant("a figure in another unit", [&](auto& r) { r.measurements.back().unit = "percent"; }, Verdict::not_judged);
  plant("a figure of another device", [&](auto& r) { r.measurements.back().device = "cpu"; }, Verdict::not_judged);
  plant("a figure of another accelerator", [&](auto& r) { r.measurements.back().accelerator = "b"; }, Verdict::not_judged);
  plant("fewer accelerators than there must be", [&](auto& r) { r.accelerators.clear(), r.statuses.clear(); });
  plant("an accelerator that is lost", [&](auto& r) { r.statuses.push_back({"a", "cuda", "counters", TestState::failed, "GPU is lost", "KF4006", 0}); }, Verdict::fail);
  plant("a report that was cut", [&](auto& r) { r.truncated = true; }, Verdict::not_judged);
  plant("an empty report", [&](auto& r) { r = {}; }, Verdict::not_judged);
  plant("an XID of the GPU falling off the bus", [&](auto& r) { r.measurements.push_back({"a", "cuda", "burnin", "xid.79", "count", 1, {}, "", "during gemm"}); }, Verdict::fail);
  plant("XIDs that nobody may read", [&](auto& r) { r.measurements.push_back({"a", "cuda", "burnin", "counters.xids", "count", std::nullopt, {}, "", "not permitted"}); }, Verdict::not_judged);
  {
    // A counter that was faked: moved by an amount that follows from the seed.
    Criterion counter = exact;
    counter.id = "counter";
    counter.metric = "counters.ecc_volatile_uncorrected";
    counter.direction = Direction::max;
    TestReport report = report_of(exact, "cuda", 0);
    const double moved = 1 + static_cast<double>(random.below(1000));
    report.measurements.push_back({"a", "cuda", "burnin", counter.metric, "count", moved, {}, "", fmt::format("gemm_bf16 +{}", moved)});
    manifest::CriteriaSet with = set;
    with.criteria.push_back(counter);
    JudgeInput input{&profile, &with, {}, "cuda", nullptr};
    const auto verdict = judge(input, report);
    out.push_back({"judge", fmt::format("an error counter that moved by {}", moved), verdict.verdict == Verdict::fail && verdict.reason().find("gemm_bf16") != std::string::npos, verdict.reason()});
  }
  {
    // Messages of a device that lies: what a reader refuses must not become a pass.
    ReportReader reader;
    const auto say = [&](json::Object message) { reader.take(message); };
    say(json::Object{{"type", "accelerator"}, {"id", "a"}, {"device", "cuda"}, {"model", std::string(1, char(27)) + "[31mB200"}});
    say(json::Object{{"type", "test_done"}, {"accelerator", "a"}, {"device", "cuda"}, {"test", "test"}, {"status", "passed"}});
    say(json::Object{{"type", "measurement"}, {"accelerator", "a"}, {"device", "cuda"}, {"test", "test"}, {"metric", exact.metric}, {"unit", "count"}, {"value", "0"}});
    say(json::Object{{"type", "measurement"}, {"accelerator", "a"}, {"device", "cuda"}, {"test", "test"}, {"metric", exact.metric}, {"unit", "count"}, {"value", false}});
    say(json::Object{{"type", "verdict"}, {"accelerator", "a"}, {"device", "cuda"}, {"verdict", "pass"}});
    const auto verdict = judged(reader.report());
    out.push_back({"judge", "a device that lies: zero as a word, false, an unknown status, a verdict of its own", verdict.verdict != Verdict::pass && reader.report().refused.size() >= 3,
                   fmt::format("{}, {} messages refused", to_string(verdict.verdict), reader.report().refused.size())});
  }
  {
    // A copy slowed by between 10 and 60 percent, among 31 sound ones.
    const auto slowed = random.below(32);
    const double factor = 1 - (10 + static_cast<double>(random.below(51))) / 100;
    std::deque<TestReport> reports;
    Fleet fleet;
    for (std::uint64_t i = 0; i < 32; ++i) {
      auto& report = reports.emplace_back();
      report.accelerators.push_back({fmt::format("a{}", i), "cuda", "Model", "", "", static_cast<int>(i % 8), -1, 0});
      report.statuses.push_back({fmt::format("a{}", i), "cuda", "device_local_copy", TestState::ran, "", "", 1});
      report.measurements.push_back({fmt::format("a{}", i), "cuda", "device_local_copy", "selftest.device_local_copy.found", "ratio", 1, {}, "", ""});
      const double sound_figure = 3000 + static_cast<double>(random.below(60));
      report.measurements.push_back({fmt::format("a{}", i), "cuda", "device_local_copy", "bandwidth.hbm_copy_rw_gbps", "gbps", i == slowed ? sound_figure * factor : sound_figure, {}, "", ""});
      fleet.add({fmt::format("n{}", i / 8), "", "", "p"}, report, "cuda");
    }
    const auto findings = fleet.findings();
    const bool found = findings.outliers.size() == 1 && findings.outliers[0].accelerator == fmt::format("a{}", slowed);
    out.push_back({"judge", fmt::format("a copy slowed to {} % among 31 sound ones", format_number(factor * 100, 0)), found, fmt::format("{} outliers", findings.outliers.size())});
    // And a digest that differs from all others.
    for (std::uint64_t i = 0; i < 32; ++i)
      reports[i].measurements.push_back({fmt::format("a{}", i), "cuda", "gemm", "burnin.gemm.digest", "digest", i == slowed ? 1.0 : 2.0, {}, "", ""});
    Fleet again;
    for (std::uint64_t i = 0; i < 32; ++i) again.add({fmt::format("n{}", i / 8), "", "", "p"}, reports[i], "cuda");
    const auto dissents = again.dissents();
    out.push_back({"judge", "an accelerator that is wrong in the same way every time", dissents.size() == 1 && dissents[0].decided && dissents[0].accelerator == fmt::format("a{}", slowed),
                   fmt::format("{} dissents", dissents.size())});
  }
  return out;
}

}  // namespace kfab::validation

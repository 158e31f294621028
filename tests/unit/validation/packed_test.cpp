// What is packed comes back as it was, and what is broken is told.
#include "validation/packed.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <stdexcept>

using namespace kfab;
using namespace kfab::validation;

namespace {

TestReport report_of(std::size_t accelerators, std::size_t figures) {
  TestReport report;
  for (std::size_t a = 0; a < accelerators; ++a) {
    const std::string id = "GPU-" + std::to_string(a);
    report.accelerators.push_back({id, "cuda", "H200", "0000:3b:00.0", "", static_cast<int>(a)});
    for (std::size_t f = 0; f < figures; ++f) {
      Measurement one{id, "cuda", "memory", "memory.figure_" + std::to_string(f), "gbps", 4000.5 + static_cast<double>(f), {}, f % 2 ? "0->1" : "", "20 samples"};
      for (int s = 0; s < 20; ++s) one.samples.push_back(4000 + s * 0.25);
      report.measurements.push_back(std::move(one));
    }
    report.statuses.push_back({id, "cuda", "memory", TestState::failed, "a bit was wrong", "KF4003", 12.5});
  }
  report.measurements.push_back({"GPU-0", "cuda", "memory", "memory.none", "gbps", std::nullopt, {}, "", "not taken"});
  report.measurements.push_back({"GPU-0", "cuda", "burnin", "burnin.digest", "digest", -std::numeric_limits<double>::denorm_min(), {}, "", std::string("a\0b\xff", 4)});
  report.mismatches.push_back({"GPU-0", "cuda", "memory", "slice 3", std::uint64_t{1} << 63, 128, ~std::uint64_t{0}, "0x00ff", "0x00fe", "0x0001", "0x00ff"});
  return report;
}

std::string text_of(const TestReport& report) {
  std::string out;
  for (const auto& m : report.measurements) {
    out += m.accelerator + '|' + m.device + '|' + m.test + '|' + m.metric + '|' + m.unit + '|' + m.link + '|' + m.detail + '|' + (m.value ? std::to_string(std::signbit(*m.value)) + std::to_string(*m.value) : "-");
    for (const double sample : m.samples) out += ' ' + std::to_string(sample);
    out += '\n';
  }
  for (const auto& s : report.statuses) out += s.accelerator + s.device + s.test + std::string(to_string(s.state)) + s.reason + s.code + std::to_string(s.duration_s) + '\n';
  for (const auto& m : report.mismatches)
    out += m.accelerator + m.device + m.test + m.where + std::to_string(m.index) + ' ' + std::to_string(m.stride) + ' ' + std::to_string(m.count) + m.expected + m.got + m.mask + m.second_read + '\n';
  return out;
}

}  // namespace

TEST_CASE("a packed report comes back as it was, and takes a fraction of its room") {
  const TestReport report = report_of(8, 200);
  const std::string bytes = packed(report);
  TestReport back;
  back.accelerators = report.accelerators;
  unpack(bytes, back);
  CHECK(text_of(back) == text_of(report));
  CHECK(back.accelerators.size() == 8);
  CHECK(back.measurements.back().value == report.measurements.back().value);
  CHECK(bytes.size() < report.measurements.size() * (20 * sizeof(double) + 30));   // the samples, and little more
  CHECK(packed(back) == bytes);
  TestReport none;
  unpack(packed(none), back);
  CHECK(text_of(back).empty());
}

TEST_CASE("a packed judgement comes back as it was") {
  NodeJudgement judgement;
  judgement.verdict = Verdict::degraded;
  judgement.reasons = {"first", "", "third"};
  judgement.of_node = {"of the node"};
  judgement.of_node_verdict = Verdict::fail;
  judgement.accelerators.push_back({"GPU-1", "cuda", "H200", -1, Verdict::fail, {"why"}});
  judgement.criteria.push_back({"c@1", "m", "gbps", "memory", "GPU-1", "cuda", "0->1", 12.5, std::nullopt, manifest::Direction::equal, Verdict::degraded, true, false, "too slow"});
  NodeJudgement back;
  back.reasons = {"something else"};
  unpack(packed(judgement), back);
  CHECK(back.verdict == Verdict::degraded);
  CHECK(back.reasons == judgement.reasons);
  CHECK(back.of_node == judgement.of_node);
  CHECK(back.of_node_verdict == Verdict::fail);
  REQUIRE(back.accelerators.size() == 1);
  CHECK(back.accelerators[0].index == -1);
  CHECK(back.accelerators[0].verdict == Verdict::fail);
  CHECK(back.accelerators[0].reasons == judgement.accelerators[0].reasons);
  REQUIRE(back.criteria.size() == 1);
  const auto& c = back.criteria[0];
  CHECK(c.criterion + c.metric + c.unit + c.test + c.accelerator + c.device + c.link + c.reason == "c@1mgbpsmemoryGPU-1cuda0->1too slow");
  CHECK(c.value == 12.5);
  CHECK_FALSE(c.limit);
  CHECK(c.direction == manifest::Direction::equal);
  CHECK(c.verdict == Verdict::degraded);
  CHECK(c.beside_peers);
  CHECK_FALSE(c.counts);
}

TEST_CASE("bytes that were cut are told and never read as a shorter report") {
  const std::string bytes = packed(report_of(2, 3));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    TestReport back;
    CHECK_THROWS_AS(unpack(std::string_view(bytes).substr(0, size), back), const std::exception&);
  }
}

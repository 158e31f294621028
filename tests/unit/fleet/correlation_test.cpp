#include <doctest/doctest.h>

#include <fmt/format.h>

#include "fleet/correlation.hpp"
#include "fleet/cost.hpp"

using namespace kfab;
using namespace kfab::fleet;

namespace {

// `racks` racks of `per_rack` nodes, all of which are well.
std::vector<NodeEnd> site(int racks, int per_rack) {
  std::vector<NodeEnd> ends;
  for (int r = 0; r < racks; ++r)
    for (int n = 0; n < per_rack; ++n)
      ends.push_back({.node = fmt::format("r{:02}n{:02}", r, n), .rack = fmt::format("r{:02}", r), .address = fmt::format("10.1.{}.{}", r / 2, r % 2 * 100 + n),
                      .outcome = NodeOutcome::ok, .well = true});
  return ends;
}

void fail(NodeEnd& end, std::string reason = "no route") {
  end.outcome = NodeOutcome::unreachable;
  end.well = false;
  end.code = "KF2002";
  end.phase = "connect";
  end.reason = std::move(reason);
}

}  // namespace

TEST_CASE("the chance that so many fall on one kind, against counting by hand") {
  CHECK(chance_of_at_least(4, 8, 4, 4) == doctest::Approx(1.0 / 70));
  CHECK(chance_of_at_least(3, 8, 4, 3) == doctest::Approx(4.0 / 56));
  CHECK(chance_of_at_least(0, 8, 4, 3) == doctest::Approx(1));
  CHECK(chance_of_at_least(1, 5, 1, 5) == doctest::Approx(1));
  CHECK(chance_of_at_least(3, 32500, 32, 650) < 0.03);
}

TEST_CASE("14 of 16 failures in one rack are told, with both numbers") {
  auto ends = site(32, 32);
  for (int i = 0; i < 14; ++i) fail(ends[static_cast<std::size_t>(7 * 32 + i)]);
  fail(ends[0]);
  fail(ends[500]);
  const auto summary = summarize_failures(ends);
  REQUIRE(summary.shared.size() >= 1);
  CHECK(summary.shared[0].kind == "rack");
  CHECK(to_text(summary.shared[0]) == "14 of 16 failures share rack r07 (14 of its 32 nodes)");
  for (const auto& trait : summary.shared) CHECK(trait.kind != "address_prefix");   // the same nodes: said once
  CHECK(summary.failed.size() == 16);
}

TEST_CASE("failures spread over the site share nothing, nor do two of them, nor does a run of one rack") {
  auto spread = site(32, 32);
  for (std::size_t i = 0; i < spread.size(); i += 53) fail(spread[i]);
  CHECK(summarize_failures(spread).shared.empty());
  auto two = site(32, 32);
  fail(two[0]);
  fail(two[1]);
  CHECK(summarize_failures(two).shared.empty());
  auto one_rack = site(1, 32);
  for (int i = 0; i < 20; ++i) fail(one_rack[static_cast<std::size_t>(i)]);
  CHECK(summarize_failures(one_rack).shared.empty());
  auto all = site(8, 4);
  for (auto& end : all) fail(end);
  CHECK(summarize_failures(all).shared.empty());
}

TEST_CASE("two dead racks are both told; jump hosts and address prefixes too") {
  auto ends = site(16, 8);
  for (std::size_t i = 0; i < 16; ++i) fail(ends[i]);   // r00 and r01, which are 10.1.0.0/24 together
  auto summary = summarize_failures(ends);
  REQUIRE(summary.shared.size() == 3);
  CHECK(summary.shared[0].kind == "address_prefix");
  CHECK(summary.shared[0].name == "10.1.0.0/24");
  CHECK(summary.shared[1].name == "r00");
  CHECK(summary.shared[2].name == "r01");

  for (auto& end : ends) end.rack.clear(), end.address = "2001:db8::" + end.node.substr(1, 2), end.via = end.well ? "bastion1" : "bastion2";
  summary = summarize_failures(ends);
  REQUIRE(summary.shared.size() == 1);
  CHECK(to_text(summary.shared[0]) == "16 of 16 failures share jump host bastion2 (16 of its 16 nodes)");
}

TEST_CASE("equal failures are one group, the largest first; what was never started is none") {
  auto ends = site(4, 4);
  fail(ends[0], "refused");
  for (std::size_t i = 1; i < 4; ++i) fail(ends[i]);
  ends[4].well = false;   // its session was ok, what was found is not
  ends[4].reason = "ecc";
  ends[5].started = ends[6].started = false;
  ends[5].well = ends[6].well = false;
  const auto summary = summarize_failures(ends);
  REQUIRE(summary.groups.size() == 3);
  CHECK(summary.groups[0].nodes == std::vector<std::string>{"r00n01", "r00n02", "r00n03"});
  CHECK(summary.groups[0].reason == "no route");
  CHECK(summary.groups[2].outcome == NodeOutcome::ok);
  CHECK(summary.not_started == std::vector<std::string>{"r01n01", "r01n02"});
  CHECK(summary.failed.size() == 5);
}

TEST_CASE("hundreds of reasons of one kind are one group") {
  auto ends = site(10, 10);
  for (std::size_t i = 0; i < 50; ++i) fail(ends[i], fmt::format("SHA256:{}", i));
  const auto summary = summarize_failures(ends);
  REQUIRE(summary.groups.size() == 1);
  CHECK(summary.groups[0].many_reasons);
  CHECK(summary.groups[0].nodes.size() == 50);
}

TEST_CASE("a reason without what differs from node to node") {
  CHECK(impersonal("gpu7: cannot connect to 10.0.0.7 port 22: Connection refused", "gpu7", "10.0.0.7") ==
        "cannot connect to its address port 22: Connection refused");
  CHECK(impersonal("the host key of gpu7 is not known", "gpu7", "") == "the host key of it is not known");
  CHECK(impersonal("b1.example: cannot resolve b1.example: not known", "b1.example", "b1.example") == "cannot resolve its address: not known");
  CHECK(impersonal("b1.example:22 and b1.example.org and b1.example.", "b1", "b1.example") == "b1.example:22 and b1.example.org and its address.");
  CHECK(impersonal("gpu77 and 10.0.0.70 are others", "gpu7", "10.0.0.7") == "gpu77 and 10.0.0.70 are others");
  CHECK(impersonal("a: not through a phase", "a", "") == "not through a phase");
  CHECK(impersonal("", "a", "b").empty());
}

TEST_CASE("the cost of a run, in words") {
  CHECK(to_text({32500, 41.2, std::uint64_t{310} << 20, 192}) == "32,500 nodes, 41 s CPU, 310 MiB, 3 min 12 s");
  CHECK(to_text({1, 0.0214, std::uint64_t{12} << 20, 0.4}) == "1 node, 21 ms CPU, 12 MiB, 400 ms");
  CHECK(to_text({2, 9.96, std::uint64_t{12345} << 20, 59.7}) == "2 nodes, 10 s CPU, 12.1 GiB, 1 min 00 s");
}

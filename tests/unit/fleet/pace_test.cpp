#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "base/ids.hpp"
#include "fleet/pace.hpp"
#include "unit/fleet/fake_agent.hpp"

using namespace kfab;
using namespace kfab::fleet;

namespace {

using Sizes = std::vector<std::size_t>;

std::vector<std::string> racks_of(std::size_t nodes, std::size_t per_rack = 0) {
  std::vector<std::string> racks(nodes);
  if (per_rack > 0)
    for (std::size_t i = 0; i < nodes; ++i) racks[i] = "r" + std::to_string(i / per_rack);
  return racks;
}

PaceOptions with(void (*set)(PaceOptions&)) {
  PaceOptions options;
  set(options);
  return options;
}

// Starts what may be started, in order, at most `window` at once, ending the oldest first; `bad` fail. Returns the
// nodes in the order of their start, and after how many ends each was started.
struct Run {
  Run(Pace& pace, std::size_t window, const std::set<std::size_t>& bad) {
    std::vector<std::size_t> active;
    std::size_t next = 0;
    for (;;) {
      for (; next < pace.nodes() && active.size() < window; ++next) {
        const auto answer = pace.ask(next);
        if (answer == Pace::Answer::wait) break;
        if (answer == Pace::Answer::never) continue;
        pace.started(next);
        active.push_back(next);
        started.push_back(next);
        most = std::max(most, active.size());
      }
      if (active.empty()) break;
      pace.ended(active.front(), !bad.contains(active.front()));
      active.erase(active.begin());
    }
  }
  std::vector<std::size_t> started;
  std::size_t most = 0;
};

}  // namespace

TEST_CASE("a share is a count or a percentage, rounded down, and nothing else") {
  CHECK(parse_share("5")->of(3) == 5);
  CHECK(parse_share("2%")->of(128) == 2);
  CHECK(parse_share("2%")->of(49) == 0);
  CHECK(parse_share("0.7%")->of(1000) == 7);
  CHECK(parse_share("100%")->of(32500) == 32500);
  CHECK(parse_share("0")->of(9) == 0);
  CHECK(to_string(*parse_share("2.50%")) == "2.5%");
  CHECK(to_string(*parse_share("32500")) == "32,500");
  for (const char* bad : {"", "%", "-1", "+1", "1.5", "101%", "2 %", "1e3", "nan", "2%%", "0x10", "99999999999", "1..2%", "."})
    CHECK_MESSAGE(!parse_share(bad), bad);
}

TEST_CASE("the sizes of batches") {
  PaceOptions none;
  CHECK(batch_sizes(none, 100) == Sizes{100});
  PaceOptions canary;
  canary.canary = 1;
  CHECK(batch_sizes(canary, 100) == Sizes{1, 2, 4, 8, 16, 32, 37});
  CHECK(batch_sizes(canary, 1) == Sizes{1});
  CHECK(batch_sizes(canary, 0) == Sizes{0});
  canary.canary = 3;
  CHECK(batch_sizes(canary, 10) == Sizes{3, 6, 1});
  canary.ramp = Ramp::rest;
  CHECK(batch_sizes(canary, 10) == Sizes{3, 7});
  canary.ramp = Ramp::same;
  CHECK(batch_sizes(canary, 10) == Sizes{3, 3, 3, 1});
  PaceOptions batch;
  batch.batch = Share{25, true};
  CHECK(batch_sizes(batch, 10) == Sizes{2, 2, 2, 2, 2});
  batch.canary = 1;
  CHECK(batch_sizes(batch, 10) == Sizes{1, 2, 2, 2, 2, 1});
  batch.ramp = Ramp::doubling;
  CHECK(batch_sizes(batch, 20) == Sizes{1, 5, 10, 4});
  batch.batch = Share{1, true};   // less than one node is one
  batch.canary = 0;
  batch.ramp = Ramp::same;
  CHECK(batch_sizes(batch, 3) == Sizes{1, 1, 1});
  PaceOptions ramp;
  ramp.ramp = Ramp::doubling;
  CHECK(batch_sizes(ramp, 7) == Sizes{1, 2, 4});
}

TEST_CASE("without options everything starts at once and nothing stops it") {
  Pace pace(racks_of(100), {});
  std::set<std::size_t> all;
  for (std::size_t i = 0; i < 100; ++i) all.insert(i);
  const Run run(pace, 1000, all);
  CHECK(run.most == 100);
  CHECK(run.started.size() == 100);
  CHECK_FALSE(pace.stopped());
}

TEST_CASE("0 stops at the first failure, and what runs then is allowed to end") {
  Pace pace(racks_of(20), with([](PaceOptions& o) { o.max_fail = Share{0}; }));
  const Run run(pace, 4, {2});
  CHECK(run.started == Sizes{0, 1, 2, 3, 4, 5});   // 3 to 5 were at work when 2 failed
  CHECK(pace.stopped());
  CHECK(pace.why_not(6) == "1 of 20 nodes failed, and --max-fail allows 0");
  CHECK(pace.why_not(5).empty());
  CHECK(held_back("n6", pace.why_not(6)).message == "n6: not started: 1 of 20 nodes failed, and --max-fail allows 0");
}

TEST_CASE("a percentage is of the selected nodes, and the number that it came to is said") {
  Pace pace(racks_of(150), with([](PaceOptions& o) { o.max_fail = Share{2, true}; }));
  const Run run(pace, 1, {1, 3, 5, 7, 9});
  CHECK(run.started.size() == 8);   // the fourth failure is one too many
  CHECK(pace.why_not(149) == "4 of 150 nodes failed, and --max-fail allows 2%, which is 3");
}

TEST_CASE("a canary that fails stops the run; one that is well opens the ramp") {
  Pace bad(racks_of(50), with([](PaceOptions& o) { o.canary = 2; }));
  CHECK(Run(bad, 100, {1}).started == Sizes{0, 1});
  CHECK(bad.why_not(2) == "1 of the 2 nodes that went first (--canary) failed");

  Pace one(racks_of(50), with([](PaceOptions& o) { o.canary = 1; }));
  CHECK(Run(one, 100, {0}).started == Sizes{0});
  CHECK(one.why_not(49) == "the node that went first (--canary) failed");

  Pace good(racks_of(50), with([](PaceOptions& o) { o.canary = 2; }));
  const Run run(good, 100, {});
  CHECK(run.started.size() == 50);
  CHECK(run.most == 20);   // 2, 4, 8, 16 and the last 20
}

TEST_CASE("with a budget a canary may fail within it, but not by more than half") {
  const auto options = [](PaceOptions& o) {
    o.canary = 4;
    o.max_fail = Share{10};
  };
  Pace within(racks_of(50), with(options));
  CHECK(Run(within, 100, {0, 3}).started.size() == 50);
  Pace beyond(racks_of(50), with(options));
  CHECK(Run(beyond, 100, {0, 1, 3}).started.size() == 4);
}

TEST_CASE("a later batch of which more than half fails stops the run") {
  Pace pace(racks_of(50), with([](PaceOptions& o) { o.canary = 1; }));
  CHECK(Run(pace, 100, {3, 4, 5}).started == Sizes{0, 1, 2, 3, 4, 5, 6});
  CHECK(pace.why_not(7) == "3 of 4 nodes in batch 3 failed, which is more than half");
}

TEST_CASE("a budget per batch is of the batch's own nodes") {
  Pace pace(racks_of(40), with([](PaceOptions& o) {
              o.batch = Share{10};
              o.max_fail_per_batch = Share{20, true};
            }));
  CHECK(Run(pace, 100, {0, 1, 10, 11, 20, 21, 22}).started.size() == 30);
  CHECK(pace.why_not(39) == "3 of 10 nodes in batch 3 failed, and --max-fail-per-batch allows 20%, which is 2");
}

TEST_CASE("a rack whose budget is used up is left out while the others go on, in batches too") {
  const auto options = [](PaceOptions& o) { o.max_fail_per_rack = Share{1}; };
  Pace pace(racks_of(12, 4), with(options));   // r0 0-3, r1 4-7, r2 8-11
  const Run run(pace, 1, {4, 5});
  CHECK(run.started == Sizes{0, 1, 2, 3, 4, 5, 8, 9, 10, 11});
  CHECK_FALSE(pace.stopped());
  CHECK(pace.why_not(6) == "2 of 4 nodes in rack r1 failed, and --max-fail-per-rack allows 1");
  CHECK(pace.ask(7) == Pace::Answer::never);

  Pace batches(racks_of(12, 4), with([](PaceOptions& o) {
                 o.max_fail_per_rack = Share{1};
                 o.batch = Share{3};
               }));
  CHECK(Run(batches, 1, {4, 5}).started == Sizes{0, 1, 2, 3, 4, 5});   // 2 of 3 in the second batch is more than half
  PaceOptions wide;
  wide.max_fail_per_rack = Share{1};
  wide.batch = Share{5};
  Pace wider(racks_of(12, 4), wide);
  CHECK(Run(wider, 1, {4, 5}).started.size() == 10);
}

TEST_CASE("nodes of no rack share no budget") {
  Pace pace(racks_of(10), with([](PaceOptions& o) { o.max_fail_per_rack = Share{0}; }));
  CHECK(Run(pace, 3, {0, 1, 2, 3}).started.size() == 10);
}

TEST_CASE("a slow node holds the batch, not the window inside it") {
  Pace pace(racks_of(8), with([](PaceOptions& o) { o.batch = Share{4}; }));
  for (std::size_t i = 0; i < 4; ++i) {
    REQUIRE(pace.ask(i) == Pace::Answer::start);
    pace.started(i);
  }
  for (std::size_t i = 1; i < 4; ++i) pace.ended(i, true);   // 0 is slow
  CHECK(pace.ask(4) == Pace::Answer::wait);
  pace.ended(0, true);
  CHECK(pace.ask(4) == Pace::Answer::start);
}

TEST_CASE("random runs end, start nobody twice, and never fail by more than the budget and the window") {
  std::uint64_t seed = 88172645463325252ULL;
  const auto random = [&](std::uint64_t below) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % below;
  };
  for (int round = 0; round < 500; ++round) {
    const std::size_t nodes = random(60);
    PaceOptions options;
    if (random(2)) options.canary = random(5);
    if (random(2)) options.batch = Share{static_cast<double>(random(20)), random(2) == 0};
    if (random(3) == 0) options.ramp = static_cast<Ramp>(random(3));
    if (random(2)) options.max_fail = Share{static_cast<double>(random(10))};
    if (random(2)) options.max_fail_per_rack = Share{static_cast<double>(random(3))};
    std::set<std::size_t> bad;
    for (std::size_t i = 0; i < nodes; ++i)
      if (random(5) == 0) bad.insert(i);
    const std::size_t window = 1 + random(10);
    Pace pace(racks_of(nodes, 1 + random(8)), options);
    const Run run(pace, window, bad);
    CHECK(std::set<std::size_t>(run.started.begin(), run.started.end()).size() == run.started.size());
    std::size_t failures = 0;
    for (const auto node : run.started) failures += bad.count(node);
    CHECK(failures == pace.failures());
    if (options.max_fail) CHECK(failures <= options.max_fail->of(nodes) + window);
    std::size_t held = 0;
    for (std::size_t i = 0; i < nodes; ++i) held += pace.why_not(i).empty() ? 0 : 1;
    CHECK(held + run.started.size() == nodes);   // every node was started, or it is known why not
  }
}

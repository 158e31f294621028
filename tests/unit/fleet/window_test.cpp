#include <doctest/doctest.h>

#include <deque>
#include <set>

#include "base/codes/agent.hpp"
#include "base/codes/ssh.hpp"
#include "fleet/pace.hpp"
#include "unit/fleet/fake_agent.hpp"

using namespace kfab;
using namespace kfab::fleet;
using namespace kfab::fleet::test;

namespace {

// One command ends per drive, in the order of their launch; what is named fails or cannot be reached.
class OneByOne final : public ssh::Transport {
 public:
  void launch(const ssh::Target& target, const ssh::Command&, std::shared_ptr<ssh::CommandListener> listener) override {
    launched.push_back(target.node);
    listener->on_phase(ssh::Phase::connect);
    waiting_.push_back({target.node, std::move(listener)});
  }
  void drive(std::chrono::milliseconds) override {
    if (waiting_.empty()) return;
    auto [node, listener] = std::move(waiting_.front());
    waiting_.pop_front();
    ssh::CommandEnd end;
    const bool dead = unreachable.contains(node);
    end.outcome = dead ? NodeOutcome::unreachable : NodeOutcome::ok;
    if (dead) end.why = make_diagnostic(code::ssh_timed_out, node + ": no");
    else end.exit_status = 0;
    listener->on_end(end);
  }
  std::size_t running() const override { return waiting_.size(); }
  std::vector<std::string> launched;
  std::set<std::string> unreachable;

 private:
  std::deque<std::pair<std::string, std::shared_ptr<ssh::CommandListener>>> waiting_;
};

class StepClock final : public Clock {
 public:
  Timestamp now() const override { return {}; }
  std::chrono::steady_clock::time_point steady_now() const override { return time_ += std::chrono::milliseconds(50); }

 private:
  mutable std::chrono::steady_clock::time_point time_{};
};

}  // namespace

TEST_CASE("an unreachable node counts for the budget; what was not started says why, and keeps its place") {
  OneByOne transport;
  Sink sink;
  CancelToken cancel;
  PaceOptions options;
  options.max_fail = Share{1};
  Pace pace(std::vector<std::string>(30), options);
  FleetOptions fleet;
  fleet.window = 4;
  fleet.pace = &pace;
  transport.unreachable = {"n3", "n5"};
  const auto results = run_command(transport, local_targets(30), "true", "", fleet, StepClock(), sink, cancel);
  REQUIRE(results.size() == 30);
  CHECK(transport.launched.size() == 9);   // n5 was the sixth to end; n6 to n8 were at work then
  CHECK(results[8].outcome == NodeOutcome::ok);
  for (std::size_t i = 9; i < 30; ++i) {
    CHECK(results[i].node == "n" + std::to_string(i));
    CHECK(results[i].outcome == NodeOutcome::unreachable);
    REQUIRE(results[i].why);
    CHECK(results[i].why->code == code::fleet_budget_used_up);
    CHECK(results[i].why->node == results[i].node);
  }
  CHECK(sink.count("node_done") == 9);
}

TEST_CASE("a canary is alone until it has ended") {
  OneByOne transport;
  Sink sink;
  CancelToken cancel;
  PaceOptions options;
  options.canary = 1;
  Pace pace(std::vector<std::string>(8), options);
  FleetOptions fleet;
  fleet.pace = &pace;
  const auto results = run_command(transport, local_targets(8), "true", "", fleet, StepClock(), sink, cancel);
  std::string order;
  for (const Event& event : sink.events)
    if (event.type != "tick") order += event.type == "node_started" ? '+' : '-';
  CHECK(order == "+-" "++--" "++++----" "+-");
  for (const auto& result : results) CHECK(result.outcome == NodeOutcome::ok);
}

TEST_CASE("the run ticks while it goes on, naming the oldest node and what it does") {
  OneByOne transport;
  Sink sink;
  CancelToken cancel;
  (void)run_command(transport, local_targets(60), "true", "", {}, StepClock(), sink, cancel);
  REQUIRE(sink.count("tick") > 3);
  for (const Event& event : sink.events) {
    if (event.type != "tick" || event.node.empty()) continue;
    CHECK(event.step == "connect");
    CHECK(event.done.value_or(-1) > 0);
  }
}

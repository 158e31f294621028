#include <doctest/doctest.h>

#include "unit/fleet/fake_agent.hpp"

#include "base/codes/agent.hpp"
#include "base/codes/ssh.hpp"

using namespace kfab;
using namespace kfab::fleet;
using namespace kfab::fleet::test;

namespace {

// A transport whose commands do what the test says, and which never lets more run than it notices.
class FakeTransport final : public ssh::Transport {
 public:
  struct One final : ssh::CommandPeer {
    bool write(std::string bytes) override { input += bytes; return true; }
    bool write_view(std::string_view bytes) override { input += bytes; return true; }
    bool write_from(const ssh::ByteSource& source, std::uint64_t from, std::uint64_t count) override {
      const std::size_t before = input.size();
      input.resize(before + count);
      return source.read(from, input.data() + before, count);
    }
    void close_input() override { closed = true; }
    void abort() override { aborted = true; }
    std::string input;
    bool closed = false, aborted = false, started = false, ended = false;
    std::string node;
    std::shared_ptr<ssh::CommandListener> listener;
  };
  void launch(const ssh::Target& target, const ssh::Command&, std::shared_ptr<ssh::CommandListener> listener) override {
    commands.push_back(std::make_unique<One>());
    commands.back()->node = target.node;
    commands.back()->listener = std::move(listener);
    most = std::max(most, running());
  }
  void drive(std::chrono::milliseconds) override {
    if (++drives == stop_at) cancel->raise(2);
    if (drives == stop_again_at) cancel->raise(2);
    for (std::size_t i = 0; i < commands.size(); ++i) {
      One& one = *commands[i];
      if (one.ended) continue;
      if (!one.started) {
        one.started = true;
        one.listener->on_launch(one);
        one.listener->on_start(one);
        continue;
      }
      ssh::CommandEnd end;
      if (one.aborted) {
        end.outcome = NodeOutcome::unreachable;
        end.why = make_diagnostic(code::remote_command_aborted, "cut");
      } else if (one.node == hangs) {
        continue;
      } else {
        one.listener->on_stdout("in:" + one.input);
        end.outcome = NodeOutcome::ok;
        end.exit_status = 0;
      }
      one.ended = true;
      one.listener->on_end(end);
      one.listener.reset();
    }
  }
  std::size_t running() const override {
    std::size_t count = 0;
    for (const auto& one : commands) count += one->ended ? 0 : 1;
    return count;
  }
  std::vector<std::unique_ptr<One>> commands;
  std::size_t most = 0;
  std::string hangs;
  int drives = 0, stop_at = -1, stop_again_at = -1;
  CancelToken* cancel = nullptr;
};

// Moves on by a second whenever it is asked.
class SteppingClock final : public Clock {
 public:
  Timestamp now() const override { return {}; }
  std::chrono::steady_clock::time_point steady_now() const override { return time_ += std::chrono::seconds(1); }

 private:
  mutable std::chrono::steady_clock::time_point time_{};
};

}  // namespace

TEST_CASE("every node is run once, in its place, and never more than the window at once") {
  FakeTransport transport;
  Sink sink;
  CancelToken cancel;
  FleetOptions options;
  options.window = 7;
  const auto results = run_command(transport, local_targets(50), "true", "hello", options, SteppingClock(), sink, cancel);
  REQUIRE(results.size() == 50);
  for (std::size_t i = 0; i < results.size(); ++i) {
    CHECK(results[i].node == "n" + std::to_string(i));
    CHECK(results[i].outcome == NodeOutcome::ok);
    CHECK(results[i].stdout_text == "in:hello");
    CHECK_FALSE(results[i].why);
  }
  CHECK(transport.most == 7);
  CHECK(sink.count("node_done") == 50);
}

TEST_CASE("no target gives no result, and a window of nothing is one of one") {
  FakeTransport transport;
  Sink sink;
  CancelToken cancel;
  FleetOptions options;
  options.window = 0;
  CHECK(run_command(transport, {}, "true", "", options, SteppingClock(), sink, cancel).empty());
  CHECK(run_command(transport, local_targets(2), "true", "", options, SteppingClock(), sink, cancel).size() == 2);
}

TEST_CASE("the first stop starts no more and cuts what hangs after the grace; every node has a result") {
  FakeTransport transport;
  Sink sink;
  CancelToken cancel;
  FleetOptions options;
  options.window = 2;
  transport.cancel = &cancel;
  transport.hangs = "n0";
  transport.stop_at = 3;
  const auto results = run_command(transport, local_targets(100), "true", "", options, SteppingClock(), sink, cancel);
  REQUIRE(results.size() == 100);
  CHECK(transport.commands.size() < 10);
  CHECK(results[0].outcome == NodeOutcome::unreachable);
  CHECK(results[0].why->code == code::fleet_cancelled);
  CHECK(results[1].outcome == NodeOutcome::ok);
  CHECK(results[99].why->code == code::fleet_cancelled);
  CHECK(transport.drives > 6);   // the grace of 10 s was given, of a clock asked twice per drive
}

TEST_CASE("the second stop cuts at once") {
  FakeTransport transport;
  Sink sink;
  CancelToken cancel;
  FleetOptions options;
  options.cancel_grace = std::chrono::hours(1);
  transport.cancel = &cancel;
  transport.hangs = "n0";
  transport.stop_at = 3;
  transport.stop_again_at = 5;
  const auto results = run_command(transport, local_targets(1), "true", "", options, SteppingClock(), sink, cancel);
  CHECK(results[0].why->code == code::fleet_cancelled);
  CHECK(transport.drives < 10);
}

TEST_CASE("a run stopped before it began starts nothing") {
  FakeTransport transport;
  Sink sink;
  CancelToken cancel;
  cancel.raise(2);
  const auto results = run_command(transport, local_targets(3), "true", "", {}, SteppingClock(), sink, cancel);
  CHECK(transport.commands.empty());
  for (const CommandResult& result : results) CHECK(result.why->code == code::fleet_cancelled);
}

TEST_CASE("local commands through the real transport") {
  auto transport = ssh::make_transport({});
  auto clock = make_system_clock();
  Sink sink;
  CancelToken cancel;
  const auto results = run_command(*transport, local_targets(3), "cat; exit 7", "input", {}, *clock, sink, cancel);
  for (const CommandResult& result : results) {
    CHECK(result.outcome == NodeOutcome::failed);
    CHECK(result.exit_status == 7);
    CHECK(result.stdout_text == "input");
    CHECK(result.why->node == result.node);
  }
}

TEST_CASE("what all nodes print together is bounded as well, and what is dropped is counted") {
  ssh::TransportOptions with;
  with.reactors = 1;
  auto transport = ssh::make_transport(with);
  auto clock = make_system_clock();
  Sink sink;
  CancelToken cancel;
  FleetOptions options;
  options.window = 1;
  options.max_kept_bytes = 250'000;
  const auto results =
      run_command(*transport, local_targets(6), "head -c 100000 /dev/zero | tr '\\0' x", "", options, *clock, sink, cancel);
  std::size_t kept = 0;
  for (const auto& result : results) {
    CHECK(result.outcome == NodeOutcome::ok);
    CHECK(result.stdout_text.size() + result.truncated_bytes == 100'000);
    kept += result.stdout_text.size();
  }
  CHECK(results[0].stdout_text.size() == 100'000);
  CHECK(results[5].stdout_text.size() == 4096);
  CHECK(kept < 450'000);
}

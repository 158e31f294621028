#include <doctest/doctest.h>

#include <sstream>

#include "base/clock.hpp"
#include "term/progress.hpp"
#include "term/prompt.hpp"

using namespace kfab;
using namespace kfab::term;
using namespace std::chrono_literals;

namespace {

struct FakeClock final : Clock {
  std::chrono::steady_clock::time_point at{};
  Timestamp now() const override { return {}; }
  std::chrono::steady_clock::time_point steady_now() const override { return at; }
};

Event started(double total) { return {.type = "run_started", .message = "exec", .total = total}; }
Event done(std::string node, std::string outcome) { return {.type = "node_done", .node = std::move(node), .outcome = std::move(outcome)}; }

}  // namespace

TEST_CASE("the live line counts outcomes, is redrawn at most ten times a second, and erases itself") {
  std::ostringstream err;
  FakeClock clock;
  ProgressSink sink(err, {.terminal = true, .width = 200}, clock, Verbosity::normal);
  sink.emit(started(100));
  CHECK(err.str().find("exec: 0 of 100") != std::string::npos);
  err.str("");
  for (int i = 0; i < 50; ++i) sink.emit(done("n", "ok"));
  CHECK(err.str().empty());   // no time has passed
  clock.at += 10s;
  sink.emit(done("n51", "unreachable"));
  CHECK(err.str().find("exec: 51 of 100, 50 ok, 1 unreachable") != std::string::npos);
  CHECK(err.str().find("5/s") != std::string::npos);
  CHECK(err.str().find("left") != std::string::npos);
  err.str("");
  sink.finish();
  CHECK(err.str() == "\r\x1b[K");
  err.str("");
  sink.finish();
  CHECK(err.str().empty());   // erased once
}

TEST_CASE("the live line is never wider than the terminal, and a finding stands on a line of its own above it") {
  std::ostringstream err;
  FakeClock clock;
  ProgressSink sink(err, {.terminal = true, .width = 20}, clock, Verbosity::normal);
  sink.emit(started(1000000));
  CHECK(err.str().size() <= 4 + 19);
  err.str("");
  sink.emit({.type = "finding", .node = "gpu7", .message = "wrong\nbits"});
  CHECK(err.str().starts_with("\r\x1b[Kgpu7: wrong bits\n"));
}

TEST_CASE("without a terminal nothing is drawn, but with -v a line every ten seconds") {
  std::ostringstream silent, verbose;
  FakeClock clock;
  ProgressSink quiet_sink(silent, {}, clock, Verbosity::normal), verbose_sink(verbose, {}, clock, Verbosity::verbose);
  for (ProgressSink* sink : {&quiet_sink, &verbose_sink}) sink->emit(started(3));
  clock.at += 9s;
  for (ProgressSink* sink : {&quiet_sink, &verbose_sink}) sink->emit(done("a", "ok"));
  CHECK(verbose.str().empty());
  clock.at += 2s;
  for (ProgressSink* sink : {&quiet_sink, &verbose_sink}) sink->emit(done("b", "failed"));
  CHECK(verbose.str().starts_with("exec: 2 of 3, 1 failed, 1 ok"));
  CHECK(verbose.str().ends_with("\n"));
  CHECK(verbose.str().find('\x1b') == std::string::npos);
  CHECK(silent.str().empty());
}

TEST_CASE("-q keeps findings and drops messages") {
  std::ostringstream err;
  FakeClock clock;
  ProgressSink sink(err, {.terminal = true, .width = 80}, clock, Verbosity::quiet);
  sink.emit(started(3));
  sink.emit({.type = "message", .message = "hello"});
  sink.emit({.type = "finding", .message = "bad"});
  CHECK(err.str() == "bad\n");
}

TEST_CASE("a question needs somebody to answer it, and only yes is yes") {
  std::ostringstream err;
  const auto ask = [&](const std::string& answer, PromptRules rules) {
    std::istringstream in(answer);
    return confirm("Apply to 3 nodes?", rules, in, err);
  };
  CHECK(*ask("", {.assume_yes = true}));
  CHECK(err.str().empty());
  CHECK(*ask("y\n", {.may_ask = true}));
  CHECK(err.str() == "Apply to 3 nodes? [y/N] ");
  CHECK(*ask(" YES \n", {.may_ask = true}));
  CHECK_FALSE(*ask("\n", {.may_ask = true}));
  CHECK_FALSE(*ask("yeah\n", {.may_ask = true}));
  CHECK_FALSE(*ask("", {.may_ask = true}));
  const auto nobody = ask("y\n", {});
  REQUIRE_FALSE(nobody.has_value());
  CHECK(nobody.error().code == Code::confirmation_missing);
  CHECK(nobody.error().message.find("--yes") != std::string::npos);
}

#include <doctest/doctest.h>

#include <sstream>

#include "base/clock.hpp"
#include "base/codes/cli.hpp"
#include "base/text.hpp"
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

// What a person sees of everything that was written: the text after the last time that the line was cleared.
std::string shown(const std::ostringstream& err) {
  const std::string all = err.str();
  const auto at = all.rfind("\r\x1b[K");
  return at == std::string::npos ? all : all.substr(at + 4);
}

Event tick(std::string node = {}, std::string step = {}, double seconds = 0) {
  return {.type = "tick", .node = std::move(node), .step = std::move(step), .done = seconds};
}

// A run of `total` nodes with `window` at work, of which every tenth node cannot be reached, at `rate` nodes a second.
void play(ProgressSink& sink, FakeClock& clock, int total, int window, int done_count, int rate) {
  sink.emit(started(total));
  for (int i = 0; i < window; ++i) sink.emit({.type = "node_started", .node = "n" + std::to_string(i)});
  for (int i = 0; i < done_count; ++i) {
    if (i % rate == rate - 1) clock.at += 1s;
    sink.emit(done("n" + std::to_string(i), i % 10 == 9 ? "unreachable" : "ok"));
    if (window + i < total) sink.emit({.type = "node_started", .node = "n"});
  }
  clock.at += 100ms;
  sink.emit(tick());
}

}  // namespace

TEST_CASE("the live line: done, outcomes, rate, time left, nodes at work; zero ones are left out") {
  std::ostringstream err;
  FakeClock clock;
  ProgressSink sink(err, {.terminal = true, .unicode = true, .width = 200}, clock, Verbosity::normal);
  play(sink, clock, 32500, 256, 6000, 300);
  CHECK(shown(err) == "exec: 6,000 of 32,500 · ok 5,400 · unreachable 600 · 297/s · 1 min 29 s left · 256 at work");
}

TEST_CASE("the live line without Unicode, at 80 and at 40 columns: the least useful goes first, nothing wraps") {
  const auto at_width = [](std::size_t width) {
    std::ostringstream err;
    FakeClock clock;
    ProgressSink sink(err, {.terminal = true, .width = width}, clock, Verbosity::normal);
    play(sink, clock, 32500, 256, 6000, 300);
    return shown(err);
  };
  CHECK(at_width(200) == "exec: 6,000 of 32,500, ok 5,400, unreachable 600, 297/s, 1 min 29 s left, 256 at work");
  CHECK(at_width(80) == "exec: 6,000 of 32,500, ok 5,400, unreachable 600, 1 min 29 s left, 256 at work");
  CHECK(at_width(75) == "exec: 6,000 of 32,500, ok 5,400, unreachable 600, 1 min 29 s left");
  CHECK(at_width(40) == "6,000 of 32,500, unreachable 600");
  CHECK(at_width(20) == "6,000 of 32,500");
  CHECK(at_width(10) == "6,000 ...");
}

TEST_CASE("when few are left the slowest is named with its step, in columns, also in Korean") {
  const auto at_width = [](std::size_t width) {
    std::ostringstream err;
    FakeClock clock;
    ProgressSink sink(err, {.terminal = true, .unicode = true, .width = width}, clock, Verbosity::normal);
    play(sink, clock, 20, 2, 19, 10);
    sink.emit({.type = "progress", .node = "해남gpu017", .step = "gemm", .done = 30.0, .total = 100.0});
    clock.at += 1s;
    sink.emit(tick("해남gpu017", "gemm", 8.2));
    return shown(err);
  };
  CHECK(at_width(200) == "exec: 19 of 20 · ok 18 · unreachable 1 · 9.0/s · waiting for 해남gpu017: gemm 30 % 8.2 s");
  CHECK(at_width(81) == "exec: 19 of 20 · ok 18 · unreachable 1 · waiting for 해남gpu017: gemm 30 % 8.2 s");
  CHECK(display_width(at_width(81)) == 80);
  CHECK(at_width(80) == "19 of 20 · ok 18 · unreachable 1 · waiting for 해남gpu017: gemm 30 % 8.2 s");
}

TEST_CASE("the time left is not told before it means something") {
  std::ostringstream err;
  FakeClock clock;
  ProgressSink sink(err, {.terminal = true, .width = 200}, clock, Verbosity::normal);
  play(sink, clock, 1000, 64, 63, 10);   // 63 ended while 64 were at work: all the rest may be slow
  CHECK(shown(err).find("left") == std::string::npos);
  CHECK(shown(err).find("64 at work") != std::string::npos);
  clock.at += 200ms;
  sink.emit(done("n64", "ok"));
  CHECK(shown(err).find(" left") != std::string::npos);
}

TEST_CASE("the rate is of the last ten seconds, or of the last ten nodes where they come slowly") {
  RateMeter fast;
  std::chrono::steady_clock::time_point at{};
  fast.restart(at);
  long long count = 0;
  for (int second = 0; second < 60; ++second, at += 1s) fast.sample(at, count += second < 30 ? 100 : 10);
  CHECK(fast.per_second(at, count) == doctest::Approx(10).epsilon(0.15));
  RateMeter slow;
  slow.restart(at = {});
  CHECK(slow.per_second(at, 0) == 0);
  for (int minute = 0; minute <= 600; ++minute, at += 60s) slow.sample(at, minute);
  CHECK(slow.per_second(at, 601) * 60 == doctest::Approx(1).epsilon(0.2));
}

TEST_CASE("the line moves on by ticks alone, at most ten times a second, and erases itself") {
  std::ostringstream err;
  FakeClock clock;
  ProgressSink sink(err, {.terminal = true, .width = 100}, clock, Verbosity::normal);
  sink.emit(started(3));
  CHECK(shown(err) == "exec: 0 of 3");
  sink.emit({.type = "node_started", .node = "a"});
  err.str("");
  for (int i = 0; i < 50; ++i) sink.emit(done("n", "ok"));
  CHECK(err.str().empty());   // no time has passed
  clock.at += 250ms;
  sink.emit(tick("a", "connect", 3));
  CHECK(err.str().find("\r\x1b[K") == 0);
  err.str("");
  sink.finish();
  CHECK(err.str() == "\r\x1b[K");
  err.str("");
  sink.finish();
  CHECK(err.str().empty());   // erased once
}

TEST_CASE("outcomes are coloured where there is colour, and the width does not count it") {
  std::ostringstream err;
  FakeClock clock;
  ProgressSink sink(err, {.terminal = true, .colour = true, .width = 80}, clock, Verbosity::normal);
  play(sink, clock, 32500, 256, 6000, 300);
  CHECK(shown(err) ==
        "exec: \x1b[1m6,000 of 32,500\x1b[0m, \x1b[32mok 5,400\x1b[0m, \x1b[33munreachable 600\x1b[0m, 1 min 29 s left, 256 at work");
}

TEST_CASE("a finding stands on a line of its own above the live line") {
  std::ostringstream err;
  FakeClock clock;
  ProgressSink sink(err, {.terminal = true, .width = 20}, clock, Verbosity::normal);
  sink.emit(started(1000000));
  err.str("");
  sink.emit({.type = "finding", .node = "gpu7", .message = "wrong\nbits"});
  CHECK(err.str().starts_with("\r\x1b[Kgpu7: wrong bits\n\r\x1b[K"));
}

TEST_CASE("without a terminal a plain line every ten seconds, none in the first ten and none with -q") {
  std::ostringstream normal, quiet;
  FakeClock clock;
  ProgressSink normal_sink(normal, {}, clock, Verbosity::normal), quiet_sink(quiet, {}, clock, Verbosity::quiet);
  const auto both = [&](const Event& event) {
    normal_sink.emit(event);
    quiet_sink.emit(event);
  };
  both(started(4));
  both({.type = "node_started", .node = "c"});
  clock.at += 9s;
  both(done("a", "ok"));
  CHECK(normal.str().empty());
  clock.at += 2s;
  both(done("b", "failed"));
  CHECK(normal.str() == "exec: 2 of 4, ok 1, failed 1, 11/min\n");
  clock.at += 9s;
  both(tick("c", "connect", 19));
  CHECK(normal.str().find('\n') == normal.str().size() - 1);
  clock.at += 1s;
  both(tick("c", "connect", 20));
  CHECK(normal.str().ends_with("\nexec: 2 of 4, ok 1, failed 1, 5.7/min\n"));
  CHECK(normal.str().find('\x1b') == std::string::npos);
  both({.type = "run_finished"});
  CHECK(quiet.str().empty());
}

TEST_CASE("events of a large run that draws nothing cost little") {
  std::ostringstream err;
  const auto clock = make_system_clock();
  ProgressSink sink(err, {}, *clock, Verbosity::normal);
  constexpr int nodes = 200'000;
  sink.emit(started(nodes));
  const Event start{.type = "node_started", .node = "gpu00001", .step = "connect"}, end = done("gpu00001", "ok");
  const auto before = std::chrono::steady_clock::now();
  for (int i = 0; i < nodes; ++i) {
    sink.emit(start);
    sink.emit(end);
  }
  const double each_us = std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - before).count() / (2.0 * nodes);
  MESSAGE("one event: " << each_us << " us");
  CHECK(each_us < 20);   // a debug build under a sanitizer on a busy machine; a release build is far below one
  CHECK(err.str().empty());
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
  CHECK(nobody.error().code == code::confirmation_missing);
  CHECK(nobody.error().message.find("--yes") != std::string::npos);
}

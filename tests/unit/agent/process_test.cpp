#include "agent/process.hpp"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "base/codes/agent.hpp"
#include "unit/agent/support.hpp"

using namespace kfab;
using namespace kfab::agent;
using End = ProcessResult::End;

namespace {
ProcessResult shell(const std::string& line, double timeout_s = 30) {
  ProcessSpec spec;
  spec.argv = {"/bin/sh", "-c", line};
  spec.timeout_s = timeout_s;
  return run_process(spec);
}
double seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
bool alive(pid_t pid) {
  // A zombie has ended: what counts is that it does nothing any more.
  const auto stat = test::read("/proc/" + std::to_string(pid) + "/stat");
  const auto paren = stat.rfind(')');
  return paren != std::string::npos && stat.size() > paren + 2 && stat[paren + 2] != 'Z';
}
}  // namespace

TEST_CASE("process: output, error output and status") {
  const auto result = shell("echo out; echo err >&2; exit 3");
  CHECK(result.end == End::exited);
  CHECK(result.exit_status == 3);
  CHECK(result.out == "out\n");
  CHECK(result.err == "err\n");
  CHECK_FALSE(result.success());
  CHECK(result.how() == "exit status 3");
  CHECK(result.last_words() == "err");
}

TEST_CASE("process: death by a signal is not an exit status") {
  const auto result = shell("kill -9 $$");
  CHECK(result.end == End::signalled);
  CHECK(result.signal == SIGKILL);
  CHECK(result.how() == "killed by signal 9 (KILL)");
  CHECK_FALSE(result.success());
}

TEST_CASE("process: arguments are passed as they are, not through a shell") {
  ProcessSpec spec;
  spec.argv = {"printf", "%s|", "a b", "$HOME", "'; rm -rf /'"};
  CHECK(run_process(spec).out == "a b|$HOME|'; rm -rf /'|");
}

TEST_CASE("process: input, environment and directory") {
  ProcessSpec spec;
  spec.argv = {"/bin/sh", "-c", "cat; echo $MARK; pwd"};
  spec.input = "from stdin\n";
  spec.environment = {"MARK=set"};
  spec.directory = "/";
  CHECK(run_process(spec).out == "from stdin\nset\n/\n");
  spec.argv = {"true"};   // reads nothing of a large input
  spec.input = std::string(std::size_t{4} << 20, 'x');
  CHECK(run_process(spec).success());
}

TEST_CASE("process: a program that is not there is told apart from one that fails") {
  ProcessSpec spec;
  spec.argv = {"kfab-no-such-program"};
  const auto result = run_process(spec);
  CHECK(result.end == End::not_found);
  CHECK(result.how().find("kfab-no-such-program") != std::string::npos);
  spec.argv = {"/kfab/no/such/path"};
  CHECK(run_process(spec).end == End::not_found);
}

TEST_CASE("process: output past the cap is read and dropped") {
  ProcessSpec spec;
  spec.argv = {"/bin/sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; echo done >&2"};
  spec.max_output_bytes = 1000;
  const auto result = run_process(spec);
  CHECK(result.success());
  CHECK(result.out.size() == 1000);
  CHECK(result.truncated);
  CHECK(result.err == "done\n");
}

TEST_CASE("process: who prints without end is stopped at the cap where that is asked for") {
  ProcessSpec spec;
  spec.argv = {"/bin/sh", "-c", "yes"};
  spec.max_output_bytes = 100'000;
  spec.timeout_s = 30;
  spec.ends_at_cap = true;
  const auto result = run_process(spec);
  CHECK(result.end == End::stopped);
  CHECK(result.truncated);
  CHECK(result.out.size() == 100'000);
  CHECK(result.duration_s < 10);
}

TEST_CASE("process: at the timeout the whole group dies") {
  const test::TemporaryDirectory directory;
  const auto file = directory / "pid";
  ProcessResult result;
  const double spent = seconds([&] { result = shell("sleep 300 & echo $! > " + file + "; wait", 0.4); });
  CHECK(result.end == End::timed_out);
  CHECK(spent < 5);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  CHECK_FALSE(alive(static_cast<pid_t>(std::stol(test::read(file)))));
}

TEST_CASE("process: stop ends it") {
  std::atomic<bool> stop{false};
  std::thread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(150));
    stop = true;
  });
  ProcessSpec spec;
  spec.argv = {"sleep", "300"};
  spec.timeout_s = 300;
  ProcessResult result;
  const double spent = seconds([&] { result = run_process(spec, [&] { return stop.load(); }); });
  stopper.join();
  CHECK(result.end == End::stopped);
  CHECK(spent < 5);
}

TEST_CASE("process: a grandchild that keeps the output open does not hold us up") {
  ProcessResult result;
  const double spent = seconds([&] { result = shell("sleep 5 & echo started"); });
  CHECK(result.success());
  CHECK(result.out == "started\n");
  CHECK(spent < 3);
}

TEST_CASE("bounded: the answer, a fault, a hang") {
  const auto answer = run_bounded(10, [] { return std::string(200'000, 'x'); });
  REQUIRE(answer);
  CHECK(answer->size() == 200'000);
  const auto fault = run_bounded(10, []() -> std::string { ::kill(::getpid(), SIGKILL); return "never"; });
  CHECK_FALSE(fault);
  double spent = 0;
  spent = seconds([&] {
    const auto hang = run_bounded(0.3, []() -> std::string { ::sleep(300); return "never"; });
    REQUIRE_FALSE(hang);
    CHECK(hang.error().code == code::fact_unavailable);
  });
  CHECK(spent < 5);
  CHECK_FALSE(run_bounded(0, [] { return std::string("at once"); }));   // nothing is done in no time, on no machine
}

TEST_CASE("process: one that ends with its caller is killed when the caller is, whatever signals it ignores") {
  test::TemporaryDirectory dir;
  const std::string at = dir / "pid";
  const pid_t caller = ::fork();
  REQUIRE(caller >= 0);
  if (caller == 0) {
    ProcessSpec spec;
    spec.argv = {"/bin/sh", "-c", "trap '' TERM INT HUP; echo $$ > " + at + ".new; mv " + at + ".new " + at + "; while :; do sleep 1; done"};
    spec.ends_with_caller = true;
    run_process(spec);
    ::_exit(0);
  }
  for (int i = 0; i < 500 && test::read(at).empty(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  const pid_t tool = std::atoi(test::read(at).c_str());
  REQUIRE(tool > 0);
  CHECK(alive(tool));
  ::kill(caller, SIGKILL);
  ::waitpid(caller, nullptr, 0);
  for (int i = 0; i < 300 && alive(tool); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  CHECK_FALSE(alive(tool));
}

TEST_CASE("process: one that ends with its caller is otherwise like any other") {
  const auto bound = [](const std::string& line, double timeout_s = 30) {
    ProcessSpec spec;
    spec.argv = {"/bin/sh", "-c", line};
    spec.ends_with_caller = true;
    spec.directory = "/";
    spec.environment = {"WORD=given"};
    spec.input = "from stdin";
    spec.timeout_s = timeout_s;
    return run_process(spec);
  };
  const auto result = bound("pwd; echo $WORD; cat; echo err >&2; exit 3");
  CHECK(result.exit_status == 3);
  CHECK(result.out == "/\ngiven\nfrom stdin");
  CHECK(result.err == "err\n");
  CHECK(bound("trap '' TERM; sleep 100", 0.2).end == End::timed_out);
  ProcessSpec nothing;
  nothing.argv = {"/etc/passwd"};
  nothing.ends_with_caller = true;
  CHECK_FALSE(run_process(nothing).success());
  nothing.argv = {"/bin/true"};
  nothing.directory = "/no/such/directory";
  const auto lost = run_process(nothing);
  CHECK(lost.end == End::not_found);
  CHECK(lost.error.find("No such file") != std::string::npos);
}

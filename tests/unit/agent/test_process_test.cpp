#include <doctest/doctest.h>
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "agent/tests/test_task.hpp"
#include "base/codes/validation.hpp"
#include "base/text.hpp"
#include "unit/agent/support.hpp"
#include "unit/agent/task_support.hpp"

using namespace kfab;
using namespace kfab::agent;

namespace {

json::Value request(std::string device = "cpu") {
  return json::Object{{"device", std::move(device)}, {"families", json::Array{"burnin"}}, {"duration_s", 0.2}, {"precisions", json::Array{"int8"}},
                      {"memory_cap_mib", 8}, {"threads", 1}};
}

// How long a process that never says anything is waited for, and one that will on a machine that is busy.
constexpr double short_silence_s = 2, long_silence_s = 60;

// A child written in shell: what it answers to "list", and what it does for accelerator a.
TestChildLaunch scripted(const std::string& for_a, double silence_s = long_silence_s) {
  TestChildLaunch launch;
  launch.argv = {"/bin/sh", "-c",
                 "read -r line; case \"$line\" in"
                 " *'\"do\":\"list\"'*) for x in a b; do echo \"{\\\"type\\\":\\\"accelerator\\\",\\\"id\\\":\\\"$x\\\",\\\"device\\\":\\\"cpu\\\"}\"; done;;"
                 " *'\"accelerator\":\"a\"'*) " + for_a + ";;"
                 " *) echo '{\"type\":\"test_done\",\"test\":\"gemm_int8\",\"status\":\"ran\"}';; esac"};
  launch.silence_s = silence_s;
  return launch;
}

const json::Value& end_of(const CollectingTask& context, std::string_view accelerator) {
  static const json::Value none;
  for (const auto& m : context.said.messages)
    if (m.string_or("type") == "test_done" && m.string_or("accelerator") == accelerator) return m;
  return none;
}

}  // namespace

TEST_CASE("a test runs in a process of its own and its messages come back") {
  CollectingTask context;
  TestChildLaunch fork_only;
  fork_only.argv.clear();
  REQUIRE(run_test_task(request(), context, fork_only));
  CHECK(context.said.messages.front().string_or("type") == "accelerator");
  CHECK(context.said.status("gemm_int8") == "ran");
  CHECK(context.said.value("burnin.gemm_int8.mismatches") == 0);
  CHECK(context.said.measured("burnin.gemm_int8.mismatches").string_or("device") == "cpu");
  CHECK(context.said.measured("burnin.gemm_int8.mismatches").string_or("accelerator").rfind("cpu-", 0) == 0);
}

TEST_CASE("without a driver, without a GPU: said, and no error of the task") {
  CollectingTask context;
  TestChildLaunch fork_only;
  fork_only.argv.clear();
  REQUIRE(run_test_task(request("cuda"), context, fork_only));
  bool told = false;
  for (const auto& m : context.said.messages) told |= m.string_or("type") == "test_done" || m.string_or("type") == "accelerator";
  CHECK(told);
}

TEST_CASE("one that hangs, crashes, is killed or says nothing costs only its own result") {
  struct Row { const char* script; const char* code; const char* words; double silence_s = long_silence_s; };
  for (const auto& row : {Row{"exec sleep 100", "KF4007", "said nothing", short_silence_s}, Row{"echo 'bus error' >&2; exit 3", "KF4008", "exit status 3: bus error"},
                          Row{"kill -9 $$", "KF4008", "signal 9 (KILL)"}, Row{":", "KF4008", "without a result"},
                          Row{"echo not json; echo '[1'", "KF4008", "without a result"}}) {
    CAPTURE(row.script);
    CollectingTask context;
    REQUIRE(run_test_task(request(), context, scripted(row.script, row.silence_s)));
    CHECK(end_of(context, "a").string_or("status") == "failed");
    CHECK(end_of(context, "a").string_or("code") == row.code);
    CHECK(end_of(context, "a").string_or("reason").find(row.words) != std::string::npos);
    CHECK(end_of(context, "b").string_or("status") == "ran");
  }
}

TEST_CASE("an accelerator that hangs or is lost costs one silence: later families leave it alone, and so do the others") {
  test::TemporaryDirectory dir;
  struct Row { const char* script; const char* code; };
  for (const auto& row : {Row{"exec sleep 100", "KF4007"}, Row{"echo '{\"type\":\"test_done\",\"test\":\"memory\",\"status\":\"failed\",\"code\":\"KF4006\",\"reason\":\"gone\"}'", "KF4006"}}) {
    CAPTURE(row.code);
    const std::string asked = dir / (std::string("asked-") + row.code);
    TestChildLaunch launch;
    launch.argv = {"/bin/sh", "-c", "read -r line; echo \"$line\" >> " + asked + "; case \"$line\" in"
                   " *'\"do\":\"list\"'*) for x in a b; do echo \"{\\\"type\\\":\\\"accelerator\\\",\\\"id\\\":\\\"$x\\\",\\\"device\\\":\\\"cpu\\\"}\"; done;;"
                   " *'\"accelerator\":\"a\"'*) " + row.script + ";;"
                   " *) echo '{\"type\":\"test_done\",\"test\":\"x\",\"status\":\"ran\"}';; esac"};
    launch.silence_s = short_silence_s;
    CollectingTask context;
    const auto began = std::chrono::steady_clock::now();
    REQUIRE(run_test_task(json::Object{{"device", "cpu"}, {"families", json::Array{"memory", "bandwidth", "burnin"}}, {"duration_s", 1}}, context, launch));
    CHECK(std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count() < 3 * short_silence_s);
    int orders_of_a = 0, told_sick = 0;
    const std::string orders = test::read(asked);
    for (const auto line : split_lines(orders)) {
      const auto order = json::parse(line);
      REQUIRE(order);
      orders_of_a += order->string_or("accelerator") == "a";
      const auto& sick = (*order)["request"].array_at("sick");
      if (order->string_or("accelerator") == "b" && order->string_or("family") != "memory") told_sick += sick.size() == 1 && *sick[0].as_string() == "a";
    }
    CHECK(orders_of_a == 1);
    CHECK(told_sick == 2);
    for (const auto* family : {"bandwidth", "burnin"}) {
      CAPTURE(family);
      int said = 0;
      for (const auto& m : context.said.messages)
        if (m.string_or("type") == "test_done" && m.string_or("test") == family && m.string_or("accelerator") == "a") {
          ++said;
          CHECK(m.string_or("status") == "not_run");
          CHECK(m.string_or("code") == row.code);
          CHECK(m.string_or("reason").find("family memory") != std::string::npos);
        }
      CHECK(said == 1);
    }
  }
}

TEST_CASE("an accelerator whose tests are all over is said to be done while another one hangs, and only such a one") {
  // The run is stopped, as at its deadline, long before the watchdog gives up the one that hangs.
  CollectingTask context;
  const auto done = [&](std::string_view accelerator) {
    return std::count_if(context.said.messages.begin(), context.said.messages.end(),
                         [&](const auto& m) { return m.string_or("type") == "accelerator_done" && m.string_or("accelerator") == accelerator; });
  };
  const auto began = std::chrono::steady_clock::now();
  context.stop = [&] { return done("b") > 0 || std::chrono::steady_clock::now() - began > std::chrono::seconds(60); };
  REQUIRE(run_test_task(request(), context, scripted("echo '{\"type\":\"accelerator_done\"}'; exec sleep 100")));
  CHECK(done("b") == 1);
  CHECK(done("a") == 0);   // whatever its own process says
  CHECK(end_of(context, "a").string_or("status") == "not_run");

  for (const auto* script : {"exit 3", ":", "echo '{\"type\":\"test_done\",\"test\":\"gemm_int8\",\"status\":\"ran\"}'; echo '{\"type\":\"measur'",
                             "case \"$line\" in *'\"family\":\"memory\"'*) exit 3;; esac; echo '{\"type\":\"test_done\",\"test\":\"gemm_int8\",\"status\":\"ran\"}'"}) {
    CAPTURE(script);
    context.said.messages.clear();
    context.stop = [] { return false; };
    REQUIRE(run_test_task(json::Object{{"device", "cpu"}, {"families", json::Array{"memory", "burnin"}}, {"duration_s", 1}}, context, scripted(script)));
    CHECK(done("a") == 0);
    CHECK(done("b") == 1);
  }
}

TEST_CASE("copies that go on telling of their progress are not taken for a hang; those that fall silent are") {
  TestChildLaunch launch;
  launch.argv = {"/bin/sh", "-c", "read -r line; case \"$line\" in *list*) echo '{\"type\":\"accelerator\",\"id\":\"a\",\"device\":\"cpu\"}';;"
                 " *) for i in 1 2 3 4 5 6; do echo '{\"type\":\"progress\"}'; sleep 0.2; done; echo '{\"type\":\"test_done\",\"test\":\"copy\",\"status\":\"ran\"}';; esac"};
  launch.overrun_factor = 1;
  launch.overrun_grace_s = 0.2;
  launch.silence_s = long_silence_s;
  for (const auto* family : {"bandwidth", "memory"}) {
    CAPTURE(family);
    CollectingTask context;
    REQUIRE(run_test_task(json::Object{{"device", "cpu"}, {"families", json::Array{family}}, {"family_s", json::Object{{family, 0.1}}}}, context, launch));
    const bool copies = std::string(family) == "bandwidth";
    CHECK(context.said.status("copy") == (copies ? "ran" : ""));
    CHECK(context.said.code(family) == (copies ? "" : "KF4007"));
  }
}

TEST_CASE("the burn-in takes the time that the tests before it left, where the time is to be filled") {
  test::TemporaryDirectory dir;
  const std::string asked = dir / "asked";
  TestChildLaunch launch;
  launch.argv = {"/bin/sh", "-c",
                 "read -r line; case \"$line\" in"
                 " *'\"do\":\"list\"'*) echo '{\"type\":\"accelerator\",\"id\":\"a\",\"device\":\"cpu\"}';;"
                 " *) echo \"$line\" >> " + asked + "; echo '{\"type\":\"test_done\",\"test\":\"x\",\"status\":\"ran\"}';; esac"};
  for (const bool fill : {true, false}) {
    CAPTURE(fill);
    CollectingTask context;
    REQUIRE(run_test_task(json::Object{{"device", "cpu"}, {"families", json::Array{"memory", "burnin"}}, {"family_s", json::Object{{"memory", 4000}, {"burnin", 5000}}},
                                       {"fill_time", fill}}, context, launch));
    std::map<std::string, double> seconds;   // of the last run
    const std::string orders = test::read(asked);
    for (const auto line : split_lines(orders))
      if (const auto order = json::parse(line)) seconds[order->string_or("family")] = order->double_or("seconds", 0);
    CHECK(seconds["memory"] == 4000);   // it was done in no time
    CHECK(seconds["burnin"] > (fill ? 5000 + 3000 : 4999));
    CHECK(seconds["burnin"] <= (fill ? 9000 : 5000));
  }
}

TEST_CASE("who asks for patience has it of kernels that prove themselves as well") {
  test::TemporaryDirectory dir;
  const std::string proven = dir / "proven";
  TestChildLaunch launch;
  launch.argv = {"/bin/sh", "-c",
                 "read -r line; case \"$line\" in"
                 " *'\"do\":\"list\"'*) echo '{\"type\":\"accelerator\",\"id\":\"a\",\"device\":\"cuda\"}';;"
                 " *'\"do\":\"prove\"'*) sleep 1.5; echo '{\"type\":\"kernel\",\"name\":\"slow\",\"proven\":true}';;"
                 " *) case \"$line\" in *'\"proven\":true'*) touch " + proven + ";; esac; echo '{\"type\":\"test_done\",\"test\":\"gemm_bf16\",\"status\":\"ran\"}';; esac"};
  const auto ask = [&](double silence_s) {
    std::filesystem::remove(proven);
    CollectingTask context;
    json::Object request{{"device", "cuda"}, {"families", json::Array{"burnin"}}, {"duration_s", 0.2}};
    if (silence_s > 0) request.set("silence_s", silence_s);
    REQUIRE(run_test_task(request, context, launch));
    CHECK(context.said.status("gemm_bf16") == "ran");
    return std::filesystem::exists(proven);
  };
  launch.proof_silence_s = 0.5;
  CHECK_FALSE(ask(0));   // nobody waits longer for a proof of itself
  CHECK(ask(60));
  launch.proof_silence_s = 30;
  launch.overrun_factor = 0.001;
  launch.overrun_grace_s = 0.5;
  launch.silence_s = 60;
  CHECK_FALSE(ask(0));
  CHECK(ask(60));
}

TEST_CASE("a child cannot speak for another accelerator") {
  CollectingTask context;
  REQUIRE(run_test_task(request(), context, scripted("echo '{\"type\":\"test_done\",\"accelerator\":\"b\",\"device\":\"cuda\",\"test\":\"gemm_int8\",\"status\":\"failed\"}'")));
  CHECK(end_of(context, "a").string_or("status") == "failed");
  CHECK(end_of(context, "a").string_or("device") == "cpu");
  CHECK(end_of(context, "b").string_or("status") == "ran");
}

TEST_CASE("a driver that hangs before any test is told and waited for no longer") {
  CollectingTask context;
  TestChildLaunch launch;
  launch.argv = {"/bin/sh", "-c", "exec sleep 100"};
  launch.silence_s = 0.3;
  REQUIRE(run_test_task(request(), context, launch));
  CHECK(context.said.status("inventory") == "failed");
  CHECK(context.said.code("inventory") == "KF4007");
  launch.argv = {"/no/such/agent"};
  CollectingTask other;
  REQUIRE(run_test_task(request(), other, launch));
  CHECK(other.said.status("inventory") == "failed");
}

TEST_CASE("stopped from outside: children end, and what did not come to its end is not run") {
  CollectingTask context;
  bool listed = false;
  context.stop = [&] {
    for (const auto& m : context.said.messages) listed |= m.string_or("id") == "b";
    return listed;
  };
  const auto before = std::chrono::steady_clock::now();
  REQUIRE(run_test_task(request(), context, scripted("exec sleep 100")));
  CHECK(std::chrono::steady_clock::now() - before < std::chrono::seconds(20));
  bool stopped = false;
  for (const auto& m : context.said.messages) stopped |= m.string_or("code") == "KF4020";
  CHECK(stopped);
  for (const auto& m : context.said.messages) CHECK(m.string_or("status") != "failed");
}

TEST_CASE("requests that make no sense are refused") {
  CollectingTask context;
  CHECK(run_test_task(json::Object{{"device", "tpu"}}, context, {}).error().code == code::unknown_test_device);
  CHECK(run_test_task(json::Object{{"device", "cpu"}, {"families", json::Array{"x"}}}, context, {}).error().code == code::unknown_test_family);
}

TEST_CASE("what a process said and cannot be read may have been its failure") {
  const std::string ran = "echo '{\"type\":\"test_done\",\"test\":\"gemm_int8\",\"status\":\"ran\"}'";
  for (const auto& script : {"echo '{\"type\":\"mismatch\",\"test\":'; " + ran, ran + "; printf '{\"type\":\"test_done\",\"status\":\"failed\"'",
                             "printf 'a library prints: '; " + ran + "; " + ran}) {
    CAPTURE(script);
    CollectingTask context;
    REQUIRE(run_test_task(request(), context, scripted(script)));
    bool told = false;
    for (const auto& m : context.said.messages) told |= m.string_or("accelerator") == "a" && m.string_or("code") == "KF4120" && m.string_or("status") == "not_run";
    CHECK(told);
    CHECK(end_of(context, "b").string_or("status") == "ran");
  }
}

TEST_CASE("a process that talks without end is ended in its time") {
  CollectingTask context;
  TestChildLaunch launch = scripted("exec yes");
  launch.silence_s = 30;
  launch.overrun_factor = 1;
  launch.overrun_grace_s = 0.3;
  const auto before = std::chrono::steady_clock::now();
  REQUIRE(run_test_task(request(), context, launch));
  CHECK(std::chrono::steady_clock::now() - before < std::chrono::seconds(20));
  CHECK(end_of(context, "a").string_or("code") == "KF4007");
}

TEST_CASE("a test that somebody else ended by a signal is cut short, and did not come to its end") {
  struct Killer final : TaskContext {
    std::vector<json::Value> messages;
    bool sent = false;
    void emit(const json::Value& message) override {
      messages.push_back(message);
      if (sent || message.string_or("type") != "progress") return;
      std::ifstream children("/proc/thread-self/children");
      for (pid_t pid = 0; children >> pid;) sent = ::kill(pid, SIGTERM) == 0;
    }
    bool stop_requested() const override { return false; }
    double remaining_s() const override { return 100; }
  } context;
  TestChildLaunch fork_only;
  fork_only.argv.clear();
  json::Object long_one = *request().as_object();
  REQUIRE(run_test_task(long_one.set("duration_s", 20), context, fork_only));
  REQUIRE(context.sent);
  bool failed = false;
  for (const auto& m : context.messages) failed |= m.string_or("type") == "test_done" && m.string_or("status") == "failed" && m.string_or("code") == "KF4008";
  CHECK(failed);
}

namespace {

std::vector<pid_t> pids_in(const std::string& path) {
  std::ifstream in(path);
  std::vector<pid_t> out;
  for (pid_t one = 0; in >> one;) out.push_back(one);
  return out;
}
bool at_work(pid_t pid) {
  const auto stat = test::read("/proc/" + std::to_string(pid) + "/stat");
  const auto paren = stat.rfind(')');
  return paren != std::string::npos && stat.size() > paren + 2 && stat[paren + 2] != 'Z';
}

}  // namespace

TEST_CASE("what a test's process started ends with it, though it ignores every signal that can be ignored") {
  test::TemporaryDirectory dir;
  const std::string pids = dir / "pids", stubborn = "trap '' TERM INT HUP; echo $$ >> " + pids + "; while :; do sleep 1; done";
  struct Row { const char* how; std::string script; double silence_s; };
  // Killed for its silence with a tool that has a group of its own and a child; ended well and left something behind.
  for (const auto& row : {Row{"hangs", "setsid=; (set -m; sh -c \"" + stubborn + "\" & wait) & sh -c \"" + stubborn + "\" & wait", short_silence_s},
                          Row{"ends", "sh -c \"" + stubborn + "\" >/dev/null 2>&1 & while [ ! -s " + pids + " ]; do sleep 0.05; done; echo '{\"type\":\"test_done\",\"test\":\"gemm_int8\",\"status\":\"ran\"}'", long_silence_s}}) {
    CAPTURE(row.how);
    std::filesystem::remove(pids);
    CollectingTask context;
    REQUIRE(run_test_task(request(), context, scripted(row.script, row.silence_s)));
    const auto left = pids_in(pids);
    CHECK(left.size() >= 1);
    for (const pid_t one : left) {
      CHECK_FALSE(at_work(one));
      if (at_work(one)) ::kill(one, SIGKILL);
    }
  }
}

TEST_CASE("a maker's tool that hangs is gone when its device's process was killed") {
  test::TemporaryDirectory dir;
  const std::string pids = dir / "pids";
  // It lists a device once; asked again it never answers, and neither does its own child.
  test::write(dir / "rbln-smi",
              "#!/bin/sh\ntrap '' TERM INT HUP\nif [ -e " + (dir / "asked") + " ]; then echo $$ >> " + pids + "; sh -c 'trap \"\" TERM; echo $$ >> " + pids + "; while :; do sleep 1; done' & while :; do sleep 1; done; fi\n"
              "touch " + (dir / "asked") + "\n"
              "echo '{\"KMD_version\":\"3\",\"devices\":[{\"npu\":0,\"name\":\"X\",\"sid\":\"1\",\"status\":\"normal\",\"pci\":{\"dev\":\"0x1220\"}}],\"contexts\":[]}'\n", 0755);
  const std::string path = ::getenv("PATH");
  ::setenv("PATH", (dir.string() + ":/usr/bin:/bin").c_str(), 1);
  CollectingTask context;
  TestChildLaunch launch;
  launch.argv.clear();
  launch.silence_s = 2 * short_silence_s;   // it lists its device in that time, and both of its processes begin
  REQUIRE(run_test_task(json::Object{{"device", "vendor"}, {"families", json::Array{"health"}}, {"duration_s", 1}}, context, launch));
  ::setenv("PATH", path.c_str(), 1);
  CHECK(context.said.code("health") == "KF4007");
  const auto left = pids_in(pids);
  CHECK(left.size() == 2);
  for (const pid_t one : left) {
    for (int i = 0; i < 100 && at_work(one); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));   // the kernel's signal is on its way
    CHECK_FALSE(at_work(one));
    if (at_work(one)) ::kill(one, SIGKILL);
  }
}

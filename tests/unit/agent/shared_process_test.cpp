#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <vector>

#include "agent/tests/test_process.hpp"
#include "agent/tests/test_task.hpp"
#include "base/text.hpp"
#include "unit/agent/support.hpp"
#include "unit/agent/task_support.hpp"

// Copies take turns within one process, which starts the driver and opens each GPU once, for as long as nothing breaks.

using namespace kfab;
using namespace kfab::agent;

namespace {

json::Value copies_only() { return json::Object{{"device", "cpu"}, {"families", json::Array{"bandwidth"}}, {"family_s", json::Object{{"bandwidth", 0.1}}}}; }

// A node of the accelerators a, b and c, whose test process does what stands for the one that its order begins with.
struct Node {
  test::TemporaryDirectory dir;
  TestChildLaunch launch;
  CollectingTask context;

  Node(const std::string& from_a, const std::string& from_b, const std::string& from_c = "ran") {
    launch.argv = {"/bin/sh", "-c",
                   "ran() { echo '{\"type\":\"test_done\",\"test\":\"copy\",\"status\":\"ran\"}'; }\n"
                   "turn() { echo \"{\\\"type\\\":\\\"turn\\\",\\\"accelerator\\\":\\\"$1\\\"}\"; }\n"
                   "read -r line; echo \"$line\" >> " + (dir / "asked") + "; case \"$line\" in"
                   " *'\"do\":\"list\"'*) for x in a b c; do echo \"{\\\"type\\\":\\\"accelerator\\\",\\\"id\\\":\\\"$x\\\",\\\"device\\\":\\\"cpu\\\"}\"; done;;"
                   " *'\"accelerator\":\"a\"'*) " + from_a + ";; *'\"accelerator\":\"b\"'*) " + from_b + ";; *) " + from_c + ";; esac"};
    launch.silence_s = 60;
  }
  void run() { REQUIRE(run_test_task(copies_only(), context, launch)); }

  std::vector<json::Value> orders() const {
    std::vector<json::Value> out;
    const std::string asked = test::read(dir / "asked");
    for (const auto line : split_lines(asked))
      if (auto order = json::parse(line); order && order->string_or("do") == "run") out.push_back(*order);
    return out;
  }
  // "ran", "failed KF4008", ... of all ends that were told of it, and "done" when all of it is over.
  std::string of(std::string_view accelerator) const {
    std::string out;
    for (const auto& m : context.said.messages) {
      if (m.string_or("accelerator") != accelerator) continue;
      if (m.string_or("type") == "test_done") out += (out.empty() ? "" : ", ") + m.string_or("status") + (m.string_or("code").empty() ? "" : " " + m.string_or("code"));
      if (m.string_or("type") == "accelerator_done") out += ", done";
    }
    return out;
  }
};

}  // namespace

TEST_CASE("one process copies on one accelerator after the other, and each has what was said in its turn") {
  Node node("echo '{\"type\":\"measurement\",\"metric\":\"of_a\"}'; ran; turn b; echo '{\"type\":\"measurement\",\"metric\":\"of_b\"}'; ran; turn c; ran", "exit 9", "exit 9");
  node.run();
  REQUIRE(node.orders().size() == 1);
  CHECK(json::dump(node.orders()[0]["then"]) == R"(["b","c"])");
  for (const auto* one : {"a", "b", "c"}) CHECK(node.of(one) == "ran, done");
  CHECK(node.context.said.measured("of_a").string_or("accelerator") == "a");
  CHECK(node.context.said.measured("of_b").string_or("accelerator") == "b");
}

TEST_CASE("a process that leaves some over is followed by another") {
  Node node("ran", "ran; turn c; ran");
  node.run();
  CHECK(node.orders().size() == 2);
  for (const auto* one : {"a", "b", "c"}) CHECK(node.of(one) == "ran, done");
}

TEST_CASE("what breaks in a turn costs that turn's accelerator, and the rest is another process's") {
  struct Row { const char* broken; const char* of_b; bool sick; double silence_s = 60; };
  for (const auto& row : {Row{"exit 3", "failed KF4008", false}, Row{"kill -9 $$", "failed KF4008", false}, Row{"exec sleep 100", "failed KF4007", true, 2}, Row{":", "failed KF4008", false},
                          Row{"ran; exec sleep 100", "ran, failed KF4007", true, 2}, Row{"echo '{\"broken'; ran", "ran, not_run KF4120", false},
                          Row{"echo '{\"type\":\"test_done\",\"test\":\"copy\",\"status\":\"failed\",\"code\":\"KF4006\"}'", "failed KF4006, done", true}}) {
    CAPTURE(row.broken);
    Node node("ran; turn b; " + std::string(row.broken), "ran");
    node.launch.silence_s = row.silence_s;
    node.run();
    CHECK(node.of("a") == "ran, done");
    CHECK(node.of("b") == row.of_b);
    CHECK(node.of("c") == "ran, done");
    const auto orders = node.orders();
    REQUIRE(orders.size() == 2);
    CHECK(orders[1].string_or("accelerator") == "c");
    CHECK(orders[1]["then"].is_null());
    CHECK(json::dump(orders[1]["request"]["sick"]) == (row.sick ? R"(["b"])" : "[]"));
  }
}

TEST_CASE("lines that cannot be read are of the turn in which they came") {
  Node node("echo '{\"broken'; ran; turn b; ran; turn c; ran", "exit 9");
  node.run();
  CHECK(node.of("a") == "ran, not_run KF4120");
  CHECK(node.of("b") == "ran, done");
  CHECK(node.of("c") == "ran, done");
}

TEST_CASE("turns that a process makes up are none") {
  // Its own again, one out of order, and one that is not there: what is said stays of the accelerator whose turn it is.
  Node node("turn a; ran; turn c; turn x; echo '{\"type\":\"test_done\",\"test\":\"copy\",\"status\":\"failed\",\"code\":\"KF4006\"}'", "ran; turn c; ran");
  node.run();
  CHECK(node.of("a").find("ran, failed KF4006") == 0);
  CHECK(node.of("b") == "ran, done");
  CHECK(node.of("c") == "ran, done");
  CHECK(node.orders().size() == 2);
}

TEST_CASE("each turn has its time for itself, and no turn has more") {
  const auto ends_of = [](const std::string& script) {
    TestOrder order{json::Object{{"do", "run"}}, 0.1, "a", "bandwidth"};
    order.then = {"b", "c"};
    TestChildLaunch launch;
    launch.argv = {"/bin/sh", "-c", "turn() { echo \"{\\\"type\\\":\\\"turn\\\",\\\"accelerator\\\":\\\"$1\\\"}\"; }; read -r line; " + script};
    launch.overrun_factor = 1;
    launch.overrun_grace_s = 1.9;
    return run_test_processes({order}, launch, [](std::size_t, const json::Value&) {}, [] { return false; })[0];
  };
  const TestEnd whole = ends_of("for x in b c; do sleep 0.8; turn $x; done; sleep 0.8");   // 2.4 s in all, where each turn has 2
  CHECK(whole.kind == TestEnd::Kind::finished);
  CHECK(whole.turn == 2);
  const TestEnd endless = ends_of("sleep 0.8; turn b; while :; do turn b; echo '{}'; sleep 0.1; done");
  CHECK(endless.kind == TestEnd::Kind::hung);
  CHECK(endless.turn == 1);
  CHECK(endless.reason.find("not done after") != std::string::npos);
}

TEST_CASE("stopped in a turn: what was before is whole, this one is cut short, and the rest is not begun") {
  Node node("ran; turn b; exec sleep 100", "exit 9");
  node.context.stop = [&] { return node.of("a") == "ran, done"; };
  const auto began = std::chrono::steady_clock::now();
  node.run();
  CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(20));
  CHECK(node.of("a") == "ran, done");
  CHECK(node.of("b") == "not_run KF4020");
  CHECK(node.of("c") == "not_run KF4020");
  CHECK(node.orders().size() == 1);
}

#include <doctest/doctest.h>

#include "agent/tests/selftest_task.hpp"
#include "unit/agent/task_support.hpp"

using namespace kfab;
using namespace kfab::agent;

TEST_CASE("the self-test plants on this machine and finds all of it; what is not there is said") {
  CollectingTask context;
  TestChildLaunch fork_only;
  fork_only.argv.clear();
  REQUIRE(run_selftest_task(json::Object{{"seed", 4711}, {"seconds", 0.3}, {"devices", json::Array{"cpu"}}}, context, fork_only));
  int planted = 0;
  bool hang = false, proof = false;
  for (const auto& m : context.said.messages) {
    if (m.string_or("type") != "planted") continue;
    ++planted;
    CAPTURE(m.string_or("fault"));
    CAPTURE(m.string_or("detail"));
    CHECK(m.bool_or("found", false));
    hang |= m.string_or("fault") == "a test's process that hangs";
    proof |= m.string_or("fault").find("memory") != std::string::npos;
  }
  CHECK(planted >= 15);
  CHECK(hang);
  CHECK(proof);
}

TEST_CASE("the self-test tells which tests planted nothing, and when a whole device did") {
  const auto told = [](const std::string& answer) {
    CollectingTask context;
    TestChildLaunch launch;
    launch.argv = {"/bin/sh", "-c",
                   "read -r line; case \"$line\" in"
                   " *'\"do\":\"list\"'*) echo '{\"type\":\"accelerator\",\"id\":\"a\",\"device\":\"cpu\"}';;"
                   " *'\"family\":\"memory\"'*) " + answer + ";;"
                   " *) echo '{\"type\":\"test_done\",\"test\":\"stream\",\"status\":\"not_run\",\"reason\":\"no room\"}';; esac"};
    REQUIRE(run_selftest_task(json::Object{{"seed", 1}, {"seconds", 0.3}, {"devices", json::Array{"cpu"}}}, context, launch));
    std::vector<std::pair<std::string, bool>> out;
    for (const auto& m : context.said.messages)
      if (m.string_or("type") == "not_tried") out.emplace_back(m.string_or("reason"), m.bool_or("nothing_planted", false));
    return out;
  };
  const auto some = told("echo '{\"type\":\"measurement\",\"test\":\"memory\",\"metric\":\"selftest.memory.found\",\"value\":1}'; echo '{\"type\":\"test_done\",\"test\":\"memory\",\"status\":\"ran\"}'");
  REQUIRE(some.size() == 1);
  CHECK(some[0].first == "stream planted nothing; it not_run: no room");
  CHECK_FALSE(some[0].second);
  const auto none = told("echo '{\"type\":\"test_done\",\"test\":\"memory\",\"status\":\"failed\",\"reason\":\"gone\"}'");
  REQUIRE(none.size() == 3);
  CHECK(none[2].first == "none of its tests planted a fault");
  CHECK(none[2].second);
}

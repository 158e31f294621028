#include <doctest/doctest.h>

#include "agent/tests/selftest_task.hpp"
#include "unit/agent/device_support.hpp"

using namespace kfab;
using namespace kfab::agent;

TEST_CASE("the self-test plants on this machine and finds all of it; what is not there is said") {
  struct Context final : TaskContext {
    Collected said;
    void emit(const json::Value& message) override { said.messages.push_back(message); }
    bool stop_requested() const override { return false; }
    double remaining_s() const override { return 100; }
  } context;
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

#pragma once

#include <functional>

#include "agent/task.hpp"
#include "unit/agent/device_support.hpp"

// What a task of the agent is run in: it keeps what is said, and stops when the test says so.
struct CollectingTask final : kfab::agent::TaskContext {
  Collected said;
  std::function<bool()> stop = [] { return false; };

  void emit(const kfab::json::Value& message) override { said.messages.push_back(message); }
  bool stop_requested() const override { return stop(); }
  double remaining_s() const override { return 100; }
};

#pragma once

#include <functional>
#include <string>
#include <vector>

#include "agent/tests/test_task.hpp"
#include "json/value.hpp"

namespace kfab::agent {

// One child that runs to its end, its time-out, its silence, or until `stop`; its messages are given to `take` as they
// come, one at a time whatever the number of children.
struct TestOrder {
  json::Value order;
  double planned_s = 10;
  std::string accelerator, family;   // for words
  double slow_s = 0;                 // so much longer than its limit it may take: its silence alone tells of a hang
  // What the same process goes on to after `accelerator`, one after the other; each begins with {"type":"turn","accelerator":...} and has
  // the times above for itself. A process may end before it comes to all of them.
  std::vector<std::string> then{};
};

struct TestEnd {
  enum class Kind : std::uint8_t { finished, died, hung, not_started };
  Kind kind = Kind::not_started;
  std::string reason;                // in words, with its last words; empty when finished
  bool stopped = false;              // asked to stop before it had finished
  std::size_t unreadable = 0;        // lines that are no message: what they told is lost
  std::size_t turn = 0;              // which this is the end of: 0 for the order's `accelerator`, 1 for the first of `then`
  bool goes_on = false;              // its process went on to the next
};

// Runs all orders at once and returns their ends, in order. Each child has a session of its own; what is left of it when the child
// has ended is killed. `ended` is told of each as it ends, after its last message, whatever the others still do, and of each turn
// before the first message of the next one; not of one that could not be started.
std::vector<TestEnd> run_test_processes(const std::vector<TestOrder>&, const TestChildLaunch&,
                                        const std::function<void(std::size_t order, const json::Value&)>& take,
                                        const std::function<bool()>& stop,
                                        const std::function<void(std::size_t order, const TestEnd&)>& ended = {});

}  // namespace kfab::agent

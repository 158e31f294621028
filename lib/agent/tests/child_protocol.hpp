#pragma once

#include <string_view>

// What the parts of the test task share. Parent to child, one line: {"do":"list|prove|run|counters", "request":{...},
// "accelerator":id, "family":"burnin", "seconds":4.5, "slots":["0000:3b:00"], "before":{...}}; "counters" reads what moved since
// `before` when the child that watched has died. Child to parent: the messages of test_task.hpp, and for the parent alone
// "counters" (health/watch.hpp) and "stray_event".
namespace kfab::agent {

// The test id of what went wrong before any test: no driver, no accelerator.
inline constexpr std::string_view inventory_test = "inventory";
// The exit status of a child that SIGTERM ended before its time. Without kfab's own signal its result is cut short.
inline constexpr int test_child_stopped = 75;

}  // namespace kfab::agent

#pragma once

#include <string_view>

// What the parts of the test task share. Parent to child, one line: {"do":"list|list_without_cuda|prove|run|counters",
// "request":{...}, "accelerator":id, "then":[ids], "family":"burnin", "seconds":4.5, "slots":["0000:3b:00"], "before":{...},
// "described":{...}, "no_cuda":"why"}. A "run" goes on to the accelerators of `then`, one after the other, and ends early after one of
// which a test failed: another process takes the rest. "counters" reads what moved since `before` when the child that watched has died,
// and a burn-in goes on from the `before` of its proof; `described` is the accelerator as it was listed, for health, which must not wait
// for CUDA. Child to parent: the messages of test_task.hpp, and for the parent alone "counters" (health/watch.hpp), "stray_event" and,
// before each of `then`, "turn" {accelerator}.
namespace kfab::agent {

// The test id of what went wrong before any test: no driver, no accelerator.
inline constexpr std::string_view inventory_test = "inventory";
// The exit status of a child that SIGTERM ended before its time. Without kfab's own signal its result is cut short.
inline constexpr int test_child_stopped = 75;

}  // namespace kfab::agent

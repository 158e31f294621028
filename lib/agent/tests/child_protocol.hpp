#pragma once

#include <string_view>

// What the parts of the test task share. Parent to child, one line: {"do":"list|run", "request":{...}, "accelerator":id,
// "family":"burnin", "seconds":4.5}. Child to parent: the messages of test_task.hpp.
namespace kfab::agent {

// The test id of what went wrong before any test: no driver, no accelerator.
inline constexpr std::string_view inventory_test = "inventory";

}  // namespace kfab::agent

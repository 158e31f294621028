#pragma once

#include <string>
#include <vector>

#include "agent/devices/device.hpp"
#include "agent/tests/test_task.hpp"

namespace kfab::agent {

// The accelerators of a node that a request is about.
struct AcceleratorList {
  std::vector<json::Value> found;       // their "accelerator" messages
  std::vector<std::string> slots;       // of all accelerators on the PCI bus; of those that are tested first: the first of all speaks for what belongs to none
  // Why nobody asks CUDA again, where they are known without it: it hung, or its process died. Then their health is read and nothing
  // else. Where CUDA answers with an error each test asks it anew: a GPU that is shown to it alone may be sound.
  std::string no_cuda;
  Code no_cuda_code{};

  std::vector<std::string> ids() const;
  json::Value described(const std::string& id) const;   // its message
};

// Lists them in a process of its own, because a sick driver can hang there already, and says all that is to be said of it (test
// "inventory"). Where CUDA does not start, hangs or dies, a second process asks NVML and the PCI bus (health/inventory.hpp).
AcceleratorList list_accelerators(const devices::TestRequest&, TaskContext&, const TestChildLaunch&);

// The "test_done" of what no child could say. Without a code the code is null.
json::Object test_done_message(std::string_view accelerator, std::string_view device, std::string_view test, std::string_view status,
                               std::string_view code, std::string_view reason);
// An event in the kernel's log of a place where no accelerator is any more: of the node, not of the one that read it.
json::Object stray_event_message(const json::Value& stray, std::string_view device);
std::string unreadable_words(std::size_t lines);

}  // namespace kfab::agent

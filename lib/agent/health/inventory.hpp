#pragma once

#include "agent/devices/device.hpp"
#include "agent/health/sources.hpp"

namespace kfab::agent::health {

// The GPUs of a node on which CUDA does not start, so that their health and the kernel's log say why: "accelerator" messages of those
// that NVML lists, and test "inventory" failed for each that it counts and cannot open. Where NVML does not start either: test
// "inventory" not run with the NVIDIA GPUs that are on the PCI bus, if there are any, and each XID in the kernel's log as a stray event.
void list_without_cuda(const Sources&, devices::TestSink&);

}  // namespace kfab::agent::health

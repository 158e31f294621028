#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/devices/device.hpp"
#include "agent/health/reading.hpp"
#include "agent/health/sources.hpp"

namespace kfab::agent::health {

// A PCIe link at one moment.
struct PcieLink {
  std::optional<unsigned> generation, width;           // now
  std::optional<unsigned> most_generation, most_width; // that the device itself can
  std::optional<unsigned> host_generation;             // that the device and the slot can together
};

// What can be said about the health of one accelerator without loading it. Each call may block in a driver, so that it
// belongs into a process under a watchdog.
class Source {
 public:
  virtual ~Source() = default;
  // Only ever grow, unless the accelerator is reset. Always the same names in the same order.
  virtual Readings counters() = 0;
  // What is the case now.
  virtual Readings states() = 0;
  // {"driver", "vbios", ...}: text by name, as the maker writes it; what is not told is left out.
  virtual json::Object versions() = 0;
  virtual PcieLink link() { return {}; }
  // Its place on the PCI bus as kernel_log's pci_slot() writes it; empty when it has none.
  virtual std::string slot() const { return {}; }
  // Numbers of the XIDs that the driver has told of since the last call, where it tells without the kernel's log.
  virtual std::optional<std::vector<int>> driver_xids() { return std::nullopt; }
  // Why it can no longer be spoken to, once that is so.
  virtual std::optional<std::string> lost() const { return std::nullopt; }
};

// Errors: driver_missing, accelerator_lost, device_call_failed, accelerator_not_permitted; nothing to be told of a device
// of that kind: not_supported_by_accelerator.
Result<std::unique_ptr<Source>> open_source(const devices::Accelerator&, const Sources&);

Result<std::unique_ptr<Source>> open_nvidia(const devices::Accelerator&, const Sources&);
Result<std::unique_ptr<Source>> open_cpu(const Sources&);

// The counters of advanced error reporting of the device at `address` below /sys/bus/pci/devices: aer_correctable,
// aer_nonfatal, aer_fatal, each with the kinds that are not zero.
Readings aer_counters(const Sources&, std::string_view address);
// Its link by sysfs.
PcieLink sysfs_link(const Sources&, std::string_view address);

}  // namespace kfab::agent::health

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/devices/device.hpp"
#include "json/value.hpp"

// Accelerators of which kfab knows nothing but what their makers' tools say: Rebellions, FuriosaAI, AMD, Intel Gaudi. Pure
// readers of what those tools print. It is hostile: numbers come with units, as words, as objects, or not at all, and what
// cannot be understood is left out, never taken for zero.
namespace kfab::agent::devices::vendor {

// A number with its unit turned into watts, degrees Celsius, bytes, percent or MHz: "17521800uW" is 17.52 w, {"value": 196592,
// "unit": "MB"} is bytes, "40.98°C" is c. A bare number has an empty unit. Nothing for "N/A", "" and the like.
struct Quantity { double value = 0; std::string unit; };
std::optional<Quantity> read_quantity(const json::Value&);
std::optional<Quantity> read_quantity(std::string_view text);

struct Figure {
  std::string metric;            // "health.alive"
  std::optional<double> value;
  std::string unit, detail;
};

struct VendorAccelerator {
  Accelerator accelerator;       // id: serial, else UUID, else PCI address; device "vendor"
  std::vector<Figure> figures;
  json::Object versions;         // firmware, driver
};

// What one tool's answer holds. `problems`: what could not be understood, in words.
struct ToolAnswer {
  std::vector<VendorAccelerator> found;
  std::vector<std::string> problems;
};

// `rbln-smi --json`, and the older rbln-stat's. Virtual functions are left out.
ToolAnswer read_rebellions(std::string_view text);
// `furiosa-smi info --format json` and, where it answers, `furiosa-smi status --format json`; either may be empty. Where info is the
// table that older tools print, that is read.
ToolAnswer read_furiosa(std::string_view info, std::string_view status);
// `amd-smi static --json` and `amd-smi metric --json`; a bare list, or {"gpu_data": [...]}.
ToolAnswer read_amd(std::string_view facts, std::string_view metrics);
// `amd-smi bad-pages --json`, for the one accelerator: health.retired_pages, .retired_pages_pending and .pages_unreservable.
void read_amd_pages(std::string_view text, VendorAccelerator&);
// `hl-smi -Q <gaudi_columns> -f csv,noheader`.
inline constexpr std::string_view gaudi_columns = "index,uuid,name,bus_id,driver_version,memory.total,memory.used,temperature.aip,power.draw,serial";
ToolAnswer read_gaudi(std::string_view csv);
// The same with gaudi_error_columns, which not every version of the tool knows, for the one accelerator: health.ecc_uncorrected and
// .ecc_corrected.
inline constexpr std::string_view gaudi_error_columns = "bus_id,ecc.errors.uncorrected.volatile.total,ecc.errors.corrected.volatile.total";
void read_gaudi_errors(std::string_view csv, VendorAccelerator&);
// `hl-smi -n link -i BUS_ID`: health.ports_up and .ports_down, of the ports between the accelerators of a server.
void read_gaudi_ports(std::string_view text, VendorAccelerator&);

// Copies as rblnBandwidthLatencyTest and furiosa-hal-bench print them: bandwidth.host_to_device_gbps, .device_to_host_gbps,
// .device_to_device_gbps; GiB and MB are turned into 1e9 bytes a second. Empty when nothing is understood.
std::vector<Figure> read_bandwidth(std::string_view text);

}  // namespace kfab::agent::devices::vendor

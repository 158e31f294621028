#include "base/fact_names.hpp"

#include <algorithm>

#include "base/text.hpp"

namespace kfab {
namespace {

// In the order of agent/facts.hpp. A test holds them beside what the agent tells.
constexpr std::string_view names[] = {
    "identity.vendor", "identity.product_name", "identity.product_serial", "identity.board_name", "identity.board_serial", "identity.bios_version",
    "identity.hostname", "identity.boot_id",
    "cpu.model", "cpu.architecture", "cpu.sockets", "cpu.cores", "cpu.threads", "cpu.numa_nodes", "cpu.max_mhz", "cpu.governor", "cpu.smt", "cpu.flags", "cpu.flags.<n>",
    "memory.total_bytes", "memory.total_gib", "memory.available_bytes", "memory.swap_total_bytes", "memory.swap_free_bytes",
    "memory.hugepages.total", "memory.hugepages.free", "memory.hugepages.size_bytes",
    "disks.<n>.name", "disks.<n>.size_bytes", "disks.<n>.model", "disks.<n>.serial", "disks.<n>.rotational", "disks.<n>.mounts.<n>.path", "disks.<n>.mounts.<n>.fs_type",
    "mounts.<n>.path", "mounts.<n>.device", "mounts.<n>.fs_type", "mounts.<n>.options", "mounts.<n>.total_bytes", "mounts.<n>.free_bytes",
    "network.<n>.name", "network.<n>.mac", "network.<n>.speed_mbps", "network.<n>.mtu", "network.<n>.state", "network.<n>.kind", "network.<n>.physical",
    "network.<n>.addresses", "network.<n>.addresses.<n>",
    "os.id", "os.version_id", "os.pretty_name", "os.kernel_name", "os.kernel", "os.cmdline", "os.uptime_s", "os.timezone", "os.clock_unix_s", "os.libc", "os.systemd",
    "os.apt", "os.packages", "os.packages_sha256",
    "gpu_driver.version", "gpu_driver.cuda_version",
    "gpus.<n>.index", "gpus.<n>.name", "gpus.<n>.uuid", "gpus.<n>.serial", "gpus.<n>.vbios", "gpus.<n>.pci_address", "gpus.<n>.memory_total_bytes",
    "gpus.<n>.power_limit_w", "gpus.<n>.default_power_limit_w", "gpus.<n>.persistence", "gpus.<n>.ecc", "gpus.<n>.mig", "gpus.<n>.pcie_gen", "gpus.<n>.pcie_width",
    "gpus.<n>.max_pcie_gen", "gpus.<n>.max_pcie_width", "gpus.<n>.remapped_rows.correctable", "gpus.<n>.remapped_rows.uncorrectable", "gpus.<n>.remapped_rows.pending",
    "gpus.<n>.remapped_rows.failed", "gpus.<n>.fabric.state", "gpus.<n>.fabric.status",
    "accelerators.<n>.vendor", "accelerators.<n>.vendor_id", "accelerators.<n>.device_id", "accelerators.<n>.address", "accelerators.<n>.driver", "accelerators.<n>.numa_node",
    "accelerators.<n>.pcie_gen", "accelerators.<n>.pcie_width", "accelerators.<n>.max_pcie_gen", "accelerators.<n>.max_pcie_width",
};

constexpr std::string_view place = "<n>";

// A name with <n> for its places in lists, and those places in their order.
std::pair<std::string, std::vector<std::string>> general(std::string_view name) {
  std::vector<std::string> parts = split(name, '.'), places;
  for (std::string& part : parts) {
    if (part.empty() || part.size() > 6 || part.find_first_not_of("0123456789") != std::string::npos) continue;
    places.push_back(std::move(part));
    part = place;
  }
  return {join(parts, "."), std::move(places)};
}

bool has(std::string_view name) { return std::find(std::begin(names), std::end(names), name) != std::end(names); }

}  // namespace

std::span<const std::string_view> fact_names() { return names; }

bool is_fact_name(std::string_view name) { return name.find('<') == std::string_view::npos && has(general(name).first); }

std::vector<std::string> similar_fact_names(std::string_view name) {
  constexpr std::size_t most = 3;
  const auto [wanted, places] = general(name.substr(0, 200));
  std::vector<std::string> known(std::begin(names), std::end(names));
  std::vector<std::string> out = nearest(wanted, known, most);
  const std::string last = wanted.substr(wanted.rfind('.') + 1);
  for (const std::string& one : known)
    if (out.size() < most && one.ends_with("." + last) && std::find(out.begin(), out.end(), one) == out.end()) out.push_back(one);
  for (std::string& one : out) {
    std::size_t next = 0;
    for (auto at = one.find(place); at != std::string::npos; at = one.find(place, at + 1)) one.replace(at, place.size(), next < places.size() ? places[next++] : "0");
  }
  return out;
}

}  // namespace kfab

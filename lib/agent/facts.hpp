#pragma once

#include <string>
#include <vector>

#include "json/value.hpp"

namespace kfab::agent {

// Where facts are read. Tests give a recorded tree as root; `live` false leaves out what only a running system can
// answer (addresses, free space, the clock).
struct FactsOptions {
  std::string root;                                  // before /sys, /proc and /etc; empty on a node
  bool live = true;
  std::string nvml_library = "libnvidia-ml.so.1";    // empty: NVML is not asked
  double section_timeout_s = 10;                     // of each section
  double nvml_timeout_s = 60;                        // NVML starts slowly without persistence mode
  double mount_timeout_s = 2;                        // of each mounted file system
  double all_mounts_timeout_s = 10;                  // of all of them together
};

// What is known about this node. Each section is read in a process of its own with a bound, so that a dead disk or a
// hanging driver costs that section only. What cannot be had is null, and problems[] says why.
//
//   identity{vendor, product_name, product_serial, board_name, board_serial, bios_version, hostname, boot_id}
//   cpu{model, architecture, sockets, cores, threads, numa_nodes, max_mhz, governor, smt, flags[]}
//   memory{total_bytes, total_gib, available_bytes, swap_total_bytes, swap_free_bytes,
//          hugepages{total, free, size_bytes}}
//   disks[]{name, size_bytes, model, serial, rotational, mounts[]{path, fs_type}}
//   mounts[]{path, device, fs_type, options, total_bytes, free_bytes}   real file systems and network ones
//   network[]{name, mac, speed_mbps, mtu, state, kind, physical, addresses[]}
//   os{id, version_id, pretty_name, kernel_name, kernel, cmdline, uptime_s, timezone, clock_unix_s, libc, systemd, apt,
//      packages, packages_sha256}   how many are installed, and a digest over their names and versions; null without dpkg
//   gpu_driver{version, cuda_version}, gpus[]   (nvml.hpp); null where NVML is not there
//   accelerators[]{vendor, vendor_id, device_id, address, driver, numa_node, pcie_gen, pcie_width, max_pcie_gen,
//          max_pcie_width}   of every vendor, as the PCI bus shows them, physical functions only
//   problems[]{fact, reason}
json::Value read_facts(const FactsOptions&);

}  // namespace kfab::agent

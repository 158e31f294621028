#pragma once

#include <string>
#include <vector>

#include "agent/task.hpp"

namespace kfab::agent {

// Where the boot of this node is told. Tests point it elsewhere.
struct BootEnvironment {
  std::string proc = "/proc";
  std::string machine_id = "/etc/machine-id";
  std::string systemd_marker = "/run/systemd/system";
  std::vector<std::string> process_environment;
};

// Task "boot": which boot of which system this is. The request needs no further members.
//   {"type":"boot","boot_id","machine_id","init_age_s","state","failed_units":[...]}
// init_age_s is how long process 1 has been running: the age of the system, also in a container, whose /proc/uptime is
// its host's. state is the word of `systemctl is-system-running` (starting, running, degraded, stopping, ...), "unknown"
// without systemd. What cannot be read is null.
Status run_boot_task(const json::Value& request, TaskContext&);
Status run_boot_task(const json::Value& request, TaskContext&, const BootEnvironment&);

// Task "reboot": the same message, then the order to reboot and {"type":"reboot_ordered"}. The order does not wait, so
// that the answer is under way before sshd is stopped; when the connection is cut all the same, the host finds out by
// asking for the boot. Errors: reboot_not_ordered.
Status run_reboot_task(const json::Value& request, TaskContext&);
Status run_reboot_task(const json::Value& request, TaskContext&, const BootEnvironment&);

}  // namespace kfab::agent

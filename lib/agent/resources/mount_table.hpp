#pragma once

#include <string>
#include <vector>

#include "agent/resources/resource.hpp"
#include "base/result.hpp"

namespace kfab::agent {

// One line of /etc/fstab, its fields as they are meant: blanks that are written as \040 are blanks here.
struct FstabEntry {
  std::string device, path, type, options;
  std::string dump = "0", pass = "0";
};

// The entry of a line; false for comments, empty lines and what has fewer than four fields.
bool parse_fstab_line(const std::string& line, FstabEntry&);
std::string fstab_line(const FstabEntry&);

// What is mounted now, of /proc/self/mountinfo, in its order: of several at one path the last is seen.
struct Mounted {
  std::string device, path, type, options;
};
Result<std::vector<Mounted>> mounts_of(const NodeEnvironment&);

// What the kernel swaps to, of /proc/swaps: paths of devices and files.
Result<std::vector<std::string>> swaps_of(const NodeEnvironment&);

// The device that UUID=, LABEL=, PARTUUID= or a link below /dev stands for, with links followed; what is no device of
// this node, such as host:/export, as it is.
std::string real_device(const std::string& device, const NodeEnvironment&);

}  // namespace kfab::agent

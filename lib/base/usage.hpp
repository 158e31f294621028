#pragma once

#include <cstdint>

namespace kfab {

// What this process has taken so far: processor time of all its threads (user and system, without child processes) and
// the most memory that was resident at once. From getrusage(2).
struct ProcessUsage {
  double cpu_s = 0;
  std::uint64_t peak_rss_bytes = 0;
};
ProcessUsage own_usage();

}  // namespace kfab

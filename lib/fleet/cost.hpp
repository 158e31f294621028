#pragma once

#include <cstdint>
#include <string>

namespace kfab::fleet {

// What a run cost the machine that kfab runs on.
struct RunCost {
  std::size_t nodes = 0;
  double cpu_s = 0;                  // of kfab itself, all threads, user and system
  std::uint64_t peak_rss_bytes = 0;
  double wall_s = 0;                 // from the start of kfab
};

// "32,500 nodes, 41 s CPU, 310 MiB, 3 min 12 s"
std::string to_text(const RunCost&);

}  // namespace kfab::fleet

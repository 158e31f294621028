#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

// The folder in which kfab keeps its agents on a node: files "agent-<SHA-256>", put there by the bootstrap. Every version of kfab
// leaves one, and nobody else ever removes them.
namespace kfab::agent {

struct CacheLimits {
  std::size_t newest = 4;                          // so many stay by their last use, the one that looks included
  std::chrono::seconds unused = std::chrono::hours(24);   // younger ones stay whatever their number
};

// Says of the file that it is in use now: its time of modification is the time of its last use. What cannot be marked is not.
void mark_used(const std::string& executable);

// Removes agents beside `executable` beyond the limits, and returns their names. Stays: itself; what a process on this machine runs,
// whoever's it is (the kernel refuses to open it for writing); what was used not long ago, which guards a home directory
// that several machines share, because a job marks its own file every hour; and whatever is no such file. Does nothing when
// `executable` is no agent of such a folder, or when others than its owner can write there.
std::vector<std::string> prune_agents(const std::string& executable, std::chrono::system_clock::time_point now, const CacheLimits& limits = {});

}  // namespace kfab::agent

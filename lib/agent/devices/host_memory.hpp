#pragma once

#include <sched.h>

#include <cstdint>
#include <string>
#include <vector>

// Where host memory lies, for copies between a GPU and the memory next to it.
namespace kfab::agent::devices {

// While it lives, this thread runs on the processors of a NUMA node and takes its memory there: memory that is pinned
// meanwhile is local to the node. Node -1, or a node that this process may not use: nothing changes, and held() is false.
class NearNode {
 public:
  explicit NearNode(int node);
  ~NearNode();
  NearNode(const NearNode&) = delete;
  NearNode& operator=(const NearNode&) = delete;
  bool held() const { return held_; }

 private:
  cpu_set_t before_{};
  bool held_ = false, bound_ = false;
};

// Processors in a list of the kernel's, "0-3,8": none for one that is malformed.
std::vector<int> parse_processor_list(const std::string&);

// The part of the pages of [address, address + bytes) that the kernel says are on `node`, 0 to 1, from up to 512 of them;
// negative when it does not say.
double part_on_node(const void* address, std::uint64_t bytes, int node);

}  // namespace kfab::agent::devices

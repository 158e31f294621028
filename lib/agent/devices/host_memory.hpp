#pragma once

#include <sched.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/diagnostic.hpp"

// Where host memory lies, for copies between a GPU and the memory next to it.
namespace kfab::agent::devices {

// The NUMA node that a PCI device is next to: by its numa_node, else (firmware that leaves it out says -1) the one that all processors
// of its local_cpulist are of. -1: neither tells; a kernel that does not know the node lists the processors of all of them.
struct PciNode {
  int node = -1;
  bool by_processors = false;
  // ", by the GPU's local_cpulist since its numa_node is -1"; empty where numa_node tells.
  std::string note() const;
};
// `root` stands before /sys, for tests.
PciNode node_of_pci(const std::string& address, const std::string& root = {});

// While it lives, this thread runs on the processors of a NUMA node and takes its memory there: memory that is pinned
// meanwhile is local to the node. Node -1, or a node that this process may not use: nothing changes, and held() is false.
class NearNode {
 public:
  // `root` stands before /sys, for tests.
  explicit NearNode(int node, const std::string& root = {});
  ~NearNode();
  NearNode(const NearNode&) = delete;
  NearNode& operator=(const NearNode&) = delete;
  bool held() const { return held_; }
  // Whether every processor of the node may be used; a cpuset or an affinity around the agent leaves fewer.
  bool whole() const { return held_ && allowed_ == of_; }
  // "4 of the 32 processors of NUMA node 1 may be used", and when none: that the agent is kept from the node.
  std::string words() const;

 private:
  cpu_set_t before_{};
  int node_ = -1, allowed_ = 0, of_ = 0;   // processors of the node that this thread may use, and that there are
  bool held_ = false, bound_ = false;
};

// Why memory that was asked for at a NUMA node does not count as local: `held` and `local` as NearNode and part_on_node() tell
// them. numa_memory_elsewhere: the kernel says that it lies elsewhere. numa_node_withheld: it does not say where, and the agent
// was kept from the node. Nothing: it is local, or no node was asked for.
std::optional<Code> not_local(int node, bool held, double local);

// Processors in a list of the kernel's, "0-3,8": none for one that is malformed.
std::vector<int> parse_processor_list(const std::string&);

// The part of the pages of [address, address + bytes) that the kernel says are on `node`, 0 to 1, from up to 512 of them;
// negative when it does not say.
double part_on_node(const void* address, std::uint64_t bytes, int node);

}  // namespace kfab::agent::devices

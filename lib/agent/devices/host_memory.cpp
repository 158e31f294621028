#include "agent/devices/host_memory.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>

#include <fmt/format.h>

#include "base/codes/validation.hpp"
#include "base/text.hpp"

namespace kfab::agent::devices {
namespace {
constexpr int policy_default = 0, policy_bind = 2, most_nodes = 1024;
}  // namespace

std::vector<int> parse_processor_list(const std::string& list) {
  std::vector<int> out;
  for (const auto& part : split(trim(list), ',')) {
    int from = 0, to = 0, read = 0;
    const std::string word(part);
    int got = std::sscanf(word.c_str(), "%d-%d%n", &from, &to, &read);
    if (got == 1) {
      to = from;
      got = std::sscanf(word.c_str(), "%d%n", &from, &read) == 1 ? 2 : 0;
    }
    if (got != 2 || read != int(word.size()) || from < 0 || to < from || to >= CPU_SETSIZE) return {};
    for (int i = from; i <= to; ++i) out.push_back(i);
  }
  return out;
}

namespace {

std::string first_line_in(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

// The only node whose processors are all of these, -1 where there is none or several.
int node_of_processors(const std::vector<int>& processors, const std::string& root) {
  int found = -1;
  for (const int node : parse_processor_list(first_line_in(root + "/sys/devices/system/node/has_cpu"))) {
    const auto of_node = parse_processor_list(first_line_in(fmt::format("{}/sys/devices/system/node/node{}/cpulist", root, node)));
    const bool all = std::all_of(processors.begin(), processors.end(), [&](int one) { return std::find(of_node.begin(), of_node.end(), one) != of_node.end(); });
    if (!all) continue;
    if (found >= 0) return -1;
    found = node;
  }
  return found;
}

}  // namespace

std::string PciNode::note() const { return by_processors ? ", by the GPU's local_cpulist since its numa_node is -1" : ""; }

PciNode node_of_pci(const std::string& address, const std::string& root) {
  const std::string device = root + "/sys/bus/pci/devices/" + to_lower(address);
  if (std::ifstream in(device + "/numa_node"); in) {
    int node = -1;
    if (in >> node && node >= 0) return {node, false};
  }
  const auto local = parse_processor_list(first_line_in(device + "/local_cpulist"));
  const int node = local.empty() ? -1 : node_of_processors(local, root);
  return {node, node >= 0};
}

NearNode::NearNode(int node, const std::string& root) : node_(node) {
  if (node < 0 || node >= most_nodes || ::sched_getaffinity(0, sizeof before_, &before_) != 0) return;
  std::ifstream in(fmt::format("{}/sys/devices/system/node/node{}/cpulist", root, node));
  std::string list;
  std::getline(in, list);
  cpu_set_t near;
  CPU_ZERO(&near);
  for (const int processor : parse_processor_list(list)) {
    ++of_;
    if (CPU_ISSET(std::size_t(processor), &before_)) CPU_SET(std::size_t(processor), &near);
  }
  allowed_ = CPU_COUNT(&near);
  held_ = allowed_ > 0 && ::sched_setaffinity(0, sizeof near, &near) == 0;
  if (!held_) return;
  // Without leave to bind (a container may refuse it) the pages still come from where the thread runs, as long as there are any.
  unsigned long mask[most_nodes / 64] = {};
  mask[node / 64] |= 1ul << node % 64;
  bound_ = ::syscall(SYS_set_mempolicy, policy_bind, mask, most_nodes) == 0;
}

NearNode::~NearNode() {
  if (bound_) ::syscall(SYS_set_mempolicy, policy_default, nullptr, 0);
  if (held_) ::sched_setaffinity(0, sizeof before_, &before_);
}

std::string NearNode::words() const {
  if (node_ < 0) return "no NUMA node was asked for";
  if (of_ == 0) return fmt::format("NUMA node {} has no processors that the kernel tells of", node_);
  if (held_) return fmt::format("{} of the {} processors of NUMA node {} may be used", allowed_, of_, node_);
  return fmt::format("NUMA node {} not held: none of its {} processors may be used, a cpuset or an affinity keeps the agent from them", node_, of_);
}

std::optional<Code> not_local(int node, bool held, double local) {
  if (node < 0) return std::nullopt;
  if (local >= 0) return local < 0.99 ? std::optional(code::numa_memory_elsewhere) : std::nullopt;
  return held ? std::nullopt : std::optional(code::numa_node_withheld);
}

double part_on_node(const void* address, std::uint64_t bytes, int node) {
  const std::uint64_t page = std::uint64_t(::sysconf(_SC_PAGESIZE)), pages = bytes / page;
  if (node < 0 || pages == 0) return -1;
  const std::uint64_t count = std::min<std::uint64_t>(pages, 512);
  std::vector<void*> asked;
  for (std::uint64_t i = 0; i < count; ++i) asked.push_back(const_cast<char*>(static_cast<const char*>(address)) + i * (pages / count) * page);
  std::vector<int> nodes(asked.size(), -1);
  if (::syscall(SYS_move_pages, 0, asked.size(), asked.data(), nullptr, nodes.data(), 0) != 0) return -1;
  const auto known = std::count_if(nodes.begin(), nodes.end(), [](int where) { return where >= 0; });   // pinned by a driver: it may not say
  return known == 0 ? -1 : double(std::count(nodes.begin(), nodes.end(), node)) / double(known);
}

}  // namespace kfab::agent::devices

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/facts.hpp"
#include "json/value.hpp"

// The parts of read_facts(), one function per section. Not for use outside the agent.
namespace kfab::agent {

// What a section found, and what it could not find: a list of {"fact","reason"}.
struct SectionFacts {
  json::Value value;
  json::Array problems;
  void problem(std::string_view fact, std::string_view reason);
};

// Reads below a root; answers are trimmed, and absent when the file is not there or cannot be read.
class FactTree {
 public:
  explicit FactTree(std::string root) : root_(std::move(root)) {}
  std::string at(std::string_view path) const { return root_ + std::string(path); }
  std::optional<std::string> read(std::string_view path) const;
  std::optional<long long> read_int(std::string_view path) const;
  std::vector<std::string> list(std::string_view directory) const;    // names, sorted
  bool exists(std::string_view path) const;
  std::optional<std::string> link_name(std::string_view path) const;  // the last part of where a link leads
  // Why read() gave nothing, in words.
  std::string why_not(std::string_view path) const;

 private:
  std::string root_;
};

SectionFacts identity_facts(const FactTree&, const FactsOptions&);
// By what the node is known, whatever its name: the board's serial, else the product's; empty where neither is told.
std::string board_serial();
SectionFacts cpu_facts(const FactTree&, const FactsOptions&);
SectionFacts memory_facts(const FactTree&, const FactsOptions&);
SectionFacts disk_facts(const FactTree&, const FactsOptions&);
SectionFacts network_facts(const FactTree&, const FactsOptions&);
SectionFacts os_facts(const FactTree&, const FactsOptions&);
SectionFacts accelerator_facts(const FactTree&, const FactsOptions&);
// Not a section of its own process: each mount is asked in one.
SectionFacts mount_facts(const FactTree&, const FactsOptions&);

// One line of /proc/self/mountinfo.
struct Mount {
  std::string device_number, path, fs_type, source, options;
};
std::vector<Mount> read_mounts(const FactTree&);

// How many CPUs a kernel list such as "0-3,8" names.
int count_of_list(std::string_view);

}  // namespace kfab::agent

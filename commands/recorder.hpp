#pragma once

#include <memory>
#include <string>
#include <vector>

#include "commands/command.hpp"
#include "commands/env.hpp"
#include "store/records.hpp"

namespace kfab::store {
class Store;
}

namespace kfab::commands {

// Everything that one run found about one node: kept together or not at all.
struct NodeFindings {
  std::vector<store::NodeRecord> nodes;
  std::vector<store::AcceleratorRecord> accelerators;
  std::vector<store::MeasurementRecord> measurements;
};

// The run in the store: opened before the first node is touched, so that evidence always has a place to go to, written
// node by node as results come, closed with the run's outcome. A run without `finished_at` was killed.
class Recorder {
 public:
  // Errors: those of the store (no space, no permission, damaged, newer than this kfab).
  static Result<std::unique_ptr<Recorder>> begin(Env&, std::string command, const SiteRef&);
  ~Recorder();

  // Commits at once. A failure is remembered and told by finish(): the run goes on, its result says that it is not kept.
  void put(const NodeFindings&);
  // Closes the run and appends what went wrong with keeping it (not_recorded) to the output.
  void finish(CommandOutput&);

 private:
  Recorder(std::unique_ptr<store::Store>, Env&, std::string run_id);
  std::unique_ptr<store::Store> store_;
  Env& env_;
  std::string run_id_;
  Diagnostics problems_;
};

// A record of one step of one node, with the run's id and the time filled in.
store::NodeRecord node_record(const Env&, std::string node, std::string step);

}  // namespace kfab::commands

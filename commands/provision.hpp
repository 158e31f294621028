#pragma once

#include <string>
#include <vector>

#include "commands/agent_runs.hpp"
#include "provision/node_plan.hpp"

// `kfab plan` and `kfab provision`: the same request in two modes, so that what is applied is what was shown.
namespace kfab::commands {

struct ProvisionOptions {
  SiteOptions site;
  provision::Mode mode = provision::Mode::plan;
  bool exit_code = false;        // plan: drift is the answer no (exit 1), for cron and CI
  double timeout_s = 3600;       // of one node
};

struct ProvisionedNode {
  json::Object row;              // node, outcome, phase, code, reason, duration_s: how the session ended
  std::string name;
  NodeOutcome outcome = NodeOutcome::unreachable;
  std::string reason;            // why the session was not ok, without the node's name; empty when it was
  provision::NodePlan plan;      // of a node that never answered: nothing reported
};

struct ProvisionResult {
  provision::Mode mode = provision::Mode::plan;
  std::vector<ProvisionedNode> nodes;   // in the order of the manifest
  OutcomeCounts counts;
  FleetSummary summary;
  int changes = 0;               // resources that would change, or were changed, over all nodes
};

// mode, changes, counts{}, failures{}, cost{}, nodes[]: the row's keys and the plan's (provision/node_plan.hpp).
json::Value to_json(const ProvisionResult&);
void render(const ProvisionResult&, term::Writer&);   // nodes with the same changes once, with their diffs

CommandOutput run_provision(const ProvisionOptions&, Env&);

}  // namespace kfab::commands

#pragma once

#include <string>
#include <vector>

#include "commands/agent_runs.hpp"
#include "validation/judge.hpp"

namespace kfab::commands {

// `kfab inventory`: the facts of every node, held against what its profile expects and the manifest declares.
struct InventoryOptions {
  SiteOptions site;
  double timeout_s = 180;   // of one node
};

struct InventoriedNode {
  json::Object row;                            // node, outcome, phase, code, reason, duration_s
  std::string name, profile;
  NodeOutcome outcome = NodeOutcome::unreachable;
  std::string reason;                          // why the session was not ok, without the node's name
  json::Value facts;                           // the agent's document; null when it never came
  std::string board_serial;
  Verdict verdict = Verdict::not_judged;       // of all findings; not_judged also where nothing is expected
  std::vector<validation::FactVerdict> expected;
  std::string not_as_expected;                 // the worst of them, and how many more; empty when all pass
  Diagnostics findings;                        // serials that differ, clones
};

struct InventoryResult {
  std::vector<InventoriedNode> nodes;
  OutcomeCounts counts;
  FleetSummary summary;
};

// counts{}, failures{}, cost{}, nodes[]: the row's keys, profile, verdict, board_serial, expected[], findings[], facts.
json::Value to_json(const InventoryResult&);
void render(const InventoryResult&, term::Writer&);

CommandOutput run_inventory(const InventoryOptions&, Env&);

}  // namespace kfab::commands

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "commands/command.hpp"
#include "commands/env.hpp"
#include "fleet/correlation.hpp"
#include "fleet/cost.hpp"
#include "fleet/fleet.hpp"
#include "fleet/pace.hpp"
#include "ssh/target.hpp"

// What every command that reaches nodes says at its end: who ended how, what failures have in common, what was not
// started and how to go on, and what the run cost.
namespace kfab::commands {

struct FleetSummary {
  std::vector<fleet::NodeEnd> ends;            // one per selected node, in their order
  fleet::FailureSummary failures;
  std::vector<std::string> stopped_by;         // the budgets that were used up, as half sentences
  std::optional<fleet::RunCost> cost;          // absent where the environment does not tell
};

// How a target ended, as far as every command knows it; `well` is whether the outcome is ok.
fleet::NodeEnd node_end(const ssh::Target&, NodeOutcome, ssh::Phase, const std::optional<Diagnostic>& why);

FleetSummary summarize(std::vector<fleet::NodeEnd>, const fleet::Pace&, const Env&);

// "failures": failed, failed_nodes, not_started, not_started_nodes, stopped_by[], groups[], shared[]; "cost": cpu_s,
// peak_rss_bytes, wall_s, or null.
void add_to(json::Object& data, const FleetSummary&);

// One line per outcome with its count and folded nodes, and one per telling trait of the failures. Nothing for one node.
void render(const FleetSummary&, term::Writer&);

// What was said of a node, where its name stands before it anyway: without "NODE: ".
std::string without_lead(const std::string& message, const std::string& node);

// The names of a row that stands for several nodes, with their number; cut where a terminal would have no room for more.
term::Cell folded_cell(const std::vector<std::string>& names, const term::StreamFacts&);

// The diagnostic of a budget that was used up, and the cost, for the process to print.
void add_to(CommandOutput&, const FleetSummary&);

// One diagnostic for each way in which nodes were not reached or did not end, with the folded nodes: for commands whose
// rows do not tell it. With `failures_too` also of nodes that failed, where each failure has a code of its own.
void add_unanswered(CommandOutput&, const FleetSummary&, bool failures_too = false);

// The racks of targets, for a Pace.
std::vector<std::string> racks_of(const std::vector<ssh::Target>&);

}  // namespace kfab::commands

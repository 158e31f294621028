#pragma once

#include <functional>
#include <memory>
#include <variant>
#include <vector>

#include "commands/provision.hpp"
#include "commands/recorder.hpp"
#include "provision/desired_state.hpp"
#include "provision/plan_file.hpp"

// One pass of the agent over nodes, in either mode, and how passes become one result.
namespace kfab::commands {

// What is to be done where. `states` and `expect` are of the session's nodes, in their order.
struct ProvisionWork {
  SiteSession session;
  std::vector<provision::DesiredState> states;
  std::vector<json::Value> expect;             // the agent compares the node with it first; null, or empty: nothing
  std::vector<ProvisionedNode> left_out{};     // selected nodes to which nothing is done, and why
  provision::SecretValues secrets{};           // of the states, by id
};

// What the manifest declares for the session's nodes, with the facts that are recorded of them and with the secrets read.
// Or the output of a command that could not start. Warnings go to `findings`.
std::variant<ProvisionWork, CommandOutput> work_of_site(SiteSession, Env&, Diagnostics& findings);

// The part of the work that is of these nodes.
ProvisionWork part_of(const ProvisionWork&, const std::vector<std::size_t>& indices);

// Runs the agent on every node of the work and records what came of it, node by node. Neither counts nor changes are
// set in the result: count(). `seen_whole` makes of what a node came to, by its place in the work, what is recorded and
// returned: with what an earlier pass did there.
using SeenWhole = std::function<provision::NodePlan(std::size_t, provision::NodePlan)>;
ProvisionResult run_pass(ProvisionWork&, provision::Mode, const ProvisionOptions&, Env&, Recorder&, const SeenWhole& seen_whole = {});

// What changes nodes goes to one of them first, then to twice as many each time, unless the operator says how.
ReachOptions paced(ReachOptions, bool apply, std::size_t nodes);

// A node to which nothing is done. It has no verdict.
ProvisionedNode left_out_node(const std::string& node, Diagnostic why);

// Puts what came of a later pass over some of the nodes into the place of what was known of them.
void replace(ProvisionResult& whole, ProvisionResult later);
void append(ProvisionResult& whole, std::vector<ProvisionedNode> left_out);

// Sets the counts and changes from the nodes.
void count(ProvisionResult&);

// The output of the command: counts, changes, diagnostics, outcome.
CommandOutput conclude(ProvisionResult, CommandOutput, const ProvisionOptions&, const Env&);

// The plan as it can be saved.
provision::PlanFile plan_file_of(const ProvisionWork&, const ProvisionResult&, const ProvisionOptions&, const Env&);

// What a plan file says is to be done; of nodes that were not planned to their end, why not. Or the output of a command
// that could not start: the file is not whole, the manifest has changed, nothing is selected.
std::variant<ProvisionWork, CommandOutput> work_of_plan(const provision::PlanFile&, const ProvisionOptions&, Env&);

// `kfab plan FILE`: what the file holds.
CommandOutput show_plan(const provision::PlanFile&, const ProvisionOptions&, const Env&);

}  // namespace kfab::commands

#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "commands/fleet_summary.hpp"
#include "commands/site_session.hpp"
#include "fleet/agent_session.hpp"
#include "store/records.hpp"

namespace kfab::commands {

// What the agent of one node said, complete: its messages in order, and how the session ended.
struct AgentRun {
  std::size_t index = 0;              // into SiteSession::nodes
  std::vector<json::Value> messages;  // of the task, "done" last when it came; without those that were taken as they came
  fleet::AgentEnd end;
  std::string reason;                 // why the session was not ok, without the node's name; empty when it was
};

// What a command makes of a node whose session is over. A node that was found bad is a failure, as budgets count it, even
// if its agent did all it was asked to do; `code` and `reason` say why then.
struct NodeJudged {
  bool well = false;
  std::string code{}, reason{};
};

// Starts the agent on every node of the session with the request that `request_of` makes (task and its members), and
// hands over each node's run as soon as it is complete, on this thread. `what` is shown while it goes on.
// Keeps to the batches and budgets of the options, and to `turns`, limits by name, where agents ask for turns.
// `take`, where it is given, sees each message as it comes; what it says true to is not kept for the run.
FleetSummary run_agents(SiteSession&, Env&, const ReachOptions&, std::string_view what,
                        const std::function<fleet::AgentTask(std::size_t index)>& request_of,
                        const std::function<NodeJudged(AgentRun)>& node_is_done, std::map<std::string, std::size_t> turns = {},
                        const std::function<bool(std::size_t index, const json::Value& message)>& take = {});

// A record of one step of one node: its name, outcome and the board serial that its agent told, the run's id, the time.
store::NodeRecord step_record(const Env&, const fleet::AgentEnd&, std::string step);

// The "reach" record of a node: whether kfab got an agent running there, and if not, why.
store::NodeRecord reach_record(const Env&, const fleet::AgentEnd&);

// Whether the session ended, or never began, because kfab was told to stop or stopped by itself: that says nothing about the node and is no evidence.
bool was_cancelled(const fleet::AgentEnd&);

// Whether the node answered at all: its agent said hello.
bool reached(const fleet::AgentEnd&);

// Keys that every per-node row of a result has: node, outcome, phase, code, reason, duration_s.
json::Object node_row(const fleet::AgentEnd&);

}  // namespace kfab::commands

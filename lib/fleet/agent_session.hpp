#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/secret.hpp"
#include "fleet/fleet.hpp"
#include "json/value.hpp"

namespace kfab::fleet {

// The agent as it travels: the gzip'd file, and what the file is once unpacked. `gz` outlives every run that uses it.
struct AgentImage {
  std::string_view gz;
  std::string sha256;            // of the unpacked file, lower-case hex: its name in the node's cache
  std::uint64_t size_bytes = 0;  // of the unpacked file
  std::string machine{};         // what `uname -m` says on nodes that can run it: letters, digits and '_'; empty: nobody asks
  std::vector<AgentImage> others{};   // for nodes that say something else
};
// Unpacks once to find out sha256 and size. Errors: agent_image_broken.
Result<AgentImage> make_agent_image(std::string_view gz);

// What one node is asked to do.
struct AgentTask {
  json::Value request;              // an object: "task", "run_id" and what belongs to the task; type, protocol,
                                    // deadline_s and heartbeat_s are set here
  bool sudo = false;                // run the agent by sudo
  std::chrono::seconds deadline{3600};   // told to the agent, which ends itself; cut from here 30 s later
  const Secret* password = nullptr; // with a line end: the answer if sudo asks; null: `sudo -n`. Outlives the run
};

// How one agent session ended. Only a session whose agent said {"type":"done","ok":true} is ok.
struct AgentEnd {
  std::string node;
  NodeOutcome outcome = NodeOutcome::unreachable;
  ssh::Phase phase = ssh::Phase::resolve;
  std::optional<Diagnostic> why{};   // present unless ok; names the node
  double duration_s = 0;
  json::Value hello{};               // null when it never came
  json::Value done{};                // null when it never came
  bool image_sent = false;           // the node did not have this agent yet
};

// Called on the driving thread for every message that is not of the session itself: not hello, not done.
class AgentListener {
 public:
  virtual ~AgentListener() = default;
  virtual void on_message(std::size_t target_index, const json::Value& message) = 0;
  // The node's session has ended; comes exactly once per target, as soon as it is so, so that its results can be kept
  // before the others are done. Returns whether the node is well, as failure budgets count it: an agent that did its
  // task and found the node bad is a failure.
  virtual bool on_end(std::size_t /*target_index*/, const AgentEnd& end) { return end.outcome == NodeOutcome::ok; }
};

// Starts the agent on every target (sending it where it is missing), gives it its task, passes on what it says and
// keeps it alive by heartbeats. One connection per node, one window over all. Returns one end per target, in order,
// always. Cancel level 1 starts no more nodes, tells the agents to stop and cuts them after `cancel_grace`; level 2
// cuts at once. Emits node_started, progress, tick and node_done. `options.deadlines.total` and the caps are not used: the
// task's deadline holds, and what an agent says is passed on, not kept.
std::vector<AgentEnd> run_agents(ssh::Transport&, const std::vector<ssh::Target>&, const AgentImage&,
                                 const std::function<AgentTask(std::size_t target_index)>& task_of, AgentListener&,
                                 const FleetOptions&, const Clock&, EventSink&, const CancelToken&);

}  // namespace kfab::fleet

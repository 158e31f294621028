#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/cancel.hpp"
#include "base/clock.hpp"
#include "base/event.hpp"
#include "base/words.hpp"
#include "ssh/transport.hpp"

namespace kfab::fleet {

class Pace;
class Turns;

struct FleetOptions {
  std::size_t window = 512;   // nodes at work at the same time, at most (admission.hpp)
  ssh::Deadlines deadlines{};
  std::size_t max_stdout_bytes = std::size_t{4} << 20;   // per node
  std::size_t max_stderr_bytes = std::size_t{1} << 20;
  std::size_t max_kept_bytes = std::size_t{512} << 20;   // of all nodes; from there on only the first 4 KiB of each are kept
  std::chrono::milliseconds cancel_grace = std::chrono::seconds(10);   // from the first ^C until what runs is cut
  // Each node's connection stays for the next run over the same transport, which logs in to nobody again. One that died
  // meanwhile is made anew; they all go with the transport.
  bool keep_connections = false;
  bool relay = false;     // the agent travels once per rack, whose first node hands it to the others (relay_plan.hpp)
  Turns* turns = nullptr; // what only so many nodes may do at once, for agents that ask (agent/protocol.hpp); null: no limit
  Pace* pace = nullptr;   // of the same nodes: who may start when, and when no more may; null: all, and nothing stops them
};

// What came of one command on one node. A node that was never started because the run was stopped is `unreachable`
// with the code fleet_cancelled; one that was never started because too many failed, with fleet_budget_used_up.
struct CommandResult {
  std::string node;
  NodeOutcome outcome = NodeOutcome::unreachable;
  ssh::Phase phase = ssh::Phase::resolve;
  std::optional<int> exit_status{};
  std::string signal{};
  std::string stdout_text{};   // bytes as they came: nothing is cleaned
  std::string stderr_text{};
  std::uint64_t truncated_bytes = 0;
  double duration_s = 0;
  std::optional<Diagnostic> why{};   // present unless ok; names the node
};

// Runs one command line on every target through one window, `input` being each command's standard input. Returns one
// result per target, in their order, always. Cancel level 1 starts no more nodes, closes the inputs of those that run
// and cuts them after `cancel_grace`; level 2 cuts at once. Emits node_started, tick and node_done.
std::vector<CommandResult> run_command(ssh::Transport&, const std::vector<ssh::Target>&, const std::string& line,
                                       std::string_view input, const FleetOptions&, const Clock&, EventSink&,
                                       const CancelToken&);

}  // namespace kfab::fleet

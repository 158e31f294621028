#pragma once

#include <cstdint>
#include <string>

#include "agent/task.hpp"

namespace kfab::agent {

// Task "relay": hands this agent's own executable to the nodes of its rack, so that the control host sends it once per
// rack. What is handed out is no secret and is checked by its hash where it arrives, so all that the request decides is
// who may ask, how many at once, and how often.
//
// Request: "token" (32 hex digits, which a client sends as its only line), "address" (to listen on; where this node does
// not have it, that by which sshd was reached), "max_clients" (at once, 1 to 64), "max_serves" (1 to 100000).
//   {"type":"relay","address":"10.1.0.7","port":41234}     it listens
//   {"type":"relay_served","serves":12,"refused":0,"bytes":49680000}   after each client
// Runs until it is cancelled, its owner is gone, or max_serves is reached. A client has `relay_client_s` for all.
inline constexpr double relay_client_s = 60;
Status run_relay_task(const json::Value& request, TaskContext&);

}  // namespace kfab::agent

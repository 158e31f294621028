#pragma once

#include "agent/task.hpp"

namespace kfab::agent {

// Task "clock": how far this node's clock is from the host's. Asks the host for turns of the name "clock", whose answers tell
// its time, and takes the shortest of the round trips: the host's time lay somewhere within it.
//   {"type":"clock","offset_s":0.004,"uncertainty_s":0.001,"round_trips":5}    offset: this node's clock minus the host's
// A host that tells no time gives null for both figures. Errors: none.
Status run_clock_task(const json::Value& request, TaskContext&);

}  // namespace kfab::agent

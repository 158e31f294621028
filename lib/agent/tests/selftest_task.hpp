#pragma once

#include "agent/tests/test_task.hpp"

namespace kfab::agent {

// Task "selftest": plants faults into what finds faults, on this node, and says of each whether it was found. Nothing that the
// node does is touched; about ten seconds.
//
// Request: {"devices":["cpu","cuda"], "seed":4711, "seconds":1.5}   the places of planted faults follow from the seed
// Messages: planted {where, fault, found, detail}; not_tried {where, reason} for a device that is not there.
// Planted: a flipped bit at random places of every memory pattern and of what copies carry; the proof of every checker that the
// devices' own tests carry; movements of the counters as they are read here; lines of the kernel's log; a child that hangs, one
// that crashes, one that says nothing and one that talks nonsense, beside one that is sound.
Status run_selftest_task(const json::Value& request, TaskContext&, const TestChildLaunch& = {});

}  // namespace kfab::agent

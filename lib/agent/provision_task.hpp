#pragma once

#include "agent/resources/resource.hpp"
#include "agent/task.hpp"

namespace kfab::agent {

// Task "provision": brings this node to a declared state, or says what that would change.
//
// Request, beside the header of protocol.hpp:
//   {"mode":"plan|apply", "resources":[{"id","type","attributes":{...},"after":[ids],"restart_on":[ids]}, ...]}
// in an order in which everything stands after what it waits for.
//
// One message for each resource, in that order:
//   {"type":"resource","id","resource_type","status","changes":[{"what","before","after"}],"diff","message","code",
//    "duration_s"}
// status: in_sync | would_change (plan) | changed (applied, and found right afterwards) | failed | skipped (something
// it waits for failed) | cancelled (the run was stopped before or during it). message and code are null when nothing is
// wrong. Plan mode writes nothing: checks read, and guards of commands are declared by their authors to read only. A
// resource whose state cannot be told before an earlier one is applied (a unit of a package that is not there yet) is
// would_change, with the reason as its message.
Status run_provision_task(const json::Value& request, TaskContext&);
Status run_provision_task(const json::Value& request, TaskContext&, const NodeEnvironment&);

}  // namespace kfab::agent

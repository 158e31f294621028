#pragma once

#include "agent/resources/resource.hpp"
#include "agent/task.hpp"

namespace kfab::agent {

// Task "undo": takes back what roles changed on this node, from what the provision task wrote down (resources/undo_store.hpp);
// what is declared today does not matter.
//
// Request, beside the header of protocol.hpp:
//   {"mode":"plan|apply", "roles":["name", ...], "owner":"site/node"}
// where owner is the name under which the node was provisioned.
//
// First comes what is to be done, the last applied first:
//   {"type":"undo","resources":[{"id","type"}, ...]}
// then one message for each, in that order, with the members of the provision task's (provision_task.hpp). Services that read what is
// put back come last, and are restarted once where they run then. status: in_sync (it is as it was before kfab) | would_change (plan) | changed (put back, and found so) | failed (it is not as kfab left it, or
// could not be put back) | skipped (undo_impossible: nothing of it is touched) | cancelled. At the end comes "system" as
// there. A resource is touched only where all of it is as kfab left it, or as it was before, so that a run which was cut is
// simply run again; plan mode refuses what apply mode would. Once it is as it was its record is dropped; those that are impossible are dropped once they were told.
Status run_undo_task(const json::Value& request, TaskContext&);
Status run_undo_task(const json::Value& request, TaskContext&, const NodeEnvironment&);

}  // namespace kfab::agent

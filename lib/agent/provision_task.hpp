#pragma once

#include "agent/resources/resource.hpp"
#include "agent/task.hpp"

namespace kfab::agent {

// Task "provision": brings this node to a declared state, or says what that would change.
//
// Request, beside the header of protocol.hpp:
//   {"mode":"plan|apply", "resources":[{"id","type","attributes":{...},"after":[ids],"restart_on":[ids],
//    "turns":[{"name"}]}, ...]}
// in an order in which everything stands after what it waits for. In apply mode a turn (protocol.hpp) of each of its names is
// waited for before a resource is changed, in their order, and kept until the last resource that has the name; where nothing
// is to be changed none is asked for.
//
// One message for each resource, in that order:
//   {"type":"resource","id","resource_type","status","changes":[{"what","before","after"}],"diff","message","code",
//    "reboot_required","reboot_reason","duration_s"}
// status: in_sync | would_change (plan) | changed (applied, and found right afterwards) | failed | skipped (something
// it waits for failed) | cancelled (the run was stopped before or during it) | waiting (apply: a reboot before it is due). message and code are null when nothing is
// wrong. Plan mode writes nothing: checks read, and guards of commands are declared by their authors to read only. A
// resource whose state cannot be told before an earlier one is applied (a unit of a package that is not there yet) is
// would_change, with the reason as its message.
//
// Each of these messages also has "digests": one for every change that it lists, and one more for what was found in a
// file where the changes do not tell it in full. Two findings with the same digests are the same. At the end of a run in
// plan mode comes {"type":"identity","board_serial","machine_id"}: what tells this machine from others; null where it has none.
//
// After the resources, in both modes, comes {"type":"system","reboot_due","stopped_for_reboot"}: why the system itself asks for
// a reboot (/run/reboot-required, which packages leave), null where it does not; and {"resource","reason","boot_id"} of
// the reboot at which the run stopped, null where it did not.
//
// A resource of type reboot stands for the boot that must come before the rest. Where it is due (reboot_due.hpp) a run in apply
// mode stops there: it and all behind it are waiting, and nothing of them is applied. The agent reboots nothing by itself.
// Where something before it failed, it and all behind it are skipped. In plan mode one that is due would_change, what comes behind it
// is looked at as the node is now, and what fails then, or a command whose guard holds, is to be told only after the reboot.
//
// With "expect" a request in apply mode does what was planned and nothing else:
//   "expect":{"board_serial","machine_id","resources":[{"id","failed","digests":[...]}, ...],"stopped_boot_id"}
// as a plan told them. Before anything is applied every resource is checked as in plan mode. A resource has drifted where
// it would now be changed in a way that the plan does not list, where its check fails and did not then, or where the plan
// does not name it; what is already as it is to be, wholly or in part, has not, so that a run which was cut goes on with
// the same plan. If any has drifted nothing is applied: those are told as failed (node_drifted) with what was found, the others as
// skipped, and the task ends with that error. Likewise plan_other_machine, where the identity is another.
// stopped_boot_id, where there is one, is the boot in which a run by this plan stopped for a reboot. Where another boot runs, what a
// boot makes (units that run, live values, modules, mounts) and checks that fail only since then are no drift; files,
// packages and all else that lasts are compared as before.
//
// reboot_required is true where the node must be rebooted before what is declared is also what runs (a kernel argument
// that the running kernel was started without, a module that is kept from being loaded and is loaded); reboot_reason
// then says why in words, and is null otherwise. It goes along with in_sync, would_change and changed: what is on the
// disk may be right while the reboot is still to come, and every later run says so until it has been.
//
// In apply mode what was there before a resource is changed is written down first, and what was left of it afterwards, so that
// task "undo" can take it back (undo_task.hpp). "owner" of the request says in whose name: site/node.
Status run_provision_task(const json::Value& request, TaskContext&);
Status run_provision_task(const json::Value& request, TaskContext&, const NodeEnvironment&);

}  // namespace kfab::agent

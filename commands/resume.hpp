#pragma once

#include "commands/provision.hpp"
#include "commands/reboot.hpp"
#include "commands/runs.hpp"

// `kfab resume`: goes on with the nodes that a run of provision or reboot left undone.
namespace kfab::commands {

// `options` are those of the run as it was typed. The nodes that are done are neither asked nor counted; those that were cut
// are provisioned again, which does what is missing. With the plan that the run applied it applies that plan, to nodes that
// are as it found them or as it leaves them; without one a node whose declared state is another now is left alone.
CommandOutput run_resume(const Resumable&, ProvisionOptions options, Env&);

// The same of a run of reboot. A node that was told to reboot is waited for and proven; one that still runs the boot from
// before is told.
CommandOutput run_resume(const Resumable&, RebootOptions options, Env&);

}  // namespace kfab::commands

#pragma once

#include <optional>

#include "commands/left_work.hpp"
#include "commands/provision.hpp"
#include "commands/reboot.hpp"
#include "commands/undo.hpp"
#include "commands/validate.hpp"

// `kfab resume`: goes on with the nodes that a run of provision, undo or reboot, or of tests that were watched, left undone. The new
// run is linked to the newest of those that belong together, so that naming any of them means all.
namespace kfab::commands {

// `options` are those of the run as it was typed. The nodes that are done are neither asked nor counted; those that were cut
// are provisioned again, which does what is missing. With the plan that the run applied it applies that plan, to nodes that
// are as it found them or as it leaves them; without one a node whose declared state is another now is left alone.
CommandOutput run_resume(const Resumable&, ProvisionOptions options, Env&);

// The same of a run of undo: what was undone before the cut is not asked again, and what was cut in its middle is undone from where it is.
CommandOutput run_resume(const Resumable&, UndoOptions options, Env&);

// The same of a run of reboot. A node that was told to reboot is waited for and proven; one that still runs the boot from
// before is told.
CommandOutput run_resume(const Resumable&, RebootOptions options, Env&);

// The same of tests that were watched: nodes whose tests came to their end are judged by what is kept of them, beside the others.
CommandOutput run_resume(const Resumable&, ValidateOptions options, Env&);

// The newest run, of which nothing is gone on with: how it ended, as its outcome, and what can be done. Nothing is.
CommandOutput run_resume(const PassedOver&);

// What is told of it, also where an older run is gone on with; nothing where its answer was yes.
std::optional<Diagnostic> told_of(const PassedOver&);

}  // namespace kfab::commands

#pragma once

#include <string>
#include <vector>

#include "commands/provision.hpp"
#include "commands/provision_pass.hpp"
#include "commands/recorder.hpp"

// Reboots in the middle of provisioning: nodes that stopped for one are rebooted as `kfab reboot` does it, and gone on with.
namespace kfab::commands {

// Applies the work to its nodes. Where the options allow reboots (reboot), the nodes that stop for one which a role declares, and
// the reviewed plan holds where there is one, are rebooted wave by wave by the same pace and proven; what stands behind the
// reboot is then applied to those that are back, and so on until none stops any more. A node is rebooted once at most for each
// `reboot` that it has. Of a run that is gone on with, nodes that were told to reboot are waited for first, and not told again.
ProvisionResult apply_past_reboots(ProvisionWork&, const ProvisionOptions&, Env&, Recorder&);

// "reboots 3 nodes", of a plan that holds reboots and options that allow them, for the question; empty: none.
std::string reboots_text(const ProvisionResult& planned, const ProvisionOptions&);

}  // namespace kfab::commands

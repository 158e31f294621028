#pragma once

#include <chrono>
#include <vector>

#include "commands/reboot.hpp"
#include "commands/recorder.hpp"
#include "commands/site_session.hpp"
#include "provision/desired_state.hpp"

// How nodes are restarted: who goes with whom, what is kept before the order, how long they are waited for, and what proves
// that they are back. Which nodes, and whether at all, is the command's (reboot.hpp).
namespace kfab::commands {

// Longest time in which a node is held against its declared state.
inline constexpr std::chrono::seconds reboot_check_limit{900};

// All nodes of the session, wave by wave, as the options' pace says; one first where it says nothing. `desired` goes along with the
// session's nodes. Stops after a wave that the pace does not forgive, or when the run is cancelled.
RebootResult reboot_in_waves(SiteSession&, Env&, const RebootOptions&, const std::vector<provision::DesiredState>& desired, const provision::SecretValues&, Recorder&);

}  // namespace kfab::commands

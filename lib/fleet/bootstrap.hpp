#pragma once

#include <string>
#include <string_view>

#include "base/diagnostic.hpp"
#include "fleet/agent_session.hpp"
#include "fleet/supervisor.hpp"

namespace kfab::fleet {

// The command line that starts the agent on a node: bootstrap.sh as one constant argument, and nothing that varies but
// the hashes and sizes of the images, the machines that they are for and the nonce, which are words and digits of our own making. With
// Become::sudo_password sudo's prompt is "NONCE:password:;" on standard error.
std::string bootstrap_line(const AgentImage&, Become, std::string_view nonce);

// The script as it travels: without comments, on one line.
std::string bootstrap_script();

// Why a bootstrap state other than "need" and "ready" means that there is no agent. `detail` is the node's own words.
Diagnostic bootstrap_error(std::string_view state, std::string_view detail, const std::string& node);

}  // namespace kfab::fleet

#pragma once

#include <string>
#include <string_view>

#include "base/diagnostic.hpp"
#include "fleet/agent_session.hpp"

namespace kfab::fleet {

// The command line that starts the agent on a node: bootstrap.sh as one constant argument, and nothing that varies but
// the hash and the sizes of the image, which are hex and decimal digits of our own making.
std::string bootstrap_line(const AgentImage&, bool sudo);

// The script as it travels: without comments, on one line.
std::string bootstrap_script();

// Why a bootstrap state other than "need" and "ready" means that there is no agent. `detail` is the node's own words.
Diagnostic bootstrap_error(std::string_view state, std::string_view detail, const std::string& node);

}  // namespace kfab::fleet

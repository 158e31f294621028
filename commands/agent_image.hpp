#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "fleet/agent_session.hpp"

namespace kfab::commands {

// An agent that travels in this executable: what `uname -m` says where it runs, gzip bytes, and the SHA-256 (hex) and size of the file
// they unpack to.
struct EmbeddedAgent {
  std::string_view machine, gz, sha256;
  std::uint64_t size_bytes;
};
// The first is that for machines like the one that kfab was built for.
std::vector<EmbeddedAgent> embedded_agents();

// All of them, as a run of agents takes them.
fleet::AgentImage agent_image();

}  // namespace kfab::commands

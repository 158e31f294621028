#include "commands/agent_image.hpp"

#include "base/embedded.hpp"

KFAB_EMBEDDED(agent_gz)
KFAB_EMBEDDED(agent_sha256)

namespace kfab::commands {

EmbeddedAgent embedded_agent() { return {embedded_agent_gz(), embedded_agent_sha256().substr(0, 64)}; }

}  // namespace kfab::commands

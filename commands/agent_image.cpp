#include "commands/agent_image.hpp"

#include "base/embedded.hpp"

KFAB_EMBEDDED(agent_gz)
KFAB_EMBEDDED(agent_sha256)

namespace kfab::commands {

EmbeddedAgent embedded_agent() {
  const std::string_view gz = embedded_agent_gz();
  // A gzip file ends with the size of its content, little-endian (RFC 1952).
  std::uint64_t size = 0;
  for (std::size_t i = 0; i < 4; ++i)
    size |= std::uint64_t{static_cast<unsigned char>(gz[gz.size() - 4 + i])} << (8 * i);
  return {gz, embedded_agent_sha256().substr(0, 64), size};
}

}  // namespace kfab::commands

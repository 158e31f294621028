#include "commands/agent_image.hpp"

#include "base/embedded.hpp"

KFAB_EMBEDDED(agent_gz)
KFAB_EMBEDDED(agent_sha256)
#ifdef KFAB_AGENT_AARCH64
KFAB_EMBEDDED(agent_aarch64_gz)
KFAB_EMBEDDED(agent_aarch64_sha256)
#endif

namespace kfab::commands {
namespace {

#if defined(__x86_64__)
constexpr std::string_view own_machine = "x86_64";
#elif defined(__aarch64__)
constexpr std::string_view own_machine = "aarch64";
#else
constexpr std::string_view own_machine = "";   // nothing is asked of nodes then
#endif

EmbeddedAgent agent_of(std::string_view machine, std::string_view gz, std::string_view sha256) {
  // A gzip file ends with the size of its content, little-endian (RFC 1952).
  std::uint64_t size = 0;
  for (std::size_t i = 0; i < 4; ++i)
    size |= std::uint64_t{static_cast<unsigned char>(gz[gz.size() - 4 + i])} << (8 * i);
  return {machine, gz, sha256.substr(0, 64), size};
}

}  // namespace

std::vector<EmbeddedAgent> embedded_agents() {
  std::vector<EmbeddedAgent> agents{agent_of(own_machine, embedded_agent_gz(), embedded_agent_sha256())};
#ifdef KFAB_AGENT_AARCH64
  agents.push_back(agent_of("aarch64", embedded_agent_aarch64_gz(), embedded_agent_aarch64_sha256()));
#endif
  return agents;
}

fleet::AgentImage agent_image() {
  std::vector<fleet::AgentImage> images;
  for (const auto& agent : embedded_agents()) images.push_back({agent.gz, std::string(agent.sha256), agent.size_bytes, std::string(agent.machine), {}});
  fleet::AgentImage own = std::move(images.front());
  own.others.assign(images.begin() + 1, images.end());
  return own;
}

}  // namespace kfab::commands

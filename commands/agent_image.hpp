#pragma once

#include <cstdint>
#include <string_view>

namespace kfab::commands {

// The agent that travels in this executable: gzip bytes, and the SHA-256 (hex) and size of the file they unpack to.
struct EmbeddedAgent {
  std::string_view gz;
  std::string_view sha256;
  std::uint64_t size_bytes;
};
EmbeddedAgent embedded_agent();

}  // namespace kfab::commands

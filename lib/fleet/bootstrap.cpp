#include "fleet/bootstrap.hpp"

#include <fmt/format.h>

#include "base/codes/agent.hpp"
#include "base/embedded.hpp"
#include "base/result.hpp"
#include "base/text.hpp"
#include "fleet/one_line_script.hpp"

KFAB_EMBEDDED(bootstrap_sh)

namespace kfab::fleet {

std::string bootstrap_script() { return one_line_script(embedded_bootstrap_sh()); }

std::string bootstrap_line(const AgentImage& image, Become become, std::string_view nonce) {
  static const std::string script = bootstrap_script();
  std::string line = fmt::format("exec /bin/sh -c '{}' kfab-bootstrap {} {} {} {} {}", script, image.sha256, image.gz.size(), image.size_bytes,
                                 mode_word(become), nonce);
  const auto add = [&](const AgentImage& one) { line += fmt::format(" {} {} {} {}", one.machine, one.sha256, one.gz.size(), one.size_bytes); };
  if (image.machine.empty()) return line;
  add(image);
  for (const auto& other : image.others) add(other);
  return line;
}

Diagnostic bootstrap_error(std::string_view state, std::string_view detail, const std::string& node) {
  struct Row { std::string_view state; Code code; std::string_view words; };
  constexpr Row rows[] = {
      {"no_directory", code::agent_no_directory, "no directory for the agent"},
      {"no_space", code::agent_no_space, "no space for the agent"},
      {"no_tool", code::agent_no_tool, "a program is missing"},
      {"not_stored", code::agent_not_stored, "the agent was not stored"},
      {"cannot_run", code::agent_cannot_run, "the agent does not run"},
      {"no_sudo", code::agent_no_sudo, "there is no sudo"},
  };
  for (const Row& row : rows) {
    if (row.state == state) return error(row.code, fmt::format("{}: {}: {}", one_line(node), row.words, one_line(detail, 300)));
  }
  return error(code::agent_protocol_error, fmt::format("{}: unknown bootstrap state '{}'", one_line(node), one_line(state, 40)));
}

}  // namespace kfab::fleet

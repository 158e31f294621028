#include <pwd.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "base/text.hpp"
#include "ssh/private_agent.hpp"
#include "ssh/transport.hpp"

namespace kfab::ssh {

std::string find_program(const std::string& name) {
  const char* path = std::getenv("PATH");
  for (const std::string& folder : split(path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin", ':')) {
    const std::string file = folder + "/" + name;
    if (folder.starts_with('/') && ::access(file.c_str(), X_OK) == 0) return file;
  }
  return {};
}

TransportOptions options_from_environment() {
  TransportOptions options;
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 16384> buffer{};
  if (::getpwuid_r(::geteuid(), &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr) {
    options.user = found->pw_name;
    options.home = found->pw_dir;
  }
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/') options.home = home;
  options.ssh_program = find_program("ssh");
  if (const char* agent = std::getenv("SSH_AUTH_SOCK"); agent != nullptr) options.agent_socket = agent;
  return options;
}

}  // namespace kfab::ssh

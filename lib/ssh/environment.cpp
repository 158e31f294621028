#include <pwd.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "ssh/transport.hpp"

namespace kfab::ssh {

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
  if (const char* agent = std::getenv("SSH_AUTH_SOCK"); agent != nullptr) options.agent_socket = agent;
  return options;
}

}  // namespace kfab::ssh

#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace kfab::ssh {

enum class TransportKind : std::uint8_t { libssh2, local, openssh };

// What to do about the host key of a machine that no known_hosts file names. A key that differs from a known one is
// refused under both.
enum class HostKeyPolicy : std::uint8_t { verify, trust_on_first_use };

// One machine and how it is reached. Every path is absolute; expanding "~" and relative paths is the manifest's affair.
struct Target {
  std::string node;                           // name in results, messages and the site store
  std::string address;                        // host name or IP address; not used by local
  std::uint16_t port = 22;
  std::string user;                           // empty: the user who runs kfab
  std::vector<std::string> identity_files{};  // empty: the default keys of TransportOptions::home
  bool identities_only = false;               // offer the agent's keys only where a file of identity_files is one of them
  bool use_agent = true;                      // ask ssh-agent where there is one
  std::string agent_socket{};                 // of the agent for this machine; empty: TransportOptions::agent_socket
  std::vector<std::string> known_hosts{};     // empty: the user's and the system's own
  std::string site_store{};                   // known_hosts file of the site; asked as well, and the only one written
  std::vector<std::string> host_ca_files{};   // public keys whose host certificates vouch for this machine, as @cert-authority lines do
  HostKeyPolicy host_keys = HostKeyPolicy::verify;
  std::string host_key_alias{};               // looked up in known_hosts files instead of address and port; may be empty
  std::optional<std::chrono::milliseconds> connect_timeout{};   // instead of the command's deadlines for connect and banner
  std::vector<std::string> config_files{};    // OpenSSH configuration that ssh(1) is to read as well; openssh only
  TransportKind transport = TransportKind::libssh2;
  // The jump hosts before it, outermost first; nodes behind the same ones share them. Their own `via` is not looked at.
  std::vector<std::shared_ptr<const Target>> via{};
  bool shares_machine = false;                // declared to be one of several names of a machine: they show the same host keys
  std::string rack{};                         // where it stands, to see what failures have in common; may be empty
};

}  // namespace kfab::ssh

#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "commands/env.hpp"
#include "ssh/ssh_config.hpp"
#include "ssh/target.hpp"

// How a target is reached beyond what a manifest and the command line say of it: the OpenSSH configuration, and the jump
// hosts of both. The order of precedence, for each setting by itself: command line, manifest, configuration, default.
namespace kfab::commands {

// Which settings of a target were said, where its value alone does not tell; the others are said when they are not empty.
struct Said {
  bool address = false;
  bool port = false;
  bool host_keys = false;
  bool connect_timeout = false;
};

class WaysIn {
 public:
  // `config` is a file, "none", or empty for what ssh itself would read (~/.ssh/config and the system's). Errors: those
  // of SshConfig::load.
  static Result<WaysIn> open(const std::string& config, const Env&);
  // No configuration at all.
  WaysIn() = default;

  // Fills in what neither the command line nor the manifest said, for the name target.node. `via` are the jump hosts of
  // the manifest, outermost first; they stand over a ProxyJump of the configuration, and get the target's own settings
  // (user, keys, known_hosts) where neither they nor the configuration say otherwise. Targets behind the same jump hosts
  // share them. Errors: those of SshConfig::resolve, jump_host_malformed, jump_host_loop, proxy_command_unsupported.
  Status complete(ssh::Target&, const Said&, const std::vector<std::string>& via);

  // What the configuration asks for and is not done; each once for all targets.
  const Diagnostics& findings() const { return findings_; }

 private:
  using Jump = std::shared_ptr<const ssh::Target>;
  Status fill(ssh::Target&, const Said&, const ssh::HostSettings&);
  Result<std::vector<Jump>> jumps(const ssh::Target& base, const std::vector<ssh::HostSpec>&, bool with_user, std::vector<std::string> seen);
  void note(const Diagnostics&);

  std::optional<ssh::SshConfig> config_;
  std::vector<std::string> files_;        // of the configuration, for ssh(1)
  std::string home_;
  std::map<std::string, std::vector<Jump>> known_;   // by all that they depend on
  Diagnostics findings_;
  std::set<std::string> told_;
};

}  // namespace kfab::commands

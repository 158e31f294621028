#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "ssh/private_dir.hpp"
#include "ssh/process.hpp"

namespace kfab::ssh {

// An ssh-agent of kfab's own, for keys that are encrypted: its socket lies in a private directory, and it ends with this
// object or, should kfab be killed, with kfab.
class PrivateAgent {
 public:
  // Errors: private_agent_failed, private_dir_unusable.
  static Result<std::unique_ptr<PrivateAgent>> start();
  ~PrivateAgent();
  const std::string& socket() const { return socket_; }

  // Runs ssh-add for one key file on our own terminal, where it asks for the passphrase by itself: kfab never sees it.
  // Blocks until it is done. Errors: private_agent_failed, also when the person gave up.
  Status add(const std::string& key_file) const;

 private:
  PrivateAgent(PrivateDir dir, std::string socket, std::unique_ptr<Process> process);
  PrivateDir dir_;
  std::string socket_;
  std::unique_ptr<Process> process_;
};

// The public keys that an agent holds, for those who ask once and may wait (at most `patience_ms`). Errors:
// ssh_agent_unusable.
struct AgentKey;
Result<std::vector<AgentKey>> keys_of_agent(const std::string& socket, int patience_ms);

// The first program of this name along PATH; empty when there is none.
std::string find_program(const std::string& name);

}  // namespace kfab::ssh

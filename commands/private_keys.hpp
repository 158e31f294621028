#pragma once

#include <memory>
#include <vector>

#include "base/result.hpp"
#include "commands/env.hpp"
#include "ssh/private_agent.hpp"
#include "ssh/target.hpp"

// Encrypted keys where a person is at the terminal: they are loaded into an agent of kfab's own before a run begins.
namespace kfab::commands {

// Looks into the private keys that the command line names, before anything is connected to: what is wrong with one of
// them is wrong for every node. Where ssh(1) is to use them, they only have to be there: it knows more kinds. Errors:
// ssh_key_unreadable.
Status check_keys(const std::vector<std::string>& files, const std::vector<ssh::Target>&);

// The identity files that targets and their jump hosts name, that are encrypted, and that the agent at `agent_socket`
// does not hold; each once, in order.
std::vector<std::string> locked_keys(const std::vector<ssh::Target>&, const std::string& agent_socket);

// Where a person can be asked (Env::interactive) and such keys are there, starts a private agent, lets ssh-add ask for
// each, and points the targets that name one to that agent. Null where nothing was to be done: without a person the run
// says itself that a key is encrypted. The agent lives as long as what is returned. Errors: private_agent_failed.
Result<std::shared_ptr<ssh::PrivateAgent>> unlock_keys(std::vector<ssh::Target>&, const Env&);

}  // namespace kfab::commands

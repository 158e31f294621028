#pragma once

#include <string>
#include <vector>

#include "commands/command.hpp"
#include "commands/env.hpp"
#include "ssh/target.hpp"

namespace kfab::commands {

// `kfab hostkeys list`: what is known of each target and from where, into an output that has the site already. Nobody is
// asked. The answer is no when nothing is known of some node, or one key is stored for several.
void list_host_keys(const std::vector<ssh::Target>&, const std::string& store, bool all, Env&, CommandOutput&);

}  // namespace kfab::commands

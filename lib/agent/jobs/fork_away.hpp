#pragma once

#include <functional>
#include <string>

#include "base/result.hpp"

namespace kfab::agent {

// Runs this very file as `<agent> job FOLDER`, in a session of its own, with init for a parent, nothing of ours open, and
// what it says on stderr in `log`. With `instead` the forked process does that. Errors: agent_job_not_started.
Status fork_away(const std::string& folder, const std::string& log, const std::function<int(const std::string& folder)>& instead = {});

}  // namespace kfab::agent

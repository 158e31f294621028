#pragma once

#include <functional>
#include <string>

#include "agent/jobs/job_folder.hpp"
#include "agent/task.hpp"

namespace kfab::agent {

// `kfab-agent job FOLDER`: does what the folder's request says, with nobody listening, and keeps what it says there. Ends
// when it is done, at the request's deadline_s, when it is asked to stop (the file, SIGTERM, SIGINT), and when what it
// says cannot be kept. Returns the exit status: 0 after "done" with ok true, 1 otherwise, 2 when it could not begin.
// `leave` ends the process at once, for a task that does not return when it is told to stop.
int run_job(const std::string& folder, const TaskFunction& task, const std::function<void(int status)>& leave, JobLimits = {});

}  // namespace kfab::agent

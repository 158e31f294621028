#pragma once

#include <functional>
#include <span>
#include <string>

#include "agent/task.hpp"

namespace kfab::agent {

// Where the agent hears and speaks, and what it can do. `leave` ends the process at once, without destructors: the
// watchdog calls it when a task does not return in time after it was told to stop.
struct ServeOptions {
  int in = 0;
  int out = 1;
  std::span<const TaskRow> tasks = all_tasks();
  std::string executable = "/proc/self/exe";   // whose SHA-256 the hello tells
  double request_timeout_s = 60;               // for the first line to come
  std::function<void(int status)> leave;
};

// One session as protocol.hpp describes it: hello, one request, one task, done. Returns the exit status. Blocks
// SIGTERM, SIGINT and SIGHUP and ignores SIGPIPE in the whole process.
int serve(const ServeOptions&);

}  // namespace kfab::agent

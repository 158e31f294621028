#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "agent/process.hpp"
#include "base/result.hpp"
#include "json/value.hpp"

namespace kfab::agent {

// What a task may use: it says what it found, asks whether it should stop, and runs child processes that die with
// the agent. All functions may be called from several threads.
class TaskContext {
 public:
  virtual ~TaskContext() = default;

  // One message to the host: an object with a "type". Written as one whole line.
  virtual void emit(const json::Value& message) = 0;
  // True from the moment the owner cancelled, vanished or fell silent, or the deadline passed. A task that sees it
  // returns soon: after agent::stop_grace_s the process ends under it.
  virtual bool stop_requested() const = 0;
  // Seconds until the deadline of the request; never negative.
  virtual double remaining_s() const = 0;

  // Asks the host for a turn of this name and waits for it, without limit; time that was waited is added to the deadline.
  // False when the task is to stop. Without a host to ask it is the task's turn at once.
  virtual bool wait_for_turn(const std::string& name) { (void)name; return !stop_requested(); }
  virtual void end_turn(const std::string& name) { (void)name; }
  // The host's clock as it gave the last turn, in seconds since 1970; nothing where it did not tell.
  virtual std::optional<double> host_now() const { return std::nullopt; }

  // {"type":"progress",...}; `total` 0 when it is not known.
  void progress(std::string_view step, double done, double total, std::string_view message);
  // run_process() that also ends at stop_requested() and at the deadline.
  ProcessResult run(ProcessSpec);
};

// A task: reads its own members of the request, emits its messages, and returns ok or the reason why it could not do
// its work at all. A finding about the node (a failed resource, a missing GPU) is a message, not an error.
using TaskFunction = std::function<Status(const json::Value& request, TaskContext&)>;

struct TaskRow {
  std::string_view name;
  TaskFunction run;
};

// What this agent can do: boot, clock, detach, facts, job, provision, reboot, relay, selftest, test, undo.
std::span<const TaskRow> all_tasks();

}  // namespace kfab::agent

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.hpp"

namespace kfab::agent {

// A child process to run: by argv, never through a shell unless argv[0] is one. It gets /dev/null or `input` as stdin,
// its own process group, default signal handling, and the agent's environment with `environment` ("NAME=value") on top.
struct ProcessSpec {
  std::vector<std::string> argv;                 // argv[0] without a slash is searched in PATH
  std::vector<std::string> environment{};
  std::string directory{};                       // empty: the agent's own
  std::string input{};
  double timeout_s = 60;
  std::size_t max_output_bytes = 256 * 1024;     // of each of stdout and stderr; the rest is read and dropped
  bool ends_at_cap = false;                      // past that it is stopped with its whole group, instead of heard to its end
  bool ends_with_caller = false;                 // the kernel kills it when the thread that waits for it dies, however that dies
};

// How it ended. `exited` has exit_status, `signalled` has signal; with `timed_out` and `stopped` its whole group was
// killed; `not_found` and `not_started` mean that nothing ran, and `error` says why.
struct ProcessResult {
  enum class End : std::uint8_t { exited, signalled, timed_out, stopped, not_found, not_started };
  End end = End::not_started;
  int exit_status = -1;
  int signal = 0;
  std::string out, err;
  bool truncated = false;
  double duration_s = 0;
  std::string error;

  bool success() const { return end == End::exited && exit_status == 0; }
  // "exit status 3", "killed by signal 9 (KILL)", "no answer within 60 s", ... for messages.
  std::string how() const;
  // The last line or two of what it said, stderr first: for messages.
  std::string last_words(std::size_t max_chars = 300) const;
};

// Runs it to its end, its timeout, or until `stop` says so (asked every 20 ms); whatever remains of its process group
// afterwards is killed in the last two cases. Output that a surviving grandchild holds open is waited for 200 ms only.
ProcessResult run_process(const ProcessSpec&, const std::function<bool()>& stop = {});

// Runs `work` in a forked copy of this process and returns what it wrote by its return value, or why not: for calls
// that can hang in the kernel (statvfs on a dead NFS server). `work` must not touch locks other threads may hold. In no time
// (0 s or less) there is no answer.
Result<std::string> run_bounded(double timeout_s, const std::function<std::string()>& work);

// Kills every process of a session but its leader, and looks again until there is none, for a second at most: what a process that
// had a session of its own has left behind, whatever signals that ignores. The leader may not have been reaped yet: until then
// its number is nobody else's.
void end_session(int session);

// Kills every process group that this process started and that still runs. Async-signal-safe.
void kill_all_process_groups();

}  // namespace kfab::agent

#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "ssh/session.hpp"

namespace kfab::ssh {

// A command on this machine: /bin/sh -c in a session of its own, as sshd does it, its three streams pipes that do not block.
class Process {
 public:
  // Errors: local_spawn_failed.
  static Result<std::unique_ptr<Process>> start(const std::string& line);
  // A program by its arguments, the first of which is its path, without a shell, in a session of its own without a
  // terminal. It gets SIGTERM when the thread that started it ends, however it ends. Errors: local_spawn_failed.
  static Result<std::unique_ptr<Process>> start_program(const std::vector<std::string>& arguments, const std::vector<std::string>& environment);
  ~Process();   // kills the group if it was not reaped
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  int stdin_fd() const { return in_; }     // -1 once closed
  int stdout_fd() const { return out_; }
  int stderr_fd() const { return err_; }
  int exit_fd() const { return pidfd_; }   // readable when it ended; -1 where the kernel has no pidfd: ask again soon

  // What came on one stream; `got` stays valid until the next read of any process. `done` with nothing: its end.
  Step read(Stream, std::string_view& got);
  // `failed` when nobody reads it any more.
  Step write(std::string_view bytes, std::size_t& written);
  void close_input();

  struct Ended { std::optional<int> exit_status{}; std::string signal{}; };
  std::optional<Ended> reap();   // nothing while it runs
  void kill_group();

 private:
  Process() = default;
  pid_t pid_ = -1;
  bool reaped_ = false;
  int in_ = -1, out_ = -1, err_ = -1, pidfd_ = -1;
};

}  // namespace kfab::ssh

#pragma once

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/cancel.hpp"
#include "base/result.hpp"

// What the demonstration starts on this machine, and how it is sure to stop it.
namespace kfab::commands {

// A child process of the demonstration: started by argv, never through a shell.
struct ChildSpec {
  std::vector<std::string> argv;                // argv[0] is a path
  std::vector<std::string> environment;         // "NAME=value", on top of kfab's own
  std::filesystem::path directory;
  std::filesystem::path output;                 // stdout goes to this file; empty: where kfab's own goes
  std::filesystem::path errors;                 // stderr likewise
  bool own_group = false;                       // out of reach of the terminal's ^C
};
Result<pid_t> start_child(const ChildSpec&);
// Waits for its end; passes SIGTERM on to it when the token asks to stop. The exit status, 128 + signal if it was killed.
int wait_child(pid_t, const CancelToken&);

// An sshd of our own on loopback, with fresh keys, for the user who runs kfab. Stopped, by its pid, when the object goes.
class DemoSshd {
 public:
  // Makes keys, configuration and known_hosts in `directory` and starts it on `addresses`. Errors:
  // local_program_missing, demo_failed with the end of its log.
  static Result<std::unique_ptr<DemoSshd>> start(const std::filesystem::path& directory,
                                                 const std::vector<std::string>& addresses, const CancelToken&);
  ~DemoSshd();
  DemoSshd(const DemoSshd&) = delete;
  DemoSshd& operator=(const DemoSshd&) = delete;
  int port() const { return port_; }

 private:
  DemoSshd() = default;
  pid_t pid_ = -1;
  int port_ = 0;
  bool made_privsep_directory_ = false;
};

// The login name of the user who runs kfab.
std::string own_user();

}  // namespace kfab::commands

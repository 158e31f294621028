#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "ssh/target.hpp"
#include "ssh/transport.hpp"

// What ssh(1) is told, and what is made of what it did. Pure: no process, no file.
namespace kfab::ssh {

// What one connection by ssh(1) needs besides its target.
struct OpensshPlace {
  std::string program;          // of ssh, absolute
  std::string directory;        // private (0700); without blanks or anything that a shell reads, and short (sun_path)
  std::string home;             // for the default known_hosts
  bool knows_target = false;    // kfab knows a host key of the target, so that a new one is not to be accepted
};

// A configuration for ssh(1) that says all that kfab wants, for the target and its jump hosts, and then includes
// Target::config_files: what comes first stands. It is the same text for the same way to the same machine, and its
// digest names the control socket, so those who go the same way share a connection. `destination` is what to connect to
// under it. Errors: openssh_not_possible for values that its syntax cannot hold or that a shell might read.
struct OpensshConfig {
  std::string text;
  std::string name;          // of the file in the directory
  std::string destination;
};
Result<OpensshConfig> openssh_config(const Target&, const Deadlines&, const OpensshPlace&);

// The arguments of ssh, the program's name first. `shared`: over a connection that others use and that stays. `log` is the path of its log; jump hosts log to LOG.j1, LOG.j2, ...
// (from the outermost), which they take from the variable openssh_log_variable.
std::vector<std::string> openssh_arguments(const OpensshConfig&, const OpensshPlace&, const std::string& log, const std::string& line,
                                           bool shared = true);
inline constexpr std::string_view openssh_log_variable = "KFAB_SSH_LOG";

// The environment for it: ours, without what would make ssh ask anybody anything.
std::vector<std::string> openssh_environment(const std::vector<std::string>& ours, const std::string& agent_socket, const std::string& log);

// What the log of ssh (LogLevel DEBUG2) proves. Text of the node that stands in it is on lines of its own kind; a node
// that forges lines can only speak about itself.
class OpensshLog {
 public:
  void add(std::string_view bytes);
  void finish();   // no more comes: a last line without an end counts

  Phase phase = Phase::resolve;       // the last one that was reached
  bool command_started = false;
  std::optional<int> exit_status{};   // of the command, as the server sent it: not of ssh itself
  std::vector<int> signalled{};       // channels whose command was ended by a signal; ssh does not tell which
  bool is_master = false;             // this ssh keeps the control socket
  std::optional<int> master_channel{};   // the channel of our command in another ssh, the master
  bool master_lost = false;
  std::string host_key;               // "ssh-ed25519 SHA256:..." as the server showed it
  std::vector<std::string> said{};    // what ssh says to people, the newest last, bounded
  std::vector<std::string> offered{};   // keys that were offered, bounded
  std::string methods;                // that the server would take

 private:
  void line(std::string_view);
  std::string rest_;
  bool skipping_ = false, status_came_ = false;
};

// What is known when ssh has ended.
struct OpensshEvidence {
  std::optional<int> ssh_status{};    // of the process; absent when a signal ended it
  bool end_of_output = false;
  OpensshLog log{};
  bool signalled_in_master = false;   // the master's log says that a signal ended our command
  std::vector<OpensshLog> jumps{};    // outermost first; of those that wrote one
};

// The outcome, by the rules of transport.hpp: ok and failed only where the log shows that the node sent the status and
// ssh ended with the same; 255 is the command's own only then. Everything else is told by phase and by what ssh said.
CommandEnd judge_openssh(const OpensshEvidence&, const Target&, const std::string& who);

// "OpenSSH_9.2p1 Debian-2": the first word or two of what `ssh -V` prints; empty when it is not OpenSSH's.
std::string openssh_version(std::string_view said);

}  // namespace kfab::ssh

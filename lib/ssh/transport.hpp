#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/diagnostic.hpp"
#include "base/words.hpp"
#include "ssh/target.hpp"

namespace kfab::ssh {

// The stations of a command on its way. A result names the one in which it ended: `close` when all went well.
enum class Phase : std::uint8_t { resolve, connect, banner, kex, auth, channel, command, close };
std::string_view to_string(Phase);

// How long each phase may last. `idle` is the longest silence of a running command and `total` the longest time from
// its start to its end; both are off when zero.
struct Deadlines {
  using ms = std::chrono::milliseconds;
  ms resolve = std::chrono::seconds(10);
  ms connect = std::chrono::seconds(10);
  ms banner = std::chrono::seconds(10);
  ms kex = std::chrono::seconds(15);
  ms auth = std::chrono::seconds(20);
  ms channel = std::chrono::seconds(10);
  ms idle{0};
  ms total{0};
  ms close = std::chrono::seconds(5);
};

// What a connection is for: to run a command, or only to see the host keys of the target. For the latter there is a
// connection for each type of key, also of those that libssh2 cannot ask for, which goes as far as the server's proof
// that it holds the key; nothing is checked, nobody logs in, and the end is `ok` once all keys were seen.
enum class Purpose : std::uint8_t { run, host_keys };

// What to run. `line` is handed to the login shell of the node as it is (to /bin/sh -c by the local transport): it may
// be made only of constants and of the operator's own words, never of anything a node or a manifest said.
struct Command {
  std::string line;
  Deadlines deadlines{};
  std::size_t max_stdout_bytes = std::size_t{4} << 20;   // what is past the cap is dropped and counted
  std::size_t max_stderr_bytes = std::size_t{1} << 20;
  bool keep_connection = false;   // the next command to this node, with the same set, goes over the same connection
  Purpose purpose = Purpose::run;
};

// How a command ended. `ok` needs proof: the exit status 0 itself arrived, the channel was closed in order, and
// neither a signal nor a transport error was seen. Every other outcome has a `why`.
struct CommandEnd {
  NodeOutcome outcome = NodeOutcome::unreachable;
  Phase phase = Phase::resolve;
  std::optional<int> exit_status{};    // absent when none arrived
  std::string signal{};                // "KILL", without SIG; empty when none
  std::uint64_t truncated_bytes = 0;   // of both streams, past the caps
  double duration_s = 0;               // of the whole, from launch
  std::optional<Diagnostic> why{};     // present unless ok
};

// Bytes that are taken when they are due, so that they need not all be in memory. Asked by several threads at once.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // The `count` bytes from `at` on. False when they are not to be had any more; the source remembers why.
  virtual bool read(std::uint64_t at, char* into, std::size_t count) const = 0;
};

// The hand on a running command. Valid from on_launch until on_end has returned; used only on the driving thread.
class CommandPeer {
 public:
  virtual ~CommandPeer() = default;
  // Queues bytes for the command's standard input. False, and nothing is taken, when more than 4 MiB already wait or
  // the input is closed.
  virtual bool write(std::string bytes) = 0;
  // The same without a copy, for what many nodes are sent: the bytes must outlive the command. Never refused for size.
  virtual bool write_view(std::string_view bytes) = 0;
  // `count` bytes of a source, from `from` on; it must outlive the command. Where it fails the connection is lost.
  virtual bool write_from(const ByteSource&, std::uint64_t from, std::uint64_t count) = 0;
  virtual void close_input() = 0;   // after what is queued
  // Ends it now: the connection is cut, a local process group is killed. on_end still comes, in a later drive().
  virtual void abort() = 0;
};

// The observer of one command. on_end comes exactly once, last, whatever happens; the others may never come.
// Implementations do not throw.
class CommandListener {
 public:
  virtual ~CommandListener() = default;
  virtual void on_launch(CommandPeer&) {}   // before the first phase: only abort() is of use yet
  virtual void on_phase(Phase) {}
  // The server hung up before anybody was logged in, as one does that has too many logins under way (MaxStartups). It
  // is tried again after a pause, from the first phase; `attempt` counts the tries so far, from 1.
  virtual void on_hung_up(int /*attempt*/) {}
  virtual void on_start(CommandPeer&) {}    // the command runs
  virtual void on_host_key(std::string_view /*blob*/) {}   // of Purpose::host_keys: a key or a certificate, proven
  virtual void on_stdout(std::string_view) {}
  virtual void on_stderr(std::string_view) {}
  virtual void on_end(const CommandEnd&) = 0;
};

// Runs commands on targets. Everything happens on the thread that calls drive(): listeners need no locks. An object
// of this class and its commands belong to one thread. Destroying it cuts what still runs, without another call to
// any listener.
class Transport {
 public:
  virtual ~Transport() = default;
  // Begins; returns at once and calls no listener yet. The listener is kept until its on_end has returned.
  virtual void launch(const Target&, const Command&, std::shared_ptr<CommandListener>) = 0;
  // Handles what is ready; if nothing is, waits for it, but not longer than `at_most`. Returns at once when no
  // command runs. What takes longer than `at_most` to handle is put off to the next call, so that whoever drives comes to
  // his other duties: hundreds of nodes may have come to their end at once.
  virtual void drive(std::chrono::milliseconds at_most) = 0;
  // Whether something was put off: nodes have said more than listeners know.
  virtual bool behind() const { return false; }
  virtual std::size_t running() const = 0;
};

// What the transports take from the user's environment.
struct TransportOptions {
  std::string home{};           // for default keys and known_hosts; empty: none
  std::string user{};           // for targets that name none
  std::string agent_socket{};   // of ssh-agent; empty: none
  std::string ssh_program{};    // ssh(1), absolute, for targets that ask for openssh; empty: there is none
  unsigned reactors = 0;        // threads that run sessions; 0: one per core
};
TransportOptions options_from_environment();   // HOME, SSH_AUTH_SOCK, PATH and the user database

// All transports behind one: each target goes to the one it names. Sessions run on one reactor per core, each on a
// thread of its own, which are started with the first command; listeners are called by drive() all the same.
std::unique_ptr<Transport> make_transport(TransportOptions);

// "1.10.0": the libssh2 in use, and what it cannot do, as `kfab version` and `kfab doctor` tell it.
std::string libssh2_version_text();
bool libssh2_signs_rsa_sha2();   // RSA keys work with today's sshd: from 1.11.0

}  // namespace kfab::ssh

// The transport over asio: one reactor - an io_context on a thread of its own - per core, one coroutine per command. What
// libssh2, ssh-agent, the name service and local processes do stands in their own files as steps that never block; here
// is only when to take them, and when to give up.
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <asio.hpp>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <random>
#include <thread>
#include <unordered_map>

#include "base/codes/ssh.hpp"
#include "base/text.hpp"
#include "ssh/auth.hpp"
#include "ssh/codec.hpp"
#include "ssh/host_key_exchange.hpp"
#include "ssh/host_keys.hpp"
#include "ssh/input_queue.hpp"
#include "ssh/openssh.hpp"
#include "ssh/openssh_masters.hpp"
#include "ssh/outcome.hpp"
#include "ssh/process.hpp"
#include "ssh/resolver.hpp"
#include "ssh/session.hpp"
#include "ssh/transport.hpp"

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 sees asio's coroutine frames allocated by aligned_alloc and freed by their own operator delete, and takes the
// pair, which belongs together, for a mistake once both are inlined here.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif

extern char** environ;   // POSIX; <unistd.h> declares it only with extensions

namespace kfab::ssh {
namespace {

using SteadyClock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Every wait is looked at again after this even if nothing woke it: a missed wake-up costs time, never a node.
constexpr milliseconds slow_tick{500};
// libssh2 sometimes says "again" without saying what it waits for.
constexpr milliseconds short_tick{50};
// An sshd with too many logins under way (MaxStartups) hangs up before its banner: nothing has happened yet, so it
// may be tried again.
constexpr int connect_attempts = 12;
constexpr milliseconds first_backoff{150}, longest_backoff{2000};
constexpr std::chrono::seconds retry_for{15};
// How long the output of a local command that ended is waited for, when something it left behind holds the pipes.
constexpr milliseconds orphan_grace{2000};
constexpr int reads_per_turn = 16;   // then the other commands have their turn
// How long a node may queue for the way through its jump hosts, whose own deadlines are as long as those of a node.
constexpr std::chrono::seconds jump_patience{120};
// A running command that says nothing is asked for a sign of life this often, and given up after the second.
constexpr std::chrono::seconds keepalive_interval{15}, keepalive_limit{60};

milliseconds with_jitter(milliseconds pause) {
  thread_local std::minstd_rand random{std::random_device{}()};
  return pause + milliseconds(std::uniform_int_distribution<int>(0, 100)(random));
}

struct Shared;

#include "ssh/mailbox.inc"
#include "ssh/flow.inc"
#include "ssh/jump.inc"

// What all reactors share, from their threads.
struct Common {
  explicit Common(TransportOptions given)
      : options(std::move(given)), host_keys(options.home), keys(options.home, options.agent_socket) {}
  const TransportOptions options;
  HostKeys host_keys;
  KeyRing keys;
  OpensshMasters masters;
  Mailbox mailbox;
};

class Link;

// Connections whose last command is over and that the next one to the same node takes.
class Parked {
 public:
  Parked();
  ~Parked();
  std::unique_ptr<Link> take(const Target&);
  void put(const Target&, std::unique_ptr<Link>);

 private:
  static constexpr std::size_t most = 4096;   // per reactor; those that have waited longest go first
  // Everything that decides where a connection leads and as whom.
  static std::string key(const Target& target) {
    std::string key = fmt::format("{}\n{}\n{}\n{}", target.node, target.address, target.port, target.user);
    for (const auto& file : target.identity_files) key += "\n" + file;
    for (const auto& hop : target.via) key += fmt::format("\n>{}\n{}\n{}", hop->address, hop->port, hop->user);
    return key;
  }
  std::unordered_map<std::string, std::unique_ptr<Link>> links_;
  std::deque<std::string> order_;
};

// What the commands of one reactor share.
struct Shared {
  explicit Shared(Common& all) : common(all) {}
  ~Shared() { jumps.forget_all(); }
  Common& common;
  Jumps jumps;
  asio::io_context io{1};   // commands that still run go with it, and use the others on their way out
  Parked parked;            // last: these use it
};

#include "ssh/link.inc"
#include "ssh/jump_connection.inc"
#include "ssh/jump_probe.inc"

Parked::Parked() = default;
Parked::~Parked() = default;
std::unique_ptr<Link> Parked::take(const Target& target) {
  const auto found = links_.find(key(target));
  if (found == links_.end()) return nullptr;
  auto link = std::move(found->second);
  links_.erase(found);
  return link;
}
void Parked::put(const Target& target, std::unique_ptr<Link> link) {
  const std::string name = key(target);
  links_[name] = std::move(link);
  order_.push_back(name);
  for (; order_.size() > most; order_.pop_front()) links_.erase(order_.front());
}

#include "ssh/running.inc"
#include "ssh/remote_command.inc"
#include "ssh/piped_command.inc"
#include "ssh/local_command.inc"
#include "ssh/host_key_command.inc"
#include "ssh/openssh_command.inc"

// One thread and what runs on it.
class Reactor {
 public:
  explicit Reactor(Common& common) : shared_(common), thread_([this] { run(); }) {}
  ~Reactor() { halt(); }
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  void launch(const Target& target, const Command& command, std::shared_ptr<CommandListener> listener) {
    auto to = std::make_shared<Addressee>();
    to->listener = std::move(listener);
    std::shared_ptr<Running> running;
    if (command.purpose == Purpose::host_keys) running = std::make_shared<HostKeyCommand>(shared_, target, command, to);
    else if (target.transport == TransportKind::local) running = std::make_shared<LocalCommand>(shared_, target, command, to);
    else if (target.transport == TransportKind::openssh) running = std::make_shared<OpensshCommand>(shared_, target, command, to);
    else running = std::make_shared<RemoteCommand>(shared_, target, command, to);
    to->running = running.get();
    asio::post(shared_.io, [running, io = &shared_.io] { asio::co_spawn(*io, running->live(), asio::detached); });
  }

  // Nothing runs on it any more; what it holds is still there.
  void halt() {
    shared_.io.stop();
    if (thread_.joinable()) thread_.join();
  }

 private:
  void run() {
    // ^C and the like are the main thread's affair.
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
    const auto work = asio::make_work_guard(shared_.io);
    shared_.io.run();
  }

  Shared shared_;
  std::thread thread_;
};

class ReactorTransport final : public Transport {
 public:
  explicit ReactorTransport(TransportOptions options) : common_(std::move(options)) {
    constexpr unsigned most = 16;
    const unsigned wanted = common_.options.reactors != 0 ? common_.options.reactors : std::thread::hardware_concurrency();
    reactors_.resize(std::clamp(wanted, 1U, most));
  }
  ~ReactorTransport() override {
    for (const auto& reactor : reactors_) {
      if (reactor) reactor->halt();
    }
    // What was not told keeps commands, which must be gone before the reactors that they ran on.
    letters_.clear();
    common_.mailbox.clear();
    reactors_.clear();
  }

  void launch(const Target& target, const Command& command, std::shared_ptr<CommandListener> listener) override {
    // A node stays with its reactor, where its parked connection is.
    auto& reactor = reactors_[std::hash<std::string>{}(target.node) % reactors_.size()];
    if (!reactor) reactor = std::make_unique<Reactor>(common_);
    ++running_;
    reactor->launch(target, command, std::move(listener));
  }

  void drive(std::chrono::milliseconds at_most) override {
    if (running_ == 0) return;
    if (delivered_ == letters_.size()) {
      delivered_ = 0;
      common_.mailbox.take(letters_, at_most);
    }
    const auto until = std::chrono::steady_clock::now() + at_most;
    while (delivered_ < letters_.size()) {
      Letter letter = std::move(letters_[delivered_++]);
      deliver(letter);
      if (std::chrono::steady_clock::now() >= until) return;
    }
  }
  bool behind() const override { return delivered_ < letters_.size(); }

  std::size_t running() const override { return running_; }

 private:
  void deliver(Letter& letter) {
    Addressee& to = *letter.to;
    CommandListener& listener = *to.listener;
    switch (letter.kind) {
      case Letter::Kind::launch: listener.on_launch(*to.running); break;
      case Letter::Kind::phase: listener.on_phase(letter.phase); break;
      case Letter::Kind::hung_up: listener.on_hung_up(letter.attempt); break;
      case Letter::Kind::start: listener.on_start(*to.running); break;
      case Letter::Kind::host_key: listener.on_host_key(letter.bytes); return;
      case Letter::Kind::out: listener.on_stdout(letter.bytes); break;
      case Letter::Kind::err: listener.on_stderr(letter.bytes); break;
      case Letter::Kind::end:
        --running_;
        listener.on_end(*letter.end);
        to.running = nullptr;
        to.listener.reset();
        return;
    }
    if (letter.bytes.empty()) return;
    const std::size_t before = to.unread_bytes.fetch_sub(letter.bytes.size(), std::memory_order_relaxed);
    if (before >= Running::most_unread_bytes) to.running->wake_from_outside();
  }

  Common common_;
  std::vector<Letter> letters_;
  std::size_t delivered_ = 0;   // of them
  std::size_t running_ = 0;
  std::vector<std::unique_ptr<Reactor>> reactors_;
};

}  // namespace

std::unique_ptr<Transport> make_transport(TransportOptions options) {
  return std::make_unique<ReactorTransport>(std::move(options));
}

}  // namespace kfab::ssh

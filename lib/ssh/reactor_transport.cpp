// The transport over asio: one io_context, run by whoever calls drive(), and one coroutine per command. What libssh2,
// ssh-agent, the name service and local processes do stands in their own files as steps that never block; here is
// only when to take them, and when to give up.
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <asio.hpp>
#include <cerrno>
#include <cstring>
#include <exception>
#include <limits>

#include "base/text.hpp"
#include "ssh/auth.hpp"
#include "ssh/host_keys.hpp"
#include "ssh/input_queue.hpp"
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
constexpr int connect_attempts = 4;
constexpr milliseconds first_backoff{150};
// How long the output of a local command that ended is waited for, when something it left behind holds the pipes.
constexpr milliseconds orphan_grace{2000};
constexpr int reads_per_turn = 16;   // then the other commands have their turn

#include "ssh/running.inc"
#include "ssh/remote_command.inc"
#include "ssh/local_command.inc"

class ReactorTransport final : public Transport {
 public:
  explicit ReactorTransport(TransportOptions options) : shared_(std::make_unique<Shared>(std::move(options))) {}

  void launch(const Target& target, const Command& command, std::shared_ptr<CommandListener> listener) override {
    std::shared_ptr<Running> running;
    if (target.transport == TransportKind::local) running = std::make_shared<LocalCommand>(*shared_, target, command, std::move(listener));
    else running = std::make_shared<RemoteCommand>(*shared_, target, command, std::move(listener));
    ++shared_->running;
    asio::post(shared_->io, [running, io = &shared_->io] { asio::co_spawn(*io, running->live(), asio::detached); });
  }

  void drive(std::chrono::milliseconds at_most) override {
    if (shared_->running == 0) return;
    shared_->io.restart();
    if (shared_->io.run_one_for(at_most) > 0) shared_->io.poll();
  }

  std::size_t running() const override { return shared_->running; }

 private:
  std::unique_ptr<Shared> shared_;
};

}  // namespace

std::unique_ptr<Transport> make_transport(TransportOptions options) {
  return std::make_unique<ReactorTransport>(std::move(options));
}

}  // namespace kfab::ssh

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

// Over SSH, by libssh2.
class RemoteCommand final : public Running {
 public:
  using Running::Running;
  ~RemoteCommand() override { drop(); }

 private:
  asio::awaitable<CommandEnd> run() override {
    milliseconds backoff = first_backoff;
    for (int attempt = 1;; ++attempt) {
      std::optional<CommandEnd> end = co_await connect();
      if (!end) end = co_await handshake();
      if (!end) end = co_await log_in();
      if (!end) end = co_await start();
      if (!end) end = co_await converse();
      const bool hung_up = hung_up_early_;
      drop();
      if (!hung_up || attempt == connect_attempts) co_return std::move(*end);
      listener_->on_hung_up(attempt);
      const auto again_at = SteadyClock::now() + backoff + milliseconds(std::rand() % 100);
      while (SteadyClock::now() < again_at) {
        if (!co_await pause(std::chrono::ceil<milliseconds>(again_at - SteadyClock::now()))) co_return stopped();
      }
      backoff *= 2;
    }
  }

  // The socket is shut before the session goes, so that nothing libssh2 still wants to say can block or linger.
  void drop() {
    hung_up_early_ = false;
    if (socket_) ::shutdown(socket_->fd(), SHUT_RDWR);
    session_.reset();
    socket_.reset();
  }

  asio::awaitable<bool> session_ready() {
    const Session::Want want = session_->want();
    socket_->arm(true, want.write, waker());
    co_return co_await pause(want.read || want.write ? slow_tick : short_tick);
  }

  asio::awaitable<std::optional<CommandEnd>> connect() {
    enter(Phase::resolve, command_.deadlines.resolve);
    const auto lookup = Lookup::start(target_.address, target_.port);
    if (!lookup->done()) {
      const auto answer = watch_copy(shared_.io, lookup->fd());
      while (!lookup->done()) {
        if (answer) answer->arm(true, false, waker());
        if (!co_await pause(answer ? slow_tick : short_tick)) co_return stopped();
      }
    }
    if (lookup->endpoints().empty()) {
      co_return ended(NodeOutcome::unreachable, phase_,
                      error(Code::ssh_resolve_failed, fmt::format("{}: cannot resolve {}: {}", who(), one_line(target_.address), lookup->why())));
    }
    enter(Phase::connect, command_.deadlines.connect);
    int failed = 0;
    for (const Endpoint& endpoint : lookup->endpoints()) {
      failed = begin_connect(endpoint);
      while (failed == EINPROGRESS) {
        socket_->arm(false, true, waker());
        if (!co_await pause()) co_return stopped();
        failed = connect_result();
      }
      if (failed == 0) co_return std::nullopt;
      socket_.reset();
    }
    co_return ended(NodeOutcome::unreachable, phase_,
                    error(Code::ssh_connect_failed,
                          fmt::format("{}: cannot connect to {} port {}: {}", who(), one_line(target_.address), target_.port, std::strerror(failed))));
  }

  int begin_connect(const Endpoint& endpoint) {
    const int fd = ::socket(endpoint.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno;
    socket_ = std::make_unique<Watch>(shared_.io, fd);
    // A peer that vanished is noticed by the kernel: after a minute of unanswered data or of unanswered probes.
    struct Option { int level, name, value; };
    constexpr Option options[] = {{IPPROTO_TCP, TCP_NODELAY, 1},     {SOL_SOCKET, SO_KEEPALIVE, 1},  {IPPROTO_TCP, TCP_KEEPIDLE, 30},
                                  {IPPROTO_TCP, TCP_KEEPINTVL, 10}, {IPPROTO_TCP, TCP_KEEPCNT, 3}, {IPPROTO_TCP, TCP_USER_TIMEOUT, 60'000}};
    for (const Option& option : options) ::setsockopt(fd, option.level, option.name, &option.value, sizeof option.value);
    const auto* address = static_cast<const sockaddr*>(static_cast<const void*>(&endpoint.address));
    return ::connect(fd, address, endpoint.size) == 0 ? 0 : errno;
  }

  int connect_result() const {
    pollfd ready{socket_->fd(), POLLOUT, 0};
    if (::poll(&ready, 1, 0) == 0) return EINPROGRESS;
    int failed = 0;
    socklen_t size = sizeof failed;
    return ::getsockopt(socket_->fd(), SOL_SOCKET, SO_ERROR, &failed, &size) == 0 ? failed : errno;
  }

  asio::awaitable<std::optional<CommandEnd>> handshake() {
    auto types = shared_.host_keys.known_types(target_);
    if (!types) co_return ended(NodeOutcome::refused, Phase::kex, types.error());
    session_ = Session::open(socket_->fd());
    if (!session_) co_return ended(NodeOutcome::unreachable, phase_, error(Code::internal, who() + ": libssh2 cannot make a session"));
    session_->prefer_host_keys(*types);
    enter(Phase::banner, command_.deadlines.banner);
    for (;;) {
      const Step shaken = session_->handshake();
      if (phase_ == Phase::banner && session_->banner_seen()) enter(Phase::kex, command_.deadlines.kex);
      if (shaken == Step::done) break;
      if (shaken == Step::failed) co_return handshake_failed();
      if (!co_await session_ready()) co_return stopped();
    }
    if (auto trusted = shared_.host_keys.check(target_, session_->host_key(), Session::host_key_types()); !trusted) {
      co_return ended(NodeOutcome::refused, Phase::kex, trusted.error());
    }
    co_return std::nullopt;
  }

  CommandEnd handshake_failed() {
    hung_up_early_ = session_->connection_broken();
    if (phase_ == Phase::banner || hung_up_early_) {
      return ended(NodeOutcome::unreachable, phase_,
                   error(Code::ssh_not_ssh, fmt::format("{}: {} port {} hung up or does not speak SSH: {}", who(), one_line(target_.address),
                                                        target_.port, session_->error_text())));
    }
    return ended(NodeOutcome::unreachable, phase_, error(Code::ssh_kex_failed, fmt::format("{}: {}", who(), session_->error_text())));
  }

  asio::awaitable<std::optional<CommandEnd>> log_in() {
    enter(Phase::auth, command_.deadlines.auth);
    Authenticator authenticator(*session_, target_, target_.user.empty() ? shared_.options.user : target_.user, shared_.keys);
    std::unique_ptr<Watch> agent;
    for (;;) {
      const Step logged_in = authenticator.step(SteadyClock::now());
      if (logged_in == Step::done) co_return std::nullopt;
      if (logged_in == Step::failed) co_return ended(NodeOutcome::refused, phase_, authenticator.why());
      bool go_on = true;
      if (const AgentClient* client = authenticator.waiting_for_agent()) {
        agent = watch_copy(shared_.io, client->fd());
        if (agent) agent->arm(true, client->wants_write(), waker());
        go_on = co_await pause(agent ? slow_tick : short_tick);
        agent.reset();
      } else {
        go_on = co_await session_ready();
      }
      if (!go_on) co_return stopped();
    }
  }

  asio::awaitable<std::optional<CommandEnd>> start() {
    enter(Phase::channel, command_.deadlines.channel);
    Step started;
    while ((started = session_->open_channel()) == Step::again) {
      if (!co_await session_ready()) co_return stopped();
    }
    if (started == Step::done) {
      while ((started = session_->exec(command_.line)) == Step::again) {
        if (!co_await session_ready()) co_return stopped();
      }
    }
    if (started == Step::done) co_return std::nullopt;
    if (session_->connection_broken()) {
      co_return ended(NodeOutcome::unreachable, phase_, error(Code::ssh_connection_lost, fmt::format("{}: connection lost: {}", who(), session_->error_text())));
    }
    co_return ended(NodeOutcome::refused, phase_,
                    error(Code::ssh_channel_refused, fmt::format("{}: sshd does not start the command: {}", who(), session_->error_text())));
  }

  // A call that libssh2 left half done because the socket was full must be the next one that writes (its transport
  // keeps the half-written packet by address): what may come next is told by this.
  enum class Due { anything, input, read };

  asio::awaitable<CommandEnd> converse() {
    enter_command();
    listener_->on_start(*this);
    EndEvidence evidence;
    Due due = Due::anything;
    bool eof_sent = false, open = true;
    while (open) {
      bool progressed = false;
      if (due != Due::read) {
        due = Due::anything;
        if (auto lost = feed(due, eof_sent, progressed)) evidence.transport_error = std::move(lost);
      }
      if (due != Due::input && !evidence.transport_error) {
        due = Due::anything;
        open = drain(due, progressed, evidence);
      }
      if (evidence.transport_error || !open) break;
      if (progressed) co_await let_others();
      if (progressed ? !going() : !co_await session_ready()) co_return cut(evidence);
    }
    while (!evidence.transport_error && !session_->close_seen()) {
      const Step closed = session_->await_close();
      if (closed == Step::failed) evidence.transport_error = "the channel was not closed: " + session_->error_text();
      if (closed != Step::again) break;
      if (!co_await session_ready()) co_return cut(evidence);
    }
    evidence.closed = session_->close_seen();
    evidence.exit_status = session_->exit_status();
    evidence.signal = session_->exit_signal();
    CommandEnd end = judge(evidence, who());
    if (!evidence.transport_error) session_->disconnect();
    co_return end;
  }

  CommandEnd cut(const EndEvidence& evidence) const {
    CommandEnd end = stopped();
    end.exit_status = session_->exit_status();   // it ended, but something it left behind held the channel open
    if (end.exit_status && evidence.transport_error == std::nullopt && end.why) {
      end.why->help.push_back(fmt::format("the command itself ended with exit status {}, but its output was not closed", *end.exit_status));
    }
    return end;
  }

  // Writes what waits. Returns why the connection is lost, if it is.
  std::optional<std::string> feed(Due& due, bool& eof_sent, bool& progressed) {
    for (int turn = 0; !input_.empty() && turn < reads_per_turn; ++turn) {
      std::size_t written = 0;
      const Step fed = session_->write(input_.front(), written);
      if (fed == Step::failed) {
        if (!session_->channel_over()) return session_->error_text();
        input_.discard();
        return std::nullopt;
      }
      if (fed == Step::again) {   // the socket is full, or the command does not read
        if (session_->write_pending()) due = Due::input;
        return std::nullopt;
      }
      input_.consume(written);
      progressed = true;
    }
    if (!input_.empty() || !input_.closed() || eof_sent) return std::nullopt;
    const Step sent = session_->send_eof();
    if (sent == Step::again) due = Due::input;
    else eof_sent = true;
    if (sent == Step::failed && !session_->channel_over()) return session_->error_text();
    return std::nullopt;
  }

  // Reads what came. False at the end of the output.
  bool drain(Due& due, bool& progressed, EndEvidence& evidence) {
    for (int turn = 0; turn < reads_per_turn; ++turn) {
      Stream stream = Stream::out;
      std::string_view got;
      const Step read = session_->read(stream, got);
      if (read == Step::again) {
        if (session_->write_pending()) due = Due::read;
        return true;
      }
      if (read == Step::failed && !session_->channel_over()) {
        evidence.transport_error = session_->error_text();
        return true;
      }
      if (got.empty()) {
        evidence.end_of_output = true;
        return false;
      }
      deliver(stream, got);
      progressed = true;
    }
    return true;
  }

  std::unique_ptr<Watch> socket_;
  std::unique_ptr<Session> session_;
  bool hung_up_early_ = false;
};

// On this machine, through pipes.
class LocalCommand final : public Running {
 public:
  using Running::Running;

 private:
  asio::awaitable<CommandEnd> run() override {
    enter(Phase::channel, command_.deadlines.channel);
    auto started = Process::start(command_.line);
    if (!started) co_return ended(NodeOutcome::unreachable, phase_, started.error());
    process_ = std::move(*started);
    auto in = watch_copy(shared_.io, process_->stdin_fd());
    auto out = watch_copy(shared_.io, process_->stdout_fd());
    auto err = watch_copy(shared_.io, process_->stderr_fd());
    auto exit = watch_copy(shared_.io, process_->exit_fd());
    enter_command();
    listener_->on_start(*this);
    std::optional<Process::Ended> ended_with;
    std::optional<SteadyClock::time_point> read_until;
    for (;;) {
      bool progressed = feed(in);
      progressed = drain(Stream::out, out) || progressed;
      progressed = drain(Stream::err, err) || progressed;
      if (!ended_with && (ended_with = process_->reap())) {
        exit.reset();
        read_until = SteadyClock::now() + orphan_grace;
      }
      if (ended_with && !progressed && ((!out && !err) || SteadyClock::now() >= *read_until)) break;
      if (progressed) {
        co_await let_others();
        if (!going()) break;
        continue;
      }
      if (in) in->arm(false, !input_.empty(), waker());
      if (out) out->arm(true, false, waker());
      if (err) err->arm(true, false, waker());
      if (exit) exit->arm(true, false, waker());
      const bool polling = ended_with || (!exit && !ended_with);
      if (!co_await pause(polling ? short_tick : slow_tick)) break;
    }
    if (!going() && !(ended_with && !out && !err)) {
      process_->kill_group();
      process_.reset();
      co_return stopped();
    }
    EndEvidence evidence;
    evidence.end_of_output = evidence.closed = true;   // it was reaped
    evidence.exit_status = ended_with->exit_status;
    evidence.signal = ended_with->signal;
    co_return judge(evidence, who());
  }

  bool feed(std::unique_ptr<Watch>& in) {
    bool progressed = false;
    for (int turn = 0; in && !input_.empty() && turn < reads_per_turn; ++turn) {
      std::size_t written = 0;
      const Step fed = process_->write(input_.front(), written);
      if (fed == Step::again) return progressed;
      if (fed == Step::failed) {   // it does not read its input: its affair
        input_.discard();
        in.reset();
        return true;
      }
      input_.consume(written);
      progressed = true;
    }
    if (!in) input_.discard();
    if (in && input_.empty() && input_.closed()) {
      in.reset();   // the copy as well, or the command would never see the end
      process_->close_input();
    }
    return progressed;
  }

  bool drain(Stream stream, std::unique_ptr<Watch>& watch) {
    bool progressed = false;
    for (int turn = 0; watch && turn < reads_per_turn; ++turn) {
      std::string_view got;
      if (process_->read(stream, got) == Step::again) return progressed;
      progressed = true;
      if (got.empty()) watch.reset();
      else deliver(stream, got);
    }
    return progressed;
  }

  std::unique_ptr<Process> process_;
};

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

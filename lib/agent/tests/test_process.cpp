#include "agent/tests/test_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "agent/process.hpp"
#include "agent/protocol.hpp"
#include "agent/tests/child_protocol.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;
double since(SteadyTime then) { return std::chrono::duration<double>(std::chrono::steady_clock::now() - then).count(); }

constexpr double term_grace_s = 0.6;    // from SIGTERM to SIGKILL: within the agent's own stop_grace_s
constexpr double reap_grace_s = 5;      // a process stuck in a driver cannot be killed; nobody waits for it longer

struct Child {
  pid_t pid = -1;
  int out = -1, err = -1;
  std::string line, last_words;
  SteadyTime started{}, heard{}, signalled{};
  bool term_sent = false, kill_sent = false, reaped = false, over_long = false, concluded = false, unheard = false;
  int status = 0;
  TestEnd end;
};

void close_fd(int& fd) {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

bool start(Child& child, const TestOrder& order, const TestChildLaunch& launch) {
  int in[2], out[2], err[2];
  if (::pipe2(in, O_CLOEXEC) != 0) return false;
  if (::pipe2(out, O_CLOEXEC) != 0) return ::close(in[0]), ::close(in[1]), false;
  if (::pipe2(err, O_CLOEXEC) != 0) return ::close(in[0]), ::close(in[1]), ::close(out[0]), ::close(out[1]), false;
  std::vector<std::string> words = launch.argv;
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  // The order is in the pipe before anybody reads it: a child that dies at once can neither block nor signal the writer.
  const std::string text = json::dump(order.order) + "\n";
  ::fcntl(in[1], F_SETPIPE_SZ, int(text.size() + 65536));
  ::fcntl(in[1], F_SETFL, O_NONBLOCK);
  if (::write(in[1], text.data(), text.size()) != ssize_t(text.size())) {
    for (const int fd : {in[0], in[1], out[0], out[1], err[0], err[1]}) ::close(fd);
    errno = E2BIG;
    return false;
  }

  const pid_t pid = ::fork();
  if (pid == 0) {
    ::setsid();   // what it starts is known by its session, and ends with it
    ::dup2(err[1], 2);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    if (launch.argv.empty()) ::_exit(test_child_main(in[0], out[1]));
    ::dup2(in[0], 0);
    ::dup2(out[1], 1);
    ::execv(argv[0], argv.data());
    const char* why = std::strerror(errno);
    if (::write(2, why, std::strlen(why)) < 0) ::_exit(126);
    ::_exit(127);
  }
  ::close(in[0]);
  ::close(out[1]);
  ::close(err[1]);
  ::close(in[1]);
  child.pid = pid;
  child.out = out[0];
  child.err = err[0];
  child.started = child.heard = std::chrono::steady_clock::now();
  if (pid < 0) {
    close_fd(child.out);
    close_fd(child.err);
    return false;
  }
  ::fcntl(child.out, F_SETFL, O_NONBLOCK);
  ::fcntl(child.err, F_SETFL, O_NONBLOCK);
  return true;
}

// What can be read now, up to what a pipe holds: who writes faster than is read must not keep the others waiting. False at the
// end of the stream.
bool drain(int fd, const std::function<void(std::string_view)>& take) {
  constexpr std::size_t most = std::size_t{1} << 20;
  char buffer[1 << 16];
  for (std::size_t total = 0; total < most;) {
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got > 0) take({buffer, std::size_t(got)}), total += std::size_t(got);
    else if (got == 0) return false;
    else if (errno != EINTR) return errno == EAGAIN || errno == EWOULDBLOCK;
  }
  return true;
}

// Not yet reaped: so long its number, and that of its session, is nobody else's.
bool has_ended(pid_t pid) {
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

void send(Child& child, int signal) {
  if (child.reaped) return;
  ::kill(child.pid, signal);
  child.signalled = std::chrono::steady_clock::now();
}

// How it ended, in kind and words; for one that was reaped, or given up.
void say_how_it_ended(Child& child) {
  if (child.over_long) child.end.kind = TestEnd::Kind::hung;
  else if (WIFEXITED(child.status) && !child.kill_sent && (WEXITSTATUS(child.status) == 0 || (WEXITSTATUS(child.status) == test_child_stopped && child.term_sent)))
    child.end.kind = TestEnd::Kind::finished;
  else {
    child.end.kind = TestEnd::Kind::died;
    if (WIFEXITED(child.status) && WEXITSTATUS(child.status) == test_child_stopped) child.end.reason = "a signal that was not kfab's told it to end, so that it is cut short";
    else child.end.reason = WIFSIGNALED(child.status) ? fmt::format("its process was killed by signal {} ({})", WTERMSIG(child.status), ::sigabbrev_np(WTERMSIG(child.status)))
                                                      : fmt::format("its process ended with exit status {}", WEXITSTATUS(child.status));
  }
  if (!child.end.reason.empty() && !child.last_words.empty()) child.end.reason += ": " + one_line(child.last_words, 200);
}

}  // namespace

std::vector<TestEnd> run_test_processes(const std::vector<TestOrder>& orders, const TestChildLaunch& launch,
                                        const std::function<void(std::size_t, const json::Value&)>& take,
                                        const std::function<bool()>& stop, const std::function<void(std::size_t, const TestEnd&)>& ended) {
  std::vector<Child> children(orders.size());
  for (std::size_t i = 0; i < orders.size(); ++i) {
    if (start(children[i], orders[i], launch)) continue;
    children[i].reaped = true;
    children[i].end = {TestEnd::Kind::not_started, fmt::format("no process could be started: {}", std::strerror(errno)), false};
  }

  // Only the next in the order's own list: what a process makes up neither ends a turn nor prolongs one.
  const auto begins_turn = [&](std::size_t i, const json::Value& message) {
    const std::size_t next = children[i].end.turn;
    return message.string_or("type") == "turn" && next < orders[i].then.size() && message.string_or("accelerator") == orders[i].then[next];
  };
  // Who goes on to the next turn has done the last one whole, whatever was asked of it meanwhile; but who was killed over a turn is
  // heard no further.
  const auto next_turn = [&](std::size_t i) {
    Child& child = children[i];
    child.unheard = child.kill_sent;
    if (child.unheard) return;
    child.end.kind = TestEnd::Kind::finished;
    child.end.stopped = false;
    child.end.goes_on = true;
    if (ended) ended(i, child.end);
    const std::size_t next = child.end.turn + 1;
    child.end = {};
    child.end.turn = next;
    child.end.stopped = child.term_sent;
    child.started = std::chrono::steady_clock::now();
  };
  // One line, whole or what there is of it at the end. What is no object is looked at no further: there may be much of it.
  const auto line_of = [&](std::size_t i) {
    Child& child = children[i];
    const bool object = !child.line.empty() && child.line.front() == '{';
    if (auto message = object ? json::parse(child.line) : Result<json::Value>(json::Value()); message && message->is_object()) {
      if (begins_turn(i, *message)) next_turn(i);
      else if (!child.unheard) take(i, *message);
    } else if (!trim(child.line).empty()) ++child.end.unreadable;
    child.line.clear();
  };
  const auto lines_of = [&](std::size_t i, std::string_view bytes) {
    Child& child = children[i];
    child.heard = std::chrono::steady_clock::now();
    for (const char c : bytes) {
      if (c != '\n') {
        if (child.line.size() < max_agent_line_bytes) child.line += c;
        continue;
      }
      line_of(i);
    }
  };

  const auto conclude = [&](std::size_t i) {
    Child& child = children[i];
    if (child.pid <= 0 || std::exchange(child.concluded, true)) return;
    say_how_it_ended(child);
    if (ended) ended(i, child.end);
  };
  const auto open = [&] { return std::any_of(children.begin(), children.end(), [](const Child& c) { return !c.reaped || c.out >= 0; }); };
  while (open()) {
    std::vector<pollfd> waiting;
    for (const auto& child : children) {
      if (child.out >= 0) waiting.push_back({child.out, POLLIN, 0});
      if (child.err >= 0) waiting.push_back({child.err, POLLIN, 0});
    }
    ::poll(waiting.data(), nfds_t(waiting.size()), 50);
    const bool stopping = stop();
    for (std::size_t i = 0; i < children.size(); ++i) {
      Child& child = children[i];
      if (child.out >= 0 && !drain(child.out, [&](std::string_view bytes) { lines_of(i, bytes); })) close_fd(child.out);
      if (child.err >= 0 && !drain(child.err, [&](std::string_view bytes) { child.last_words = (child.last_words + std::string(bytes)).substr(0, 4096); }))
        close_fd(child.err);
      if (!child.reaped && has_ended(child.pid)) {
        end_session(child.pid);   // a tool that it started and that outlives it would go on using the accelerator
        child.reaped = ::waitpid(child.pid, &child.status, WNOHANG) == child.pid;
      }
      if (child.reaped) {   // what it wrote before it ended is read; a grandchild may hold the pipe for ever
        if (child.out >= 0) drain(child.out, [&](std::string_view bytes) { lines_of(i, bytes); });
        line_of(i);
        close_fd(child.out);
        close_fd(child.err);
        conclude(i);
        continue;
      }
      const double limit = orders[i].planned_s * launch.overrun_factor + launch.overrun_grace_s + orders[i].slow_s;
      if (stopping && !child.term_sent) {
        child.term_sent = child.end.stopped = true;
        send(child, SIGTERM);
      }
      if (!child.kill_sent && (since(child.heard) > launch.silence_s || since(child.started) > limit)) {
        child.over_long = true;
        child.end.reason = since(child.heard) > launch.silence_s ? fmt::format("it said nothing for {:.0f} s", launch.silence_s)
                                                                  : fmt::format("it was not done after {:.0f} s", limit);
        child.kill_sent = true;
        send(child, SIGKILL);
      }
      if (child.term_sent && !child.kill_sent && since(child.signalled) > term_grace_s) {
        child.kill_sent = true;
        send(child, SIGKILL);
      }
      if (child.kill_sent && since(child.signalled) > reap_grace_s) {
        child.reaped = true;
        child.end.reason += " and could not be killed";
        end_session(child.pid);
        close_fd(child.out);
        close_fd(child.err);
        conclude(i);
      }
    }
  }

  std::vector<TestEnd> ends;
  for (auto& child : children) ends.push_back(std::move(child.end));
  return ends;
}

}  // namespace kfab::agent

#include "agent/serve.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include <fmt/format.h>

#include "agent/agent_cache.hpp"
#include "agent/line_reader.hpp"
#include "agent/facts_sections.hpp"
#include "agent/protocol.hpp"
#include "base/codes/agent.hpp"
#include "base/file.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr std::size_t max_host_line_bytes = 64 * 1024;
constexpr double max_deadline_s = 31.0 * 24 * 3600;

enum class Stop : int { none, owner_gone, cancelled, signalled, deadline, silence };

// The error that `done` carries when the task was stopped.
Diagnostic why(Stop reason, double deadline_s, double heartbeat_s) {
  switch (reason) {
    case Stop::deadline:
      return error(code::agent_deadline, fmt::format("not done within {}", format_duration_s(deadline_s)));
    case Stop::silence:
      return error(code::agent_heartbeat_lost, fmt::format("heard nothing for {}", format_duration_s(heartbeat_s)));
    case Stop::owner_gone: return error(code::agent_owner_gone, "the connection to kfab ended");
    case Stop::signalled: return error(code::agent_cancelled, "the agent was told by a signal to end");
    case Stop::cancelled:
    case Stop::none: break;
  }
  return error(code::agent_cancelled, "cancelled");
}

json::Value done_message(const Status& status) {
  json::Value problem;
  if (!status)
    problem = json::Object{{"code", to_string(status.error().code)}, {"message", status.error().message}};
  return json::Object{{"type", "done"}, {"ok", bool(status)}, {"error", problem}};
}

class Event {
 public:
  Event() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~Event() { ::close(fd_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void raise() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto n = ::write(fd_, &one, sizeof one);
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

// One session. The main thread runs the task; the guard thread listens to the host, to signals and to the clock, and
// is the one that ends the process when the task does not.
class Session final : public TaskContext {
 public:
  explicit Session(const ServeOptions& options) : options_(options), reader_(options.in) {}
  ~Session() override {
    if (signals_ >= 0) ::close(signals_);
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  int run() {
    hold_signals();
    say_hello();
    mark_used(options_.executable);
    prune_agents(options_.executable, std::chrono::system_clock::now());
    auto request = read_request();
    if (!request) return finish(std::move(request).error());
    const auto task = accept(*request);
    if (!task) return finish(task.error());
    std::thread guard([this] { watch(); });
    Status status = run_task(**task, *request);
    if (reason() != Stop::none) status = why(reason(), deadline_s_, heartbeat_s_);
    else if (oversized_.load())
      status = error(code::agent_task_crashed, "the task made a message larger than the protocol allows");
    const int exit_status = finish(status);   // still watched: the last word may meet a pipe that nobody empties
    task_ended_.store(true);
    ended_.raise();
    guard.join();
    return exit_status;
  }

  void emit(const json::Value& message) override {
    std::string line = json::dump(message);
    if (line.size() >= max_agent_line_bytes) {
      oversized_.store(true);
      return;
    }
    line += '\n';
    const std::lock_guard lock(writing_);
    if (!said_done_) write_all(line);
  }

  bool stop_requested() const override { return reason() != Stop::none; }
  double remaining_s() const override { return std::max(0.0, Seconds(deadline() - Clock::now()).count()); }

  bool wait_for_turn(const std::string& name) override {
    const auto since = Clock::now();
    waiting_.store(true);
    emit(json::Object{{"type", "turn"}, {"name", name}, {"state", "wanted"}});
    {
      std::unique_lock lock(turns_lock_);
      turns_changed_.wait(lock, [&] { return stop_requested() || turns_.erase(name) > 0; });
    }
    deadline_.store((deadline() + (Clock::now() - since)).time_since_epoch().count());
    waiting_.store(false);   // only now: the guard must not see the old deadline again
    return !stop_requested();
  }
  std::optional<double> host_now() const override {
    const std::lock_guard lock(turns_lock_);
    return host_now_ > 0 ? std::optional(host_now_) : std::nullopt;
  }
  void end_turn(const std::string& name) override { emit(json::Object{{"type", "turn"}, {"name", name}, {"state", "over"}}); }

 private:
  Stop reason() const { return static_cast<Stop>(reason_.load()); }

  // The first reason counts.
  void stop(Stop why) {
    int none = 0;
    if (!reason_.compare_exchange_strong(none, static_cast<int>(why))) return;
    stopped_.raise();
    { const std::lock_guard lock(turns_lock_); }   // whoever waits has looked before, or looks after
    turns_changed_.notify_all();
  }

  Clock::time_point deadline() const { return Clock::time_point(Clock::duration(deadline_.load())); }

  void write_all(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto n = ::write(options_.out, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return stop(Stop::owner_gone);   // EPIPE: nobody reads any more
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
  }

  void hold_signals() {
    ::signal(SIGPIPE, SIG_IGN);
    sigset_t set;
    ::sigemptyset(&set);
    for (const int number : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&set, number);
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    signals_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  }

  void say_hello() {
    json::Value digest;
    const std::string serial = board_serial();   // said in every session, so that a swapped board is noticed in each
    if (const auto bytes = read_file(options_.executable)) digest = sha256_hex(*bytes);
    emit(json::Object{{"type", "hello"}, {"protocol", protocol_version}, {"version", KFAB_VERSION}, {"sha256", digest},
                      {"uid", static_cast<unsigned>(::geteuid())}, {"pid", static_cast<int>(::getpid())},
                      {"board_serial", serial.empty() ? json::Value() : json::Value(serial)}});
  }

  Result<json::Value> read_request() {
    const auto until = Clock::now() + Seconds(options_.request_timeout_s);
    for (;;) {
      if (auto line = reader_.next()) {
        auto request = json::parse(*line, max_request_bytes);
        if (!request) return error(code::agent_bad_request, "the request is not JSON: " + request.error().message);
        if (request->string_or("type") != "request")
          return error(code::agent_bad_request, "the first line is not a request");
        return request;
      }
      const auto left = Seconds(until - Clock::now()).count();
      if (left <= 0) return error(code::agent_bad_request, "no request came");
      std::array<pollfd, 2> waits{pollfd{options_.in, POLLIN, 0}, pollfd{signals_, POLLIN, 0}};
      ::poll(waits.data(), waits.size(), static_cast<int>(left * 1000) + 1);
      if (waits[1].revents != 0) return error(code::agent_cancelled, "the agent was told by a signal to end");
      if (waits[0].revents == 0) continue;
      const auto state = reader_.fill(max_request_bytes);
      if (state == LineReader::State::ended) {
        stop(Stop::owner_gone);
        return error(code::agent_owner_gone, "the connection to kfab ended before a request came");
      }
      if (state == LineReader::State::too_long) return error(code::agent_bad_request, "the request is too large");
    }
  }

  Result<const TaskRow*> accept(const json::Value& request) {
    const auto version = request["protocol"].as_int();
    if (version != protocol_version)
      return error(code::agent_protocol_unknown, fmt::format("this agent speaks protocol {}, not {}", protocol_version,
                                                             one_line(json::dump(request["protocol"]), 40)));
    deadline_s_ = request.double_or("deadline_s", -1);
    heartbeat_s_ = request.double_or("heartbeat_s", default_heartbeat_s);
    if (!(deadline_s_ > 0) || deadline_s_ > max_deadline_s)
      return error(code::agent_bad_request, "deadline_s must be above 0 and at most 31 days");
    if (!(heartbeat_s_ > 0) || heartbeat_s_ > max_deadline_s)
      return error(code::agent_bad_request, "heartbeat_s must be above 0");
    const std::string name = request.string_or("task");
    const auto it = std::find_if(options_.tasks.begin(), options_.tasks.end(),
                                 [&](const TaskRow& row) { return row.name == name; });
    if (it == options_.tasks.end())
      return error(code::agent_task_unknown, fmt::format("this agent knows no task '{}'", one_line(name, 60)));
    deadline_.store((Clock::now() + std::chrono::duration_cast<Clock::duration>(Seconds(deadline_s_))).time_since_epoch().count());
    last_heard_ = Clock::now();
    return &*it;
  }

  // The agent's one catch: a fault of ours is told as one instead of leaving the host with a cut stream.
  Status run_task(const TaskRow& task, const json::Value& request) {
    try {
      return task.run(request, *this);
    } catch (const std::exception& fault) {
      return error(code::agent_task_crashed, fmt::format("task {}: {}", task.name, one_line(fault.what())));
    }
  }

  void hear() {
    if (reader_.fill(max_host_line_bytes) != LineReader::State::open) return stop(Stop::owner_gone);
    last_heard_ = Clock::now();
    obey();
  }

  void obey() {
    while (const auto line = reader_.next()) {
      const auto message = json::parse(*line, max_host_line_bytes);
      if (!message) continue;
      const std::string type = message->string_or("type");
      if (type == "cancel") stop(Stop::cancelled);
      if (type == "turn") give_turn(message->string_or("name"), message->double_or("now", 0));
    }
  }

  void give_turn(const std::string& name, double now) {
    {
      const std::lock_guard lock(turns_lock_);
      turns_.insert(name);
      host_now_ = now;
    }
    turns_changed_.notify_all();
  }

  void watch() {
    obey();   // what came in one piece with the request
    while (!task_ended_.load() && reason() == Stop::none) {
      const auto silent_at = last_heard_ + std::chrono::duration_cast<Clock::duration>(Seconds(heartbeat_s_));
      const auto now = Clock::now();
      // Asked before the deadline is read, which moves before the waiting is said to be over.
      const auto end = waiting_.load() ? Clock::time_point::max() : deadline();
      if (now >= end) stop(Stop::deadline);
      else if (now >= silent_at) stop(Stop::silence);
      if (reason() != Stop::none) break;
      const double wait_s = Seconds(std::min(end, silent_at) - now).count();
      std::array<pollfd, 4> waits{pollfd{options_.in, POLLIN, 0}, pollfd{signals_, POLLIN, 0},
                                  pollfd{ended_.fd(), POLLIN, 0}, pollfd{stopped_.fd(), POLLIN, 0}};
      ::poll(waits.data(), waits.size(), static_cast<int>(std::min(wait_s, 60.0) * 1000) + 1);
      if (waits[1].revents != 0) stop(Stop::signalled);
      if (waits[0].revents != 0) hear();
    }
    if (!task_ended_.load()) insist();
  }

  // The task was told to stop: its children die now, and it has a moment to return.
  void insist() {
    const auto until = Clock::now() + std::chrono::duration_cast<Clock::duration>(Seconds(stop_grace_s));
    while (!task_ended_.load() && Clock::now() < until) {
      kill_all_process_groups();
      pollfd wait{ended_.fd(), POLLIN, 0};
      ::poll(&wait, 1, 50);
    }
    if (task_ended_.load()) return;
    kill_all_process_groups();
    // The writer may hang in a full pipe; then there is nobody to tell.
    std::unique_lock lock(writing_, std::defer_lock);
    if (reason() != Stop::owner_gone && lock.try_lock_for(std::chrono::milliseconds(100))) {
      const std::string line = json::dump(done_message(why(reason(), deadline_s_, heartbeat_s_))) + "\n";
      pollfd wait{options_.out, POLLOUT, 0};
      if (!said_done_ && ::poll(&wait, 1, 100) > 0 && (wait.revents & POLLOUT) != 0) write_all(line);
      said_done_ = true;
    }
    options_.leave(reason() == Stop::owner_gone ? 3 : 1);
  }

  int finish(const Status& status) {
    kill_all_process_groups();
    if (reason() != Stop::owner_gone) {
      const std::lock_guard lock(writing_);
      if (!said_done_) write_all(json::dump(done_message(status)) + "\n");
      said_done_ = true;
    }
    if (reason() == Stop::owner_gone) return 3;
    return status ? 0 : 1;
  }

  const ServeOptions& options_;
  LineReader reader_;
  int signals_ = -1;
  Event ended_, stopped_;
  std::atomic<int> reason_{0};
  std::atomic<bool> task_ended_{false}, oversized_{false};
  std::timed_mutex writing_;
  bool said_done_ = false;
  double deadline_s_ = 0, heartbeat_s_ = default_heartbeat_s;
  std::atomic<Clock::rep> deadline_{0};   // of Clock's epoch: the task moves it while the guard looks
  Clock::time_point last_heard_{};
  std::atomic<bool> waiting_{false};      // for a turn
  mutable std::mutex turns_lock_;
  std::condition_variable turns_changed_;
  std::set<std::string> turns_;           // given and not yet taken
  double host_now_ = 0;                   // as the last of them was given; 0: not told
};

}  // namespace

int serve(const ServeOptions& options) {
  Session session(options);
  return session.run();
}

}  // namespace kfab::agent

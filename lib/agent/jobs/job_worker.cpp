#include "agent/jobs/job_worker.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>

#include <fmt/format.h>

#include "agent/agent_cache.hpp"
#include "agent/facts_sections.hpp"
#include "agent/process.hpp"
#include "agent/protocol.hpp"
#include "base/clock.hpp"
#include "base/codes/agent.hpp"
#include "base/file.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

using SteadyClock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr auto between_looks = std::chrono::milliseconds(250);
constexpr double progress_every_s = 2, sync_every_s = 10, mark_every_s = 3600;
constexpr double hung_s = 30;               // from the wish to stop until the process leaves a task that does not return
constexpr std::size_t most_progress = 512;  // accelerators x steps

class Worker final : public TaskContext {
 public:
  Worker(JobFolder folder, JobLimits limits, const std::function<void(int)>& leave) : folder_(std::move(folder)), limits_(limits), leave_(leave) {}
  ~Worker() override {
    for (const int fd : {lock_, messages_, signals_})
      if (fd >= 0) ::close(fd);
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  int run(const TaskFunction& task) {
    if (auto begun = begin(); !begun) {
      std::fprintf(stderr, "%s\n", begun.error().message.c_str());
      return 2;
    }
    std::thread watcher([this] { watch(); });
    Status status = ok();
    try {
      status = task(request_, *this);
    } catch (const std::exception& fault) {
      status = error(code::agent_task_crashed, one_line(fault.what()));
    }
    over_.store(true);
    watcher.join();
    kill_all_process_groups();
    const std::lock_guard lock(writing_);
    if (const auto why = stopped_by(); why) status = *why;
    json::Value problem;
    if (!status) problem = json::Object{{"code", to_string(status.error().code)}, {"message", status.error().message}};
    append(json::dump(json::Object{{"type", "done"}, {"ok", bool(status)}, {"error", problem}, {"boot_id", boot_id()}, {"boottime_s", boottime_s()}}) + "\n");
    write_progress();
    ::fsync(messages_);
    return status && failed_.empty() ? 0 : 1;
  }

  void emit(const json::Value& message) override {
    const std::lock_guard lock(writing_);
    if (message.string_or("type") == "progress") {
      const std::string key = message.string_or("accelerator") + "\n" + message.string_or("step");
      if (progress_.contains(key) || progress_.size() < most_progress) progress_[key] = message;
      progress_is_new_ = true;
      return;
    }
    std::string line = json::dump(message);
    if (line.size() >= max_agent_line_bytes) return fail("a message was larger than the protocol allows");
    if (++count_ > limits_.messages || written_ + line.size() > limits_.bytes) return fail("there was more to say than can be kept");
    append(line += '\n');
  }

  bool stop_requested() const override { return stop_.load(); }
  double remaining_s() const override { return std::max(0.0, Seconds(deadline_ - SteadyClock::now()).count()); }

 private:
  Status begin() {
    ::umask(077);
    ::signal(SIGPIPE, SIG_IGN);
    sigset_t set;
    ::sigemptyset(&set);
    for (const int number : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&set, number);
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    signals_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    KFAB_TRY(lock, folder_.hold());
    lock_ = lock;
    messages_ = ::open(folder_.file("messages").c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (messages_ < 0) return error(code::agent_job_not_started, fmt::format("{}: {}", folder_.file("messages"), std::strerror(errno)));
    KFAB_TRY(request, folder_.request());
    request_ = std::move(request);
    const double limit_s = request_.double_or("deadline_s", -1);
    if (!(limit_s > 0) || limit_s > 31.0 * 24 * 3600) return error(code::agent_bad_request, "deadline_s must be above 0 and at most 31 days");
    deadline_s_ = limit_s;
    deadline_ = SteadyClock::now() + std::chrono::duration_cast<SteadyClock::duration>(Seconds(limit_s));
    const std::string now = to_rfc3339(make_system_clock()->now());
    return write_file_atomically(folder_.file("state"), json::dump(json::Object{{"pid", static_cast<int>(::getpid())}, {"boot_id", boot_id()}, {"started_at", now},
                                                                                {"started_boottime_s", boottime_s()}, {"board_serial", board_serial()}}) + "\n", 0600);
  }

  // The reasons to stop, and what has to reach the disk from time to time.
  void watch() {
    auto told = SteadyClock::now(), synced = told, marked = told;
    SteadyClock::time_point stopped{};
    while (!over_.load()) {
      pollfd wait{signals_, POLLIN, 0};
      ::poll(&wait, 1, static_cast<int>(between_looks.count()));
      signalfd_siginfo got{};
      while (::read(signals_, &got, sizeof got) == static_cast<ssize_t>(sizeof got))
        if (got.ssi_signo != SIGHUP) stop(Why::signalled);   // a hang-up is what a job is there to outlive
      if (::access(folder_.file("stop").c_str(), F_OK) == 0) stop(Why::asked);
      const auto now = SteadyClock::now();
      if (now >= deadline_) stop(Why::deadline);
      {
        const std::lock_guard lock(writing_);
        if (!failed_.empty()) stop(Why::unkept);
        if (progress_is_new_ && Seconds(now - told).count() >= progress_every_s) {
          write_progress();
          told = now;
        }
      }
      if (Seconds(now - synced).count() >= sync_every_s) {
        ::fdatasync(messages_);
        synced = now;
      }
      if (Seconds(now - marked).count() >= mark_every_s) {   // for other machines that share the folder, who do not see this process
        mark_used("/proc/self/exe");
        marked = now;
      }
      if (stop_.load() && stopped == SteadyClock::time_point{}) stopped = now;
      if (stop_.load() && Seconds(now - stopped).count() >= hung_s) {
        kill_all_process_groups();
        leave_(1);   // without a last word: the job is lost, which is the truth
      }
    }
  }

  enum class Why : int { none, asked, signalled, deadline, unkept };
  void stop(Why why) {
    int none = 0;
    why_.compare_exchange_strong(none, static_cast<int>(why));
    stop_.store(true);
  }
  std::optional<Diagnostic> stopped_by() const {
    switch (static_cast<Why>(why_.load())) {
      case Why::asked: return error(code::agent_cancelled, "it was asked to stop");
      case Why::signalled: return error(code::agent_cancelled, "a signal told it to end");
      case Why::deadline: return error(code::agent_deadline, fmt::format("not done within {}", format_duration_s(deadline_s_)));
      case Why::unkept: return error(code::agent_job_lost, failed_);
      case Why::none: break;
    }
    if (!failed_.empty()) return error(code::agent_job_lost, failed_);
    return std::nullopt;
  }

  void fail(std::string why) {
    if (failed_.empty()) failed_ = std::move(why);
  }
  void append(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::write(messages_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail(fmt::format("what it found could not be kept: {}", std::strerror(errno)));
      written_ += static_cast<std::size_t>(n);
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  void write_progress() {
    json::Array all;
    for (const auto& [key, message] : progress_) all.push_back(message);
    // Not worth an end of the test: what it found is what counts.
    if (write_file_atomically(folder_.file("progress"), json::dump(json::Value(std::move(all))) + "\n", 0600)) progress_is_new_ = false;
  }

  const JobFolder folder_;
  const JobLimits limits_;
  const std::function<void(int)>& leave_;
  json::Value request_;
  int lock_ = -1, messages_ = -1, signals_ = -1;
  double deadline_s_ = 0;
  SteadyClock::time_point deadline_{};
  std::atomic<bool> stop_{false}, over_{false};
  std::atomic<int> why_{0};
  std::mutex writing_;                        // guards what follows
  std::map<std::string, json::Value> progress_;
  bool progress_is_new_ = false;
  std::size_t count_ = 0, written_ = 0;
  std::string failed_;
};

}  // namespace

int run_job(const std::string& folder, const TaskFunction& task, const std::function<void(int)>& leave, JobLimits limits) {
  Worker worker(JobFolder::at(folder), limits, leave);
  return worker.run(task);
}

}  // namespace kfab::agent

#include "agent/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "base/codes/agent.hpp"
#include "base/text.hpp"

extern char** environ;

namespace kfab::agent {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor() { reset(); }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  void reset() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

// The process groups that must not outlive the agent. A fixed table of atomics, so that the watchdog can read it
// whatever any other thread is doing.
std::array<std::atomic<pid_t>, 512> living_groups;

class LivingGroup {
 public:
  explicit LivingGroup(pid_t group) {
    for (auto& entry : living_groups) {
      pid_t none = 0;
      if (entry.compare_exchange_strong(none, group)) {
        entry_ = &entry;
        return;
      }
    }
  }
  ~LivingGroup() { forget(); }
  LivingGroup(const LivingGroup&) = delete;
  LivingGroup& operator=(const LivingGroup&) = delete;
  // Before the leader is reaped: afterwards its number may be somebody else's.
  void forget() {
    if (entry_ != nullptr) entry_->store(0);
    entry_ = nullptr;
  }

 private:
  std::atomic<pid_t>* entry_ = nullptr;
};

std::string value_of(const std::vector<std::string>& environment, std::string_view name) {
  for (const auto& line : environment)
    if (line.size() > name.size() && line.starts_with(name) && line[name.size()] == '=')
      return line.substr(name.size() + 1);
  return {};
}

std::vector<std::string> merged_environment(const std::vector<std::string>& on_top) {
  std::vector<std::string> merged = on_top;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view line = *entry;
    const std::string name(line.substr(0, line.find('=')));
    if (value_of(on_top, name).empty()) merged.emplace_back(line);
  }
  return merged;
}

// Where a program is. A PATH given for this one child is taken as it is; the agent's own is extended by the
// directories that a non-login SSH session often lacks.
std::string find_program(const std::string& name, const std::vector<std::string>& on_top) {
  if (name.find('/') != std::string::npos) return ::access(name.c_str(), X_OK) == 0 ? name : "";
  std::string path = value_of(on_top, "PATH");
  if (path.empty()) {
    const char* own = ::getenv("PATH");
    path = std::string(own != nullptr ? own : "") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  }
  for (const auto& directory : split(path, ':')) {
    if (directory.empty()) continue;
    const std::string candidate = directory + "/" + name;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return {};
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (auto& text : strings) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

struct Stream {
  Descriptor end;
  std::string* into;
};

// Reads what is there, up to what a pipe can hold: who writes without end must not keep the clock from being looked at. Closes
// the stream at its end.
void drain(Stream& stream, std::size_t most, bool& truncated) {
  std::array<char, 16384> chunk;
  for (int pieces = 0; pieces < 64 && stream.end.open(); ++pieces) {
    const auto n = ::read(stream.end.get(), chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) return stream.end.reset();
    const auto room = most - std::min(most, stream.into->size());
    if (room < static_cast<std::size_t>(n)) truncated = true;
    stream.into->append(chunk.data(), std::min(room, static_cast<std::size_t>(n)));
  }
}

void feed(Descriptor& stdin_end, std::string_view& rest) {
  while (stdin_end.open() && !rest.empty()) {
    const auto n = ::send(stdin_end.get(), rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) return stdin_end.reset();
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  stdin_end.reset();
}

bool make_pipe(Descriptor& read_end, Descriptor& write_end) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return false;
  read_end = Descriptor(ends[0]);
  write_end = Descriptor(ends[1]);
  return ::fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0;
}

bool has_ended(pid_t pid) {
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

// Kills the group and reaps its leader. A process that hangs in the kernel cannot be reaped: it is left behind after
// one second, and the caller goes on.
void kill_group(pid_t leader, LivingGroup& living) {
  ::kill(-leader, SIGKILL);
  for (int i = 0; i < 100 && !has_ended(leader); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  living.forget();
  int status = 0;
  (void)::waitpid(leader, &status, WNOHANG);
}

class Attributes {
 public:
  Attributes() {
    ::posix_spawnattr_init(&value_);
    sigset_t none, all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_setsigmask(&value_, &none);
    ::posix_spawnattr_setsigdefault(&value_, &all);
    ::posix_spawnattr_setpgroup(&value_, 0);
    ::posix_spawnattr_setflags(&value_, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~Attributes() { ::posix_spawnattr_destroy(&value_); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  const posix_spawnattr_t* get() const { return &value_; }

 private:
  posix_spawnattr_t value_{};
};

class FileActions {
 public:
  FileActions() { ::posix_spawn_file_actions_init(&value_); }
  ~FileActions() { ::posix_spawn_file_actions_destroy(&value_); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;
  posix_spawn_file_actions_t* get() { return &value_; }

 private:
  posix_spawn_file_actions_t value_{};
};

// posix_spawn() cannot ask for a signal at the caller's end. Between fork and exec only what is safe there; 0, or why not.
int spawn_bound(pid_t& pid, const char* program, const ProcessSpec& spec, const std::array<int, 3>& streams, char* const* argv, char* const* envp) {
  Descriptor told, tell;
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return errno;
  told = Descriptor(ends[0]);
  tell = Descriptor(ends[1]);
  const char* directory = spec.directory.empty() ? nullptr : spec.directory.c_str();
  const pid_t caller = ::getpid();
  pid = ::fork();
  if (pid < 0) return errno;
  if (pid == 0) {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != caller) ::_exit(127);   // it died before this was asked for
    for (int number = 1; number < NSIG; ++number)
      if (number != SIGKILL && number != SIGSTOP) ::signal(number, SIG_DFL);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    bool well = directory == nullptr || ::chdir(directory) == 0;
    for (int stream = 0; stream < 3; ++stream) well = well && ::dup2(streams[static_cast<std::size_t>(stream)], stream) >= 0;
    if (well) ::execve(program, argv, envp);
    const int why = errno;
    ::_exit(::write(tell.get(), &why, sizeof why) == ssize_t{sizeof why} ? 127 : 126);
  }
  ::setpgid(pid, pid);
  tell.reset();
  int why = 0;
  ssize_t got = 0;
  while ((got = ::read(told.get(), &why, sizeof why)) < 0 && errno == EINTR) {}
  if (got <= 0) return 0;
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {}
  return why;
}

// The processes of a session, from the fourth number after the name in /proc/PID/stat.
std::vector<pid_t> members_of(pid_t session) {
  std::vector<pid_t> out;
  std::error_code ignored;
  for (std::filesystem::directory_iterator it("/proc", ignored), end; !ignored && it != end; it.increment(ignored)) {
    const std::string name = it->path().filename().string();
    int pid = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), pid).ptr != name.data() + name.size() || pid <= 0 || pid == session) continue;
    std::ifstream in(it->path() / "stat");
    std::string line;
    std::getline(in, line);
    const auto name_end = line.rfind(')');
    char state = 0;
    int parent = 0, group = 0, own = 0;
    if (name_end != std::string::npos && std::sscanf(line.c_str() + name_end + 1, " %c %d %d %d", &state, &parent, &group, &own) == 4 && own == session && state != 'Z' && state != 'X')
      out.push_back(pid);
  }
  return out;
}

std::string_view signal_name(int number) {
  const char* name = ::sigabbrev_np(number);
  return name != nullptr ? std::string_view(name) : std::string_view("?");
}

ProcessResult not_run(ProcessResult::End end, std::string why) {
  ProcessResult result;
  result.end = end;
  result.error = std::move(why);
  return result;
}

}  // namespace

std::string ProcessResult::how() const {
  switch (end) {
    case End::exited: return fmt::format("exit status {}", exit_status);
    case End::signalled: return fmt::format("killed by signal {} ({})", signal, signal_name(signal));
    case End::timed_out: return fmt::format("not done after {}, killed", format_duration_s(duration_s));
    case End::stopped: return "stopped";
    case End::not_found:
    case End::not_started: return error;
  }
  return "";
}

std::string ProcessResult::last_words(std::size_t max_chars) const {
  const std::string_view said = trim(err).empty() ? trim(out) : trim(err);
  auto lines = split_lines(said);
  if (lines.size() > 2) lines.erase(lines.begin(), lines.end() - 2);
  std::string text;
  for (const auto line : lines) text += (text.empty() ? "" : " / ") + std::string(trim(line));
  return one_line(text, max_chars);
}

ProcessResult run_process(const ProcessSpec& spec, const std::function<bool()>& stop) {
  using End = ProcessResult::End;
  const auto start = Clock::now();
  if (spec.argv.empty()) return not_run(End::not_started, "no command is given");
  std::string program = find_program(spec.argv.front(), spec.environment);
  if (program.empty())
    return not_run(End::not_found, fmt::format("there is no program {}", one_line(spec.argv.front(), 80)));
  if (stop && stop()) return not_run(End::stopped, "stopped before it started");

  Descriptor out_read, out_write, err_read, err_write, in_read, in_write;
  bool made = make_pipe(out_read, out_write) && make_pipe(err_read, err_write);
  if (made && spec.input.empty()) {
    in_read = Descriptor(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    made = in_read.open();
  } else if (made) {
    std::array<int, 2> ends{};   // a socket, so that a child that reads nothing cannot raise SIGPIPE here
    made = ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0;
    if (made) {
      in_read = Descriptor(ends[0]);
      in_write = Descriptor(ends[1]);
    }
  }
  if (!made) return not_run(End::not_started, fmt::format("cannot make pipes: {}", std::strerror(errno)));

  Attributes attributes;
  FileActions actions;
  ::posix_spawn_file_actions_adddup2(actions.get(), in_read.get(), 0);
  ::posix_spawn_file_actions_adddup2(actions.get(), out_write.get(), 1);
  ::posix_spawn_file_actions_adddup2(actions.get(), err_write.get(), 2);
  if (!spec.directory.empty()) ::posix_spawn_file_actions_addchdir_np(actions.get(), spec.directory.c_str());
  std::vector<std::string> arguments = spec.argv, environment = merged_environment(spec.environment);
  const auto argv = pointers(arguments), envp = pointers(environment);
  pid_t pid = 0;
  const int failed = spec.ends_with_caller
                         ? spawn_bound(pid, program.c_str(), spec, {in_read.get(), out_write.get(), err_write.get()}, argv.data(), envp.data())
                         : ::posix_spawn(&pid, program.c_str(), actions.get(), attributes.get(), argv.data(), envp.data());
  if (failed != 0)
    return not_run(failed == ENOENT ? End::not_found : End::not_started,
                   fmt::format("cannot start {}: {}", one_line(program, 80), std::strerror(failed)));
  LivingGroup living(pid);
  in_read.reset();
  out_write.reset();
  err_write.reset();

  ProcessResult result;
  Stream out{std::move(out_read), &result.out}, err{std::move(err_read), &result.err};
  std::string_view input = spec.input;
  bool ended = false;
  Clock::time_point ended_at{};
  for (;;) {
    if (in_write.open()) feed(in_write, input);
    drain(out, spec.max_output_bytes, result.truncated);
    drain(err, spec.max_output_bytes, result.truncated);
    if (!ended && has_ended(pid)) {
      ended = true;
      ended_at = Clock::now();
      continue;   // what it wrote last is in the pipes by now
    }
    if (ended && ((!out.end.open() && !err.end.open()) || seconds_since(ended_at) > 0.2)) break;
    const bool late = seconds_since(start) > spec.timeout_s;
    const bool too_much = spec.ends_at_cap && result.truncated;
    if (!ended && (late || too_much || (stop && stop()))) {
      result.end = late ? End::timed_out : End::stopped;
      kill_group(pid, living);
      drain(out, spec.max_output_bytes, result.truncated);
      drain(err, spec.max_output_bytes, result.truncated);
      result.duration_s = seconds_since(start);
      return result;
    }
    std::array<pollfd, 3> waits{pollfd{out.end.get(), POLLIN, 0}, pollfd{err.end.get(), POLLIN, 0},
                                pollfd{in_write.get(), POLLOUT, 0}};
    if (!out.end.open() && !err.end.open())
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    else
      ::poll(waits.data(), waits.size(), 20);
  }
  living.forget();
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  result.duration_s = seconds_since(start);
  if (WIFSIGNALED(status) && stop && stop()) {
    result.end = End::stopped;   // whoever stopped the run killed its children as well
  } else if (WIFSIGNALED(status)) {
    result.end = End::signalled;
    result.signal = WTERMSIG(status);
  } else {
    result.end = End::exited;
    result.exit_status = WEXITSTATUS(status);
  }
  return result;
}

Result<std::string> run_bounded(double timeout_s, const std::function<std::string()>& work) {
  const auto late = [&] {
    return error(code::fact_unavailable, fmt::format("no answer within {}", format_duration_s(timeout_s)));
  };
  if (timeout_s <= 0) return late();   // no work is done in no time, however quick the machine
  const auto start = Clock::now();
  Descriptor read_end, write_end;
  if (!make_pipe(read_end, write_end))
    return error(code::child_not_started, fmt::format("cannot make a pipe: {}", std::strerror(errno)));
  const pid_t pid = ::fork();
  if (pid < 0) return error(code::child_not_started, fmt::format("cannot fork: {}", std::strerror(errno)));
  if (pid == 0) {   // the copy: says its answer and is gone, without running anybody's destructors
    ::setpgid(0, 0);
    const std::string answer = work();
    std::string_view rest = answer;
    while (!rest.empty()) {
      const auto n = ::write(write_end.get(), rest.data(), rest.size());
      if (n <= 0) ::_exit(1);
      rest.remove_prefix(static_cast<std::size_t>(n));
    }
    ::_exit(0);
  }
  ::setpgid(pid, pid);
  LivingGroup living(pid);
  write_end.reset();
  std::string answer;
  bool truncated = false;
  Stream stream{std::move(read_end), &answer};
  while (stream.end.open()) {
    drain(stream, std::size_t{1} << 20, truncated);
    if (!stream.end.open()) break;
    if (seconds_since(start) > timeout_s) {
      kill_group(pid, living);
      return late();
    }
    pollfd wait{stream.end.get(), POLLIN, 0};
    ::poll(&wait, 1, 20);
  }
  living.forget();
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    return error(code::fact_unavailable, "the probe ended by a fault");
  return answer;
}

void end_session(int session) {
  for (int round = 0; round < 50; ++round) {
    const auto left = members_of(session);
    if (left.empty()) return;
    for (const pid_t one : left) ::kill(one, SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

void kill_all_process_groups() {
  for (auto& entry : living_groups)
    if (const pid_t group = entry.load(); group > 0) ::kill(-group, SIGKILL);
}

}  // namespace kfab::agent

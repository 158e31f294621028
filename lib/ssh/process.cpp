#include "ssh/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "base/codes/ssh.hpp"

extern char** environ;   // POSIX; <unistd.h> declares it only with extensions

namespace kfab::ssh {
namespace {

void close_fd(int& fd) {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

struct Pipe {
  int read_end = -1, write_end = -1;
  bool open() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return false;
    read_end = ends[0];
    write_end = ends[1];
    return true;
  }
  ~Pipe() { close_fd(read_end); close_fd(write_end); }
};

int release_nonblocking(int& fd) {
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  const int released = fd;
  fd = -1;
  return released;
}

// What the child starts with: our own blocked signals and ignored SIGPIPE are not its affair, nor are our files.
class SpawnSettings {
 public:
  SpawnSettings() {
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
    sigset_t none, all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setsigdefault(&attributes, &all);
    ::posix_spawnattr_setflags(&attributes, static_cast<short>(POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF));
  }
  ~SpawnSettings() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;
  posix_spawn_file_actions_t actions{};
  posix_spawnattr_t attributes{};
};

std::string signal_name(int number) {
  const char* name = ::sigabbrev_np(number);
  return name != nullptr ? name : std::to_string(number);
}

// write(2) on a pipe nobody reads raises SIGPIPE, whatever the program made of it: it is held back for this one call
// and taken away again.
ssize_t write_without_sigpipe(int fd, std::string_view bytes) {
  sigset_t pipe_only, before, pending;
  ::sigemptyset(&pipe_only);
  ::sigaddset(&pipe_only, SIGPIPE);
  ::sigpending(&pending);
  const bool was_pending = ::sigismember(&pending, SIGPIPE) == 1;
  ::pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
  const ssize_t written = ::write(fd, bytes.data(), bytes.size());
  const int reason = errno;
  if (written < 0 && reason == EPIPE && !was_pending) {
    const timespec at_once{};
    while (::sigtimedwait(&pipe_only, nullptr, &at_once) < 0 && errno == EINTR) {}
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = reason;
  return written;
}

}  // namespace

Result<std::unique_ptr<Process>> Process::start(const std::string& line) {
  Pipe in, out, err;
  if (!in.open() || !out.open() || !err.open()) {
    return error(code::local_spawn_failed, std::string("cannot make a pipe: ") + std::strerror(errno));
  }
  SpawnSettings settings;
  // dup2 clears close-on-exec, but not onto itself: each pipe end is above 2 unless a standard stream is closed.
  ::posix_spawn_file_actions_adddup2(&settings.actions, in.read_end, STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&settings.actions, out.write_end, STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&settings.actions, err.write_end, STDERR_FILENO);
#if __GLIBC_PREREQ(2, 34)
  ::posix_spawn_file_actions_addclosefrom_np(&settings.actions, STDERR_FILENO + 1);
#endif
  std::array<std::string, 3> words{"sh", "-c", line};
  std::array<char*, 4> argv{words[0].data(), words[1].data(), words[2].data(), nullptr};
  std::unique_ptr<Process> process(new Process);
  const int failed = ::posix_spawn(&process->pid_, "/bin/sh", &settings.actions, &settings.attributes, argv.data(), environ);
  if (failed != 0) {
    process->pid_ = -1;
    return error(code::local_spawn_failed, std::string("cannot start /bin/sh: ") + std::strerror(failed));
  }
  process->in_ = release_nonblocking(in.write_end);
  process->out_ = release_nonblocking(out.read_end);
  process->err_ = release_nonblocking(err.read_end);
  process->pidfd_ = static_cast<int>(::syscall(SYS_pidfd_open, process->pid_, 0));
  return process;
}

Process::~Process() {
  if (pid_ > 0 && !reaped_) {
    kill_group();
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {}
  }
  close_fd(in_);
  close_fd(out_);
  close_fd(err_);
  close_fd(pidfd_);
}

Step Process::read(Stream stream, std::string_view& got) {
  thread_local std::array<char, 64 * 1024> buffer;
  int& fd = stream == Stream::out ? out_ : err_;
  got = {};
  if (fd < 0) return Step::done;
  for (;;) {
    const ssize_t count = ::read(fd, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return Step::again;
    if (count > 0) {
      got = {buffer.data(), static_cast<std::size_t>(count)};
      return Step::done;
    }
    close_fd(fd);   // its end, or an error that reads as one
    return Step::done;
  }
}

Step Process::write(std::string_view bytes, std::size_t& written) {
  written = 0;
  if (in_ < 0) return Step::failed;
  for (;;) {
    const ssize_t count = write_without_sigpipe(in_, bytes);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return Step::again;
    if (count < 0) {
      close_fd(in_);
      return Step::failed;
    }
    written = static_cast<std::size_t>(count);
    return Step::done;
  }
}

void Process::close_input() { close_fd(in_); }

std::optional<Process::Ended> Process::reap() {
  int status = 0;
  if (reaped_ || ::waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  reaped_ = true;
  Ended ended;
  if (WIFEXITED(status)) ended.exit_status = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) ended.signal = signal_name(WTERMSIG(status));
  return ended;
}

void Process::kill_group() {
  // Only while it is not reaped is its number surely its own.
  if (pid_ > 0 && !reaped_) ::kill(-pid_, SIGKILL);
}

}  // namespace kfab::ssh

// Process::start_program: a program by its arguments, without a shell, that ends when we do.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/codes/ssh.hpp"
#include "base/text.hpp"
#include "ssh/process.hpp"

namespace kfab::ssh {
namespace {

void close_fd(int& fd) {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

struct Pipes {
  // stdin, stdout, stderr and the one on which the child tells that it could not start: our end and the child's.
  std::array<int, 4> ours{-1, -1, -1, -1}, childs{-1, -1, -1, -1};
  bool open() {
    for (std::size_t i = 0; i < ours.size(); ++i) {
      int ends[2];
      if (::pipe2(ends, O_CLOEXEC) != 0) return false;
      ours[i] = i == 0 ? ends[1] : ends[0];
      childs[i] = i == 0 ? ends[0] : ends[1];
    }
    return true;
  }
  ~Pipes() {
    for (int& fd : ours) close_fd(fd);
    for (int& fd : childs) close_fd(fd);
  }
};

std::vector<char*> pointers(const std::vector<std::string>& words) {
  std::vector<char*> out;
  for (const std::string& word : words) out.push_back(const_cast<char*>(word.c_str()));
  out.push_back(nullptr);
  return out;
}

// In the child, between fork and exec: only what POSIX calls async-signal-safe.
[[noreturn]] void become(Pipes& pipes, pid_t parent, char* const* argv, char* const* environment) {
  ::setsid();   // no terminal, and a group of its own
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(127);   // it was gone before it could be watched
  for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  // The pipes may lie on 0 to 2 when a standard stream is closed: first all out of the way, then where they belong.
  int moved[4];
  for (int i = 0; i < 4; ++i) moved[i] = ::fcntl(pipes.childs[static_cast<std::size_t>(i)], F_DUPFD_CLOEXEC, 4);
  for (int i = 0; i < 3; ++i) ::dup2(moved[i], i);
  ::dup3(moved[3], 3, O_CLOEXEC);
#ifdef SYS_close_range
  ::syscall(SYS_close_range, 4U, ~0U, 0U);
#endif
  ::execve(argv[0], argv, environment);
  const int failed = errno;
  (void)!::write(3, &failed, sizeof failed);
  ::_exit(127);
}

}  // namespace

Result<std::unique_ptr<Process>> Process::start_program(const std::vector<std::string>& arguments, const std::vector<std::string>& environment) {
  const auto failure = [&](int number) {
    return error(code::local_spawn_failed, "cannot start " + one_line(arguments.empty() ? "" : arguments.front()) + ": " + std::strerror(number));
  };
  if (arguments.empty()) return failure(EINVAL);
  Pipes pipes;
  if (!pipes.open()) return failure(errno);
  const std::vector<char*> argv = pointers(arguments), env = pointers(environment);
  std::unique_ptr<Process> process(new Process);
  const pid_t parent = ::getpid();
  process->pid_ = ::fork();
  if (process->pid_ == 0) become(pipes, parent, argv.data(), env.data());
  if (process->pid_ < 0) return failure(errno);
  for (int& fd : pipes.childs) close_fd(fd);
  int number = 0;
  ssize_t told = 0;
  do told = ::read(pipes.ours[3], &number, sizeof number);
  while (told < 0 && errno == EINTR);
  if (told == sizeof number) return failure(number);   // the destructor reaps it
  const auto release = [](int& fd) {
    ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
    const int released = fd;
    fd = -1;
    return released;
  };
  process->in_ = release(pipes.ours[0]);
  process->out_ = release(pipes.ours[1]);
  process->err_ = release(pipes.ours[2]);
  process->pidfd_ = static_cast<int>(::syscall(SYS_pidfd_open, process->pid_, 0));
  return process;
}

}  // namespace kfab::ssh

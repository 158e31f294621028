#include "agent/jobs/fork_away.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "base/codes/agent.hpp"

namespace kfab::agent {
namespace {

// Descriptors that a job must not keep open: the session's pipes would never end.
void close_from(int first) {
  if (::close_range(static_cast<unsigned>(first), ~0U, 0) == 0) return;
  for (int fd = first; fd < 4096; ++fd) ::close(fd);
}

}  // namespace

Status fork_away(const std::string& folder, const std::string& log, const std::function<int(const std::string&)>& instead) {
  std::string exe = "/proc/self/exe", word = "job", path = folder;
  const pid_t pid = ::fork();
  if (pid < 0) return error(code::agent_job_not_started, fmt::format("no process could be started: {}", std::strerror(errno)));
  if (pid == 0) {
    if (::setsid() < 0) ::_exit(126);
    const pid_t second = ::fork();
    if (second != 0) ::_exit(second < 0 ? 126 : 0);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    const int words = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    ::dup2(nothing, 0);
    ::dup2(nothing, 1);
    ::dup2(words >= 0 ? words : nothing, 2);
    if (::chdir("/") != 0) ::_exit(126);
    close_from(3);
    if (instead) ::_exit(instead(path));
    std::array<char*, 4> argv{exe.data(), word.data(), path.data(), nullptr};
    ::execv(exe.c_str(), argv.data());
    const char* why = std::strerror(errno);
    [[maybe_unused]] const auto n = ::write(2, why, std::strlen(why));
    ::_exit(127);
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return ok();
  return error(code::agent_job_not_started, "no process could be started");
}

}  // namespace kfab::agent

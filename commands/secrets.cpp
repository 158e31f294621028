#include "commands/secrets.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <thread>

#include <fmt/format.h>

#include "base/codes/plan.hpp"
#include "base/file.hpp"
#include "base/text.hpp"

namespace kfab::commands {
namespace {

namespace fs = std::filesystem;
using provision::SecretSource;

constexpr std::size_t longest_secret = 64 * 1024;
constexpr std::chrono::seconds patience{30};

std::string shown(const SecretSource& source) {
  static constexpr std::array<std::string_view, 3> kinds{"environment variable", "file", "command"};
  return fmt::format("{} {}", kinds[static_cast<std::size_t>(source.kind)], one_line(source.words.front(), 120));
}

Diagnostic unreadable(const SecretSource& source, std::string_view why) {
  return error(code::secret_unreadable, fmt::format("the secret {} ({}): {}", one_line(source.name, 60), shown(source), why));
}

Result<std::string> from_environment(const SecretSource& source, const Env& env) {
  auto value = env.getenv(source.words.front());
  if (!value) return unreadable(source, "it is not set");
  return std::move(*value);
}

Result<std::string> from_file(const SecretSource& source, const fs::path& base, const Env& env) {
  const std::string& said = source.words.front();
  const fs::path path = said.starts_with("~/") ? fs::path(env.getenv("HOME").value_or("/")) / said.substr(2) : base / said;
  struct stat facts{};
  if (::stat(path.c_str(), &facts) != 0) return unreadable(source, std::strerror(errno));
  if (!S_ISREG(facts.st_mode)) return unreadable(source, "is no regular file");
  if (facts.st_uid != ::geteuid()) return unreadable(source, "belongs to somebody else");
  if ((facts.st_mode & 077) != 0) return unreadable(source, "others have rights on it; chmod 600");
  auto text = read_file(path, longest_secret);
  if (!text) return unreadable(source, text.error().message);
  return std::move(*text);
}

// A pipe whose ends are closed when it goes.
struct Pipe {
  std::array<int, 2> ends{-1, -1};
  Pipe() { (void)::pipe2(ends.data(), O_CLOEXEC); }
  ~Pipe() { close_end(0), close_end(1); }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void close_end(std::size_t which) {
    if (ends[which] >= 0) ::close(ends[which]);
    ends[which] = -1;
  }
};

Result<pid_t> start(const SecretSource& source, const Pipe& out) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, out.ends[1], STDOUT_FILENO);
  sigset_t none, all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setpgroup(&attributes, 0);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  std::vector<char*> argv;
  for (const auto& word : source.words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  pid_t pid = -1;
  const int failed = ::posix_spawnp(&pid, argv[0], &actions, &attributes, argv.data(), environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return unreadable(source, std::strerror(failed));
  return pid;
}

// What it writes goes to the pipe, what it complains of to kfab's own stderr. Its group is gone when this returns.
Result<std::string> from_command(const SecretSource& source, const CancelToken& cancel) {
  Pipe out;
  if (out.ends[0] < 0) return unreadable(source, std::strerror(errno));
  KFAB_TRY(pid, start(source, out));
  out.close_end(1);
  const auto until = std::chrono::steady_clock::now() + patience;
  std::string value, problem;
  int status = 0;
  bool open = true, ended = false;
  while (problem.empty() && !(ended && !open)) {
    if (std::chrono::steady_clock::now() > until) problem = fmt::format("it was not done after {} s", patience.count());
    else if (cancel.requested()) problem = "the run was stopped";
    else if (value.size() > longest_secret) problem = "it writes more than 64 KiB";
    if (!problem.empty()) break;
    if (open) {
      pollfd waiting{out.ends[0], POLLIN, 0};
      if (::poll(&waiting, 1, 100) > 0) {
        std::array<char, 4096> block{};
        const auto got = ::read(out.ends[0], block.data(), block.size());
        if (got > 0) value.append(block.data(), static_cast<std::size_t>(got));
        else if (got == 0 || errno != EINTR) open = false;
      }
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    if (!ended) ended = ::waitpid(pid, &status, WNOHANG) == pid;
    if (ended && open) {   // a child of its own may hold the pipe: what is there is read, nothing is waited for
      pollfd rest{out.ends[0], POLLIN, 0};
      if (::poll(&rest, 1, 0) <= 0) open = false;
    }
  }
  ::kill(-pid, SIGKILL);
  if (!ended) ::waitpid(pid, &status, 0);
  if (!problem.empty()) return unreadable(source, problem);
  if (!WIFEXITED(status)) return unreadable(source, "it was killed");
  if (WEXITSTATUS(status) != 0) return unreadable(source, fmt::format("it ended with exit status {}", WEXITSTATUS(status)));
  return value;
}

Result<std::string> read_one(const SecretSource& source, const fs::path& base, Env& env) {
  switch (source.kind) {
    case SecretSource::Kind::environment: return from_environment(source, env);
    case SecretSource::Kind::file: return from_file(source, base, env);
    case SecretSource::Kind::command: return from_command(source, env.cancel);
  }
  return unreadable(source, "of no kind");
}

}  // namespace

Result<provision::SecretValues> read_secrets(const std::set<std::string>& ids, const manifest::Site& site, Env& env) {
  provision::SecretValues values;
  if (ids.empty()) return values;
  const auto sources = provision::declared_secrets(site);
  const fs::path base = fs::absolute(site.file.empty() ? "." : site.file).parent_path();   // of a bare name it is this folder
  for (const auto& id : ids) {
    const auto source = sources.find(id);
    if (source == sources.end()) return error(code::secret_unreadable, "a secret that the manifest does not declare is asked for");
    KFAB_TRY(value, read_one(source->second, base, env));
    if (source->second.kind != SecretSource::Kind::environment && value.ends_with('\n')) value.pop_back();
    if (value.size() < Redactor::shortest_secret)
      return error(code::secret_too_short, fmt::format("the secret {} ({}) has fewer than {} bytes", one_line(source->second.name, 60), shown(source->second), Redactor::shortest_secret));
    env.redactor->add(source->second.name, value);
    values.emplace(id, std::move(value));
  }
  return values;
}

}  // namespace kfab::commands

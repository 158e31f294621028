#include "ssh/private_agent.hpp"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/codes/ssh.hpp"
#include "base/text.hpp"
#include "ssh/agent_client.hpp"

extern char** environ;   // POSIX; <unistd.h> declares it only with extensions

namespace kfab::ssh {
namespace {

constexpr auto start_patience = std::chrono::seconds(5);

// Ours, with these set; those without a value are left out.
std::vector<std::string> environment_with(const std::vector<std::pair<std::string, std::string>>& set) {
  std::vector<std::string> out;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view one = *entry;
    bool replaced = false;
    for (const auto& [name, value] : set) replaced = replaced || (one.starts_with(name) && one.substr(name.size()).starts_with('='));
    if (!replaced) out.emplace_back(one);
  }
  for (const auto& [name, value] : set)
    if (!value.empty()) out.push_back(name + "=" + value);
  return out;
}

}  // namespace

PrivateAgent::PrivateAgent(PrivateDir dir, std::string socket, std::unique_ptr<Process> process)
    : dir_(std::move(dir)), socket_(std::move(socket)), process_(std::move(process)) {}
PrivateAgent::~PrivateAgent() = default;   // the process first: it is killed, then the directory goes

Result<std::unique_ptr<PrivateAgent>> PrivateAgent::start() {
  const std::string program = find_program("ssh-agent");
  if (program.empty()) return error(code::private_agent_failed, "ssh-agent is not installed on this machine");
  KFAB_TRY(dir, PrivateDir::make("agent"));
  std::string socket = dir.path() + "/socket";
  KFAB_TRY(process, Process::start_program({program, "-D", "-a", socket}, environment_with({})));
  const auto until = std::chrono::steady_clock::now() + start_patience;
  struct stat about {};
  while (::stat(socket.c_str(), &about) != 0 || !S_ISSOCK(about.st_mode)) {
    if (process->reap() || std::chrono::steady_clock::now() > until) return error(code::private_agent_failed, "ssh-agent does not start");
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return std::unique_ptr<PrivateAgent>(new PrivateAgent(std::move(dir), std::move(socket), std::move(process)));
}

Status PrivateAgent::add(const std::string& key_file) const {
  const auto failed = [&](const std::string& why) { return error(code::private_agent_failed, one_line(key_file) + ": " + why); };
  const std::string program = find_program("ssh-add");
  if (program.empty()) return failed("ssh-add is not installed on this machine");
  std::vector<std::string> words{program, "-q", "--", key_file};
  std::vector<std::string> settings = environment_with({{"SSH_AUTH_SOCK", socket_}, {"SSH_ASKPASS_REQUIRE", "never"}, {"SSH_ASKPASS", ""}});
  std::vector<char*> argv, env;
  for (std::string& word : words) argv.push_back(word.data());
  for (std::string& entry : settings) env.push_back(entry.data());
  argv.push_back(nullptr);
  env.push_back(nullptr);
  // It shares our terminal and our group: ^C reaches both.
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t none, all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(&attributes, static_cast<short>(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF));
  pid_t pid = -1;
  const int refused = ::posix_spawn(&pid, program.c_str(), nullptr, &attributes, argv.data(), env.data());
  ::posix_spawnattr_destroy(&attributes);
  if (refused != 0) return failed(std::strerror(refused));
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return failed(std::strerror(errno));
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return failed("ssh-add did not load it");
  return ok();
}

Result<std::vector<AgentKey>> keys_of_agent(const std::string& socket, int patience_ms) {
  AgentClient client(socket);
  std::vector<AgentKey> keys;
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(patience_ms);
  for (;;) {
    const Step answered = client.list(keys);
    if (answered == Step::done) return keys;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
    if (answered == Step::failed || left <= 0)
      return error(code::ssh_agent_unusable, "ssh-agent at " + one_line(socket) + ": " + (answered == Step::failed ? client.why() : "it does not answer"));
    if (client.fd() < 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      continue;
    }
    pollfd ready{client.fd(), static_cast<short>(client.wants_write() ? POLLIN | POLLOUT : POLLIN), 0};
    (void)::poll(&ready, 1, static_cast<int>(left));
  }
}

}  // namespace kfab::ssh

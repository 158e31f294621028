#include "commands/demo_sshd.hpp"

#include <fcntl.h>
#include <pwd.h>
#include <shadow.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

#include <fmt/format.h>

#include "base/codes/commands.hpp"
#include "base/file.hpp"
#include "base/ids.hpp"
#include "base/text.hpp"

extern char** environ;

namespace kfab::commands {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr const char* privsep_directory = "/run/sshd";   // sshd run by root wants it; a service would have made it

std::string find_program(std::string_view name) {
  for (const std::string_view folder : {"/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"}) {
    const std::string path = fmt::format("{}/{}", folder, name);
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return {};
}

Result<std::string> require_program(std::string_view name) {
  std::string path = find_program(name);
  if (path.empty()) return error(code::local_program_missing, fmt::format("{} is not installed on this machine", name));
  return path;
}

Status run_quietly(std::vector<std::string> argv, const fs::path& directory) {
  const std::string name = argv.front();
  KFAB_TRY(pid, start_child({std::move(argv), {}, directory, "/dev/null", directory / "setup.log", false}));
  const CancelToken never;
  if (const int status = wait_child(pid, never); status != 0)
    return error(code::demo_failed, fmt::format("{} ended with {}", name, status));
  return ok();
}

// Without PAM sshd refuses an account whose password is locked, although a key needs none.
bool account_is_locked() {
  if (::geteuid() != 0) return false;
  const spwd* entry = ::getspnam(own_user().c_str());
  return entry != nullptr && entry->sp_pwdp != nullptr && entry->sp_pwdp[0] == '!';
}

std::string configuration(const fs::path& directory, const std::vector<std::string>& addresses, int port) {
  std::string text = fmt::format("Port {}\n", port);
  for (const auto& address : addresses) text += fmt::format("ListenAddress {}\n", address);
  text += fmt::format(
      "HostKey {0}/host_key\nPidFile {0}/sshd.pid\nAuthorizedKeysFile {0}/authorized_keys\n"
      "StrictModes no\nUsePAM {1}\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
      "PermitRootLogin prohibit-password\nAllowUsers {2}\nX11Forwarding no\nAllowTcpForwarding no\nPrintMotd no\n"
      "SetEnv SHLVL=1 XDG_CACHE_HOME={0}/agent-cache\nMaxStartups 64\nLogLevel ERROR\n",
      directory.string(), account_is_locked() ? "yes" : "no", own_user());
  return text;
}

Status make_keys(const fs::path& directory) {
  KFAB_TRY(keygen, require_program("ssh-keygen"));
  for (const char* name : {"host_key", "id_ed25519"})
    KFAB_TRY_VOID(run_quietly({keygen, "-q", "-t", "ed25519", "-N", "", "-C", "kfab-demo", "-f", (directory / name).string()}, directory));
  KFAB_TRY(user_key, read_file(directory / "id_ed25519.pub", 4096));
  KFAB_TRY_VOID(write_file_atomically(directory / "authorized_keys", user_key, 0600));
  return ok();
}

Status write_known_hosts(const fs::path& directory, const std::vector<std::string>& addresses, int port) {
  KFAB_TRY(host_key, read_file(directory / "host_key.pub", 4096));
  const auto words = split(trim(host_key), ' ');
  if (words.size() < 2) return error(code::demo_failed, "ssh-keygen wrote a host key that is none");
  std::string lines;
  for (const auto& address : addresses) lines += fmt::format("[{}]:{} {} {}\n", address, port, words[0], words[1]);
  return write_file_atomically(directory / "known_hosts", lines, 0600);
}

bool ended(pid_t pid) { return ::waitpid(pid, nullptr, WNOHANG) == pid; }

void stop_child(pid_t pid) {
  ::kill(pid, SIGTERM);
  for (int i = 0; i < 100; ++i) {
    if (ended(pid)) return;
    std::this_thread::sleep_for(50ms);
  }
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

}  // namespace

std::string own_user() {
  const passwd* entry = ::getpwuid(::geteuid());
  return entry != nullptr ? entry->pw_name : "root";
}

Result<pid_t> start_child(const ChildSpec& spec) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  if (!spec.output.empty())
    ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, spec.output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (!spec.errors.empty())
    ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, spec.errors.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (!spec.directory.empty()) ::posix_spawn_file_actions_addchdir_np(&actions, spec.directory.c_str());
  // kfab blocks and ignores signals for itself; a child starts with all of them as they were made.
  sigset_t none, all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  if (spec.own_group) {
    ::posix_spawnattr_setpgroup(&attributes, 0);
    flags |= POSIX_SPAWN_SETPGROUP;
  }
  ::posix_spawnattr_setflags(&attributes, flags);

  std::vector<std::string> environment = spec.environment;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view line = *entry;
    const auto name = line.substr(0, line.find('=') + 1);
    bool replaced = false;
    for (const auto& own : spec.environment) replaced = replaced || own.starts_with(name);
    if (!replaced) environment.emplace_back(line);
  }
  std::vector<std::string> words = spec.argv;
  std::vector<char*> argv, envp;
  for (auto& word : words) argv.push_back(word.data());
  for (auto& line : environment) envp.push_back(line.data());
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  pid_t pid = -1;
  const int failure = ::posix_spawn(&pid, argv[0], &actions, &attributes, argv.data(), envp.data());
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (failure != 0) return error(code::demo_failed, fmt::format("cannot start {}: {}", spec.argv.front(), std::strerror(failure)));
  return pid;
}

int wait_child(pid_t pid, const CancelToken& cancel) {
  bool told = false;
  for (;;) {
    int status = 0;
    const pid_t done = ::waitpid(pid, &status, WNOHANG);
    if (done == pid) return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (done < 0 && errno != EINTR) return 127;
    if (cancel.requested() && !told) {
      ::kill(pid, SIGTERM);
      told = true;
    }
    std::this_thread::sleep_for(20ms);
  }
}

Result<std::unique_ptr<DemoSshd>> DemoSshd::start(const fs::path& directory, const std::vector<std::string>& addresses,
                                                  const CancelToken& cancel) {
  KFAB_TRY(program, require_program("sshd"));
  KFAB_TRY_VOID(make_keys(directory));
  std::unique_ptr<DemoSshd> sshd(new DemoSshd);
  if (::geteuid() == 0 && ::mkdir(privsep_directory, 0755) == 0) sshd->made_privsep_directory_ = true;
  // The kernel ends sshd with kfab, even when kfab is killed.
  std::vector<std::string> argv{program, "-D", "-f", (directory / "sshd_config").string(), "-E", (directory / "sshd.log").string()};
  if (const std::string setpriv = find_program("setpriv"); !setpriv.empty()) argv.insert(argv.begin(), {setpriv, "--pdeathsig", "TERM"});

  // Another program may have the port: sshd then ends at once, and the next one is tried.
  for (int attempt = 0; attempt < 10 && !cancel.requested(); ++attempt) {
    sshd->port_ = 20000 + static_cast<int>(std::strtoul(random_hex(2).c_str(), nullptr, 16) % 20000);
    KFAB_TRY_VOID(write_file_atomically(directory / "sshd_config", configuration(directory, addresses, sshd->port_), 0600));
    KFAB_TRY_VOID(write_known_hosts(directory, addresses, sshd->port_));
    KFAB_TRY(pid, start_child({argv, {}, directory, "/dev/null", directory / "sshd.log", true}));
    for (int waited = 0; waited < 100; ++waited) {
      if (ended(pid)) { pid = -1; break; }
      if (fs::exists(directory / "sshd.pid")) {   // written once it listens
        sshd->pid_ = pid;
        return sshd;
      }
      std::this_thread::sleep_for(50ms);
    }
    if (pid > 0) stop_child(pid);
  }
  const auto log = read_file(directory / "sshd.log", std::size_t{1} << 20);
  const auto lines = log ? split_lines(*log) : std::vector<std::string_view>{};
  Diagnostic why = error(code::demo_failed, "the private sshd did not start");
  if (!lines.empty()) why.help.push_back("its last words: " + one_line(lines.back()));
  return why;
}

DemoSshd::~DemoSshd() {
  if (pid_ > 0) stop_child(pid_);
  if (made_privsep_directory_) ::rmdir(privsep_directory);
}

}  // namespace kfab::commands

// Everything here goes over real SSH, to a private sshd on loopback.
#include <doctest/doctest.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/codes/ssh.hpp"
#include "fleet/private_sshd.hpp"
#include "unit/fleet/fake_agent.hpp"
#include "unit/ssh/recorder.hpp"

using namespace kfab;
using namespace kfab::fleet;
using namespace kfab::fleet::test;

// libssh2 1.10 loses a few bytes of libcrypto's when it is given certain keys; we never call libcrypto ourselves.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:CRYPTO_zalloc\nleak:CRYPTO_malloc\n"; }

namespace {

PrivateSshd& server() {
  static PrivateSshd sshd;
  return sshd;
}

CommandResult run_one(const ssh::Target& target, const std::string& line, FleetOptions options = {}, std::string_view input = {},
                      const ssh::TransportOptions& with = {}) {
  ssh::TransportOptions settings = ssh::options_from_environment();
  settings.home = with.home;   // never the keys of whoever runs the tests
  settings.agent_socket = with.agent_socket;
  auto transport = ssh::make_transport(settings);
  auto clock = make_system_clock();
  Sink sink;
  CancelToken cancel;
  return run_command(*transport, {target}, line, input, options, *clock, sink, cancel).at(0);
}

std::string told(const CommandResult& result) {
  std::string text(to_string(result.outcome));
  if (result.why) {
    text += " " + to_string(result.why->code) + " " + result.why->message;
    for (const std::string& help : result.why->help) text += "\n  " + help;
  }
  return text;
}

// A listening socket that never says anything.
struct BlackHole {
  BlackHole() {
    fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* plain = static_cast<sockaddr*>(static_cast<void*>(&address));
    if (::bind(fd, plain, size) != 0 || ::getsockname(fd, plain, &size) != 0) return;
    port = ntohs(address.sin_port);
  }
  ~BlackHole() { ::close(fd); }
  void listen() const { ::listen(fd, 16); }
  int fd = -1;
  std::uint16_t port = 0;
};

}  // namespace

TEST_CASE("fifty nodes, each with its own result") {
  REQUIRE(server().port > 0);
  std::vector<ssh::Target> targets;
  for (int i = 0; i < 50; ++i) targets.push_back(server().target("n" + std::to_string(i)));
  auto transport = ssh::make_transport(ssh::options_from_environment());
  auto clock = make_system_clock();
  Sink sink;
  CancelToken cancel;
  FleetOptions options;
  options.window = 16;
  const auto results = run_command(*transport, targets, "true", "", options, *clock, sink, cancel);
  REQUIRE(results.size() == 50);
  for (const CommandResult& result : results) CHECK_MESSAGE(result.outcome == NodeOutcome::ok, told(result));
  CHECK(sink.count("node_done") == 50);
}

TEST_CASE("status, output, errors and input come through") {
  auto result = run_one(server().target("n"), "cat; echo err >&2; exit 7", {}, "input");
  CHECK_MESSAGE(result.outcome == NodeOutcome::failed, told(result));
  CHECK(result.exit_status == 7);
  CHECK(result.stdout_text == "input");
  CHECK(result.stderr_text == "err\n");
  const std::string large(5'000'000, 'x');
  result = run_one(server().target("n"), "wc -c | tr -d ' '; head -c 5000000 /dev/zero | tr '\\0' y", {}, large);
  CHECK_MESSAGE(result.outcome == NodeOutcome::ok, told(result));
  CHECK(result.stdout_text.substr(0, 8) == "5000000\n");
  CHECK(result.stdout_text.size() == FleetOptions{}.max_stdout_bytes);
  CHECK(result.stdout_text.size() + result.truncated_bytes == 5'000'008);
  result = run_one(server().target("n"), "cat", {}, large);   // both directions at once, past the channel's window
  CHECK_MESSAGE(result.outcome == NodeOutcome::ok, told(result));
  CHECK(result.stdout_text.size() + result.truncated_bytes == large.size());
}

TEST_CASE("a command killed by a signal is failed, and the signal is named") {
  const auto result = run_one(server().target("n"), "kill -9 $$");
  CHECK_MESSAGE(result.outcome == NodeOutcome::failed, told(result));
  CHECK(result.signal == "KILL");
  CHECK_FALSE(result.exit_status);
}

TEST_CASE("a connection cut in the middle of a command is never ok and never failed") {
  const auto result = run_one(server().target("n"), "echo before; kill -9 $PPID; sleep 5; exit 0");
  CHECK_MESSAGE(result.outcome == NodeOutcome::unreachable, told(result));
  CHECK(result.phase == ssh::Phase::command);
  CHECK(result.why->code == code::ssh_connection_lost);
  CHECK_FALSE(result.exit_status);
}

TEST_CASE("host keys: unknown, wrong, first use, and another type than the default") {
  auto target = server().target("n");
  target.known_hosts = {"/dev/null"};
  auto result = run_one(target, "true");
  CHECK_MESSAGE(result.outcome == NodeOutcome::refused, told(result));
  CHECK(result.why->code == code::host_key_unknown);
  const std::string listed = shell("ssh-keygen -lf " + server().dir + "/host_ed25519.pub").out;
  const std::string fingerprint = split(listed, ' ').at(1);
  CHECK(result.why->message.find(fingerprint) != std::string::npos);

  target.site_store = server().dir + "/store";
  target.host_keys = ssh::HostKeyPolicy::trust_on_first_use;
  CHECK(run_one(target, "true").outcome == NodeOutcome::ok);
  target.host_keys = ssh::HostKeyPolicy::verify;
  CHECK(run_one(target, "true").outcome == NodeOutcome::ok);

  target = server().target("n");
  const std::string wrong = server().make_key("wrong", "-t ed25519 -N ''", false);
  shell("sed \"s|ssh-ed25519 .*|$(cut -d' ' -f1,2 " + wrong + ".pub)|\" " + server().dir + "/known_hosts > " + server().dir + "/known_wrong");
  target.known_hosts = {server().dir + "/known_wrong"};
  for (const auto policy : {ssh::HostKeyPolicy::verify, ssh::HostKeyPolicy::trust_on_first_use}) {
    target.host_keys = policy;
    target.site_store = server().dir + "/other-store";
    result = run_one(target, "true");
    CHECK_MESSAGE(result.outcome == NodeOutcome::refused, told(result));
    CHECK(result.why->code == code::host_key_changed);
  }

  shell("echo \"[127.0.0.1]:" + std::to_string(server().port) + " $(cut -d' ' -f1,2 " + server().dir + "/host_ecdsa.pub)\" > " + server().dir + "/known_ecdsa");
  target = server().target("n");
  target.known_hosts = {server().dir + "/known_ecdsa"};
  result = run_one(target, "true");
  CHECK_MESSAGE(result.outcome == NodeOutcome::ok, told(result));
}

TEST_CASE("keys: one that is not authorized, ECDSA, RSA, encrypted, missing") {
  auto target = server().target("n");
  target.identity_files = {server().dir + "/id_other"};
  auto result = run_one(target, "true");
  CHECK_MESSAGE(result.outcome == NodeOutcome::refused, told(result));
  CHECK(result.phase == ssh::Phase::auth);
  CHECK(result.why->code == code::ssh_auth_refused);

  target.identity_files = {server().dir + "/id_other", server().make_key("id_ecdsa", "-t ecdsa -N ''", true)};
  CHECK(run_one(target, "true").outcome == NodeOutcome::ok);

  target.identity_files = {server().make_key("id_rsa", "-t rsa -b 2048 -N ''", true)};
  result = run_one(target, "true");
  if (ssh::libssh2_signs_rsa_sha2()) {
    CHECK(result.outcome == NodeOutcome::ok);
  } else {
    CHECK_MESSAGE(result.outcome == NodeOutcome::refused, told(result));
    CHECK(result.why->code == code::ssh_rsa_unsupported);
  }

  target.identity_files = {server().make_key("id_encrypted", "-t ed25519 -N secret", true)};
  CHECK(run_one(target, "true").why->code == code::ssh_key_encrypted);
  target.identity_files = {server().dir + "/nowhere"};
  CHECK(run_one(target, "true").why->code == code::ssh_key_unreadable);
  target.identity_files.clear();
  CHECK(run_one(target, "true").why->code == code::ssh_no_identity);
}

TEST_CASE("without named keys the default ones are found") {
  auto target = server().target("n");
  target.identity_files.clear();
  std::filesystem::create_directories(server().dir + "/home/.ssh");
  std::filesystem::copy_file(server().dir + "/id_ed25519", server().dir + "/home/.ssh/id_ed25519", std::filesystem::copy_options::overwrite_existing);
  const auto result = run_one(target, "true", {}, {}, {.home = server().dir + "/home"});
  CHECK_MESSAGE(result.outcome == NodeOutcome::ok, told(result));
}

TEST_CASE("ssh-agent signs, also for an encrypted file; a dead one costs no node its life") {
  const std::string socket = server().dir + "/agent.sock";
  const Said started = shell("ssh-agent -s -a " + socket + " | sed -n 's/.*SSH_AGENT_PID=\\([0-9]*\\).*/\\1/p'");
  const int pid = std::atoi(started.out.c_str());
  REQUIRE(pid > 0);
  shell("SSH_AUTH_SOCK=" + socket + " ssh-add -q " + server().dir + "/id_other " + server().dir + "/id_ed25519 2>/dev/null");
  auto target = server().target("n");
  target.use_agent = true;
  target.identity_files.clear();
  auto result = run_one(target, "true", {}, {}, {.agent_socket = socket});
  CHECK_MESSAGE(result.outcome == NodeOutcome::ok, told(result));

  const std::string encrypted = server().make_key("id_held", "-t ed25519 -N secret", true);
  shell("cp " + encrypted + " " + encrypted + "_plain && ssh-keygen -q -p -P secret -N '' -f " + encrypted + "_plain && SSH_AUTH_SOCK=" + socket + " ssh-add -q " + encrypted + "_plain 2>/dev/null");
  target.identity_files = {encrypted};
  result = run_one(target, "true", {}, {}, {.agent_socket = socket});
  CHECK_MESSAGE(result.outcome == NodeOutcome::ok, told(result));

  ::kill(pid, SIGSTOP);
  target.identity_files.clear();
  std::filesystem::create_directories(server().dir + "/home/.ssh");
  std::filesystem::copy_file(server().dir + "/id_ed25519", server().dir + "/home/.ssh/id_ed25519", std::filesystem::copy_options::overwrite_existing);
  result = run_one(target, "true", {}, {}, {.home = server().dir + "/home", .agent_socket = socket});
  CHECK_MESSAGE(result.outcome == NodeOutcome::ok, told(result));   // by the default key, after the agent's patience
  result = run_one(target, "true", {}, {}, {.agent_socket = socket});
  CHECK(result.why->code == code::ssh_agent_unusable);
  ::kill(pid, SIGCONT);
  ::kill(pid, SIGTERM);
  result = run_one(target, "true", {}, {}, {.agent_socket = server().dir + "/no-such-socket"});
  CHECK(result.why->code == code::ssh_agent_unusable);
}

TEST_CASE("nothing there, nobody speaking, not SSH, no such name: each is told apart") {
  BlackHole hole;
  REQUIRE(hole.port > 0);
  auto target = server().target("n");
  target.port = hole.port;
  auto result = run_one(target, "true");   // bound, but not listening yet
  CHECK_MESSAGE(result.outcome == NodeOutcome::unreachable, told(result));
  CHECK(result.phase == ssh::Phase::connect);
  CHECK(result.why->code == code::ssh_connect_failed);

  hole.listen();
  FleetOptions options;
  options.deadlines.banner = std::chrono::milliseconds(400);
  result = run_one(target, "true", options);
  CHECK_MESSAGE(result.outcome == NodeOutcome::timed_out, told(result));
  CHECK(result.phase == ssh::Phase::banner);
  CHECK(result.why->code == code::ssh_timed_out);

  target.address = "no-such-host.invalid";
  result = run_one(target, "true");
  CHECK_MESSAGE((result.outcome == NodeOutcome::unreachable || result.outcome == NodeOutcome::timed_out), told(result));
  CHECK(result.phase == ssh::Phase::resolve);
}

TEST_CASE("endless output is capped, and the command ends at its deadline") {
  FleetOptions options;
  options.max_stdout_bytes = 100'000;
  options.deadlines.total = std::chrono::seconds(2);
  const auto result = run_one(server().target("n"), "yes", options);
  CHECK_MESSAGE(result.outcome == NodeOutcome::timed_out, told(result));
  CHECK(result.phase == ssh::Phase::command);
  CHECK(result.stdout_text.size() == 100'000);
  CHECK(result.truncated_bytes > 0);
}

TEST_CASE_FIXTURE(Home, "the agent is sent once over SSH, used again, and replaced when damaged") {
  // Its own hash for each run of this test: sshd gives its sessions the user's real home, which other runs share.
  const Image image(agent_script("echo '{\"type\":\"facts\",\"facts\":{}}'; " + done_ok) + "# " + random_hex(8) + "\n");
  auto clock = make_system_clock();
  const auto go = [&] {
    auto transport = ssh::make_transport(ssh::options_from_environment());
    Listener listener;
    Sink sink;
    CancelToken cancel;
    // sshd gives its sessions the home of the password database; the cache is put where the test can see it.
    return run_agents(*transport, {server().target("n")}, image.image, [](std::size_t) { return AgentTask{json::Object{{"task", "facts"}}}; }, listener, {},
                      *clock, sink, cancel).at(0);
  };
  const std::string cached = shell("echo ~$(id -un)/.cache/kfab/agent-" + image.image.sha256).out;
  const std::string file(trim(cached));
  auto end = go();
  REQUIRE_MESSAGE(end.outcome == NodeOutcome::ok, (end.why ? end.why->message : ""));
  CHECK(end.image_sent);
  end = go();
  CHECK(end.outcome == NodeOutcome::ok);
  CHECK_FALSE(end.image_sent);
  if (std::filesystem::exists(file)) {
    std::ofstream(file, std::ios::app) << "#";
    end = go();
    CHECK(end.outcome == NodeOutcome::ok);
    CHECK(end.image_sent);
    std::filesystem::remove(file);
  }
}

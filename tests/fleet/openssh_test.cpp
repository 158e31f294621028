// transport: openssh, by the ssh(1) of this machine, to private servers on loopback.
#include <doctest/doctest.h>

#include <signal.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <thread>

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

ssh::Target by_ssh(const std::string& node, const PrivateSshd& at = server()) {
  ssh::Target target = at.target(node);
  target.transport = ssh::TransportKind::openssh;
  target.identities_only = true;
  return target;
}

std::unique_ptr<ssh::Transport> transport(const std::string& agent_socket = "") {
  ssh::TransportOptions settings = ssh::options_from_environment();
  settings.home.clear();
  settings.agent_socket = agent_socket;
  return ssh::make_transport(settings);
}

std::vector<CommandResult> run_all(ssh::Transport& over, const std::vector<ssh::Target>& targets, const std::string& line, FleetOptions options = {},
                                   std::string_view input = {}) {
  auto clock = make_system_clock();
  Sink sink;
  CancelToken cancel;
  return run_command(over, targets, line, input, options, *clock, sink, cancel);
}

CommandResult run_one(const ssh::Target& target, const std::string& line, FleetOptions options = {}, std::string_view input = {}, const std::string& agent = "") {
  auto over = transport(agent);
  return run_all(*over, {target}, line, options, input).at(0);
}

std::string told(const CommandResult& result) {
  std::string text(to_string(result.outcome));
  text += " in " + std::string(ssh::to_string(result.phase));
  if (result.why) {
    text += " " + to_string(result.why->code) + " " + result.why->message;
    for (const std::string& help : result.why->help) text += "\n  " + help;
  }
  return text + "\n" + result.stderr_text;
}

// The control masters that are alive below a parent directory of ours.
int masters() { return std::atoi(shell("ls -d ${XDG_RUNTIME_DIR:-/nonexistent}/kfab-ssh-*/* ${TMPDIR:-/tmp}/kfab-ssh-*/* 2>/dev/null | while read f; do [ -S \"$f\" ] && echo x; done | wc -l").out.c_str()); }

}  // namespace

TEST_CASE("openssh: status, output, errors and input come through, and one connection serves many") {
  REQUIRE(server().port > 0);
  auto over = transport();
  auto result = run_all(*over, {by_ssh("n")}, "cat; echo err >&2; exit 7", {}, "input").at(0);
  CHECK_MESSAGE(result.outcome == NodeOutcome::failed, told(result));
  CHECK(result.exit_status == 7);
  CHECK(result.stdout_text == "input");
  CHECK(result.stderr_text == "err\n");
  result = run_all(*over, {by_ssh("n")}, "exit 255").at(0);   // over the control master now
  CHECK_MESSAGE(result.outcome == NodeOutcome::failed, told(result));
  CHECK(result.exit_status == 255);
  result = run_all(*over, {by_ssh("n")}, "true").at(0);
  CHECK_MESSAGE(result.outcome == NodeOutcome::ok, told(result));
  const std::string large(3'000'000, 'x');
  result = run_all(*over, {by_ssh("n")}, "cat", {}, large).at(0);
  CHECK_MESSAGE(result.outcome == NodeOutcome::ok, told(result));
  CHECK(result.stdout_text == large);
  CHECK(std::atoi(shell("grep -c 'Accepted publickey' " + server().dir + "/log").out.c_str()) == 1);
  over.reset();
  CHECK(masters() == 0);
}

TEST_CASE("openssh: twenty nodes at once") {
  std::vector<ssh::Target> targets;
  for (int i = 0; i < 20; ++i) targets.push_back(by_ssh("n" + std::to_string(i)));
  auto over = transport();
  for (const CommandResult& result : run_all(*over, targets, "true")) CHECK_MESSAGE(result.outcome == NodeOutcome::ok, told(result));
  over.reset();
  CHECK(masters() == 0);
}

TEST_CASE("openssh: of a large site only the first connections stay, and the others work without") {
  std::vector<ssh::Target> targets;
  for (int i = 0; i < 215; ++i) targets.push_back(by_ssh("k" + std::to_string(i)));
  auto over = transport();
  FleetOptions options;
  options.window = 24;
  std::size_t ok = 0;
  for (const CommandResult& result : run_all(*over, targets, "exit 4", options)) ok += result.exit_status == 4 ? 1 : 0;
  CHECK(ok == targets.size());
  CHECK(masters() <= 200);
  over.reset();
  CHECK(masters() == 0);
}

TEST_CASE("openssh: killed by a signal is failed, over a connection of its own and over a shared one") {
  auto over = transport();
  for (int round = 0; round < 3; ++round) {
    const auto result = run_all(*over, {by_ssh("n")}, "kill -9 $$").at(0);
    CHECK_MESSAGE(result.outcome == NodeOutcome::failed, told(result));
    CHECK(result.signal == "unknown");
    CHECK_FALSE(result.exit_status);
    CHECK(run_all(*over, {by_ssh("n")}, "exit 3").at(0).exit_status == 3);
  }
}

TEST_CASE("openssh: a connection cut in the middle of a command is never ok and never failed") {
  auto over = transport();
  for (int round = 0; round < 2; ++round) {
    const auto result = run_all(*over, {by_ssh("n")}, "echo before; kill -9 $PPID; sleep 5; exit 0").at(0);
    CHECK_MESSAGE(result.outcome == NodeOutcome::unreachable, told(result));
    CHECK(result.phase == ssh::Phase::command);
    CHECK(result.why->code == code::ssh_connection_lost);
    CHECK_FALSE(result.exit_status);
  }
}

TEST_CASE("openssh: keys and host keys that are not right are refused") {
  auto target = by_ssh("n");
  target.identity_files = {server().dir + "/id_other"};
  auto result = run_one(target, "true");
  CHECK_MESSAGE(result.outcome == NodeOutcome::refused, told(result));
  CHECK(result.phase == ssh::Phase::auth);
  CHECK(result.why->code == code::ssh_auth_refused);

  target = by_ssh("n");
  target.known_hosts = {"/dev/null"};
  result = run_one(target, "true");
  CHECK_MESSAGE(result.outcome == NodeOutcome::refused, told(result));
  CHECK(result.why->code == code::host_key_unknown);
  CHECK(result.why->message.find("SHA256:") != std::string::npos);

  target.host_keys = ssh::HostKeyPolicy::trust_on_first_use;
  target.site_store = server().dir + "/new/store";
  CHECK_MESSAGE((result = run_one(target, "true")).outcome == NodeOutcome::ok, told(result));
  target.host_keys = ssh::HostKeyPolicy::verify;
  CHECK_MESSAGE((result = run_one(target, "true")).outcome == NodeOutcome::ok, told(result));

  const std::string wrong = server().make_key("wrong_host", "-t ed25519 -N ''", false);
  shell("sed \"s|ssh-ed25519 .*|$(cut -d' ' -f1,2 " + wrong + ".pub)|\" " + server().dir + "/known_hosts > " + server().dir + "/known_wrong2");
  target = by_ssh("n");
  target.known_hosts = {server().dir + "/known_wrong2"};
  for (const auto policy : {ssh::HostKeyPolicy::verify, ssh::HostKeyPolicy::trust_on_first_use}) {
    target.host_keys = policy;
    target.site_store = server().dir + "/third/store";
    result = run_one(target, "true");
    CHECK_MESSAGE(result.outcome == NodeOutcome::refused, told(result));
    CHECK(result.why->code == code::host_key_changed);
  }
}

TEST_CASE("openssh: nothing there, no such name, a deadline") {
  auto target = by_ssh("n");
  target.port = 1;
  auto result = run_one(target, "true");
  CHECK_MESSAGE(result.outcome == NodeOutcome::unreachable, told(result));
  CHECK(result.phase == ssh::Phase::connect);
  CHECK(result.why->code == code::ssh_connect_failed);
  target.address = "no-such-host.invalid";
  result = run_one(target, "true");
  CHECK_MESSAGE((result.outcome == NodeOutcome::unreachable || result.outcome == NodeOutcome::timed_out), told(result));
  CHECK(result.phase == ssh::Phase::resolve);
  FleetOptions options;
  options.deadlines.total = std::chrono::seconds(1);
  const auto before = std::chrono::steady_clock::now();
  result = run_one(by_ssh("n"), "sleep 20", options);
  CHECK_MESSAGE(result.outcome == NodeOutcome::timed_out, told(result));
  CHECK(result.phase == ssh::Phase::command);
  CHECK(std::chrono::steady_clock::now() - before < std::chrono::seconds(6));
  CHECK(masters() == 0);
}

TEST_CASE("openssh: what libssh2 1.10 cannot do: an RSA key, a user certificate, an encrypted key in ssh-agent") {
  auto target = by_ssh("n");
  target.identity_files = {server().make_key("rsa", "-t rsa -b 2048 -N ''", true)};
  auto result = run_one(target, "true");
  CHECK_MESSAGE(result.outcome == NodeOutcome::ok, told(result));

  const std::string ca = server().make_key("ca", "-t ed25519 -N ''", false);
  const PrivateSshd certified("TrustedUserCAKeys " + ca + ".pub");
  REQUIRE(certified.port > 0);
  const std::string user = certified.make_key("certified", "-t ed25519 -N ''", false);
  target = by_ssh("n", certified);
  target.identity_files = {user};
  CHECK(run_one(target, "true").outcome == NodeOutcome::refused);
  shell("ssh-keygen -q -s " + ca + " -I test -n $(id -un) " + user + ".pub");
  result = run_one(target, "true");
  CHECK_MESSAGE(result.outcome == NodeOutcome::ok, told(result));

  const std::string socket = server().dir + "/oagent";
  const int pid = std::atoi(shell("ssh-agent -s -a " + socket + " | sed -n 's/.*SSH_AGENT_PID=\\([0-9]*\\).*/\\1/p'").out.c_str());
  REQUIRE(pid > 0);
  const std::string encrypted = server().make_key("held", "-t ed25519 -N secret", true);
  shell("cp " + encrypted + " " + encrypted + "_p && ssh-keygen -q -p -P secret -N '' -f " + encrypted + "_p && SSH_AUTH_SOCK=" + socket + " ssh-add -q " + encrypted + "_p 2>/dev/null");
  target = by_ssh("n");
  target.identity_files = {encrypted};
  CHECK(run_one(target, "true").outcome == NodeOutcome::refused);   // nobody is asked for the passphrase
  target.use_agent = true;
  result = run_one(target, "true", {}, {}, socket);
  CHECK_MESSAGE(result.outcome == NodeOutcome::ok, told(result));
  ::kill(pid, SIGTERM);
}

TEST_CASE("openssh: a server of modern algorithms only: libssh2 says what is missing, ssh gets in") {
  const PrivateSshd modern("Ciphers chacha20-poly1305@openssh.com,aes256-gcm@openssh.com\nMACs hmac-sha2-512-etm@openssh.com,hmac-sha2-256-etm@openssh.com\n"
                           "KexAlgorithms sntrup761x25519-sha512@openssh.com,curve25519-sha256\nHostKeyAlgorithms ssh-ed25519");
  REQUIRE(modern.port > 0);
  auto result = run_one(by_ssh("n", modern), "true");
  CHECK_MESSAGE(result.outcome == NodeOutcome::ok, told(result));
  result = run_one(modern.target("n"), "true");
  if (result.outcome == NodeOutcome::ok) return;   // a libssh2 that can
  CHECK_MESSAGE(result.outcome == NodeOutcome::unreachable, told(result));
  CHECK(result.why->code == code::ssh_kex_failed);
  CHECK_MESSAGE(result.why->message.find("aes256-gcm@openssh.com") != std::string::npos, told(result));
  CHECK_MESSAGE(result.why->message.find("no MAC (the server offers only hmac-sha2-512-etm@openssh.com") != std::string::npos, told(result));
  CHECK(info(result.why->code).next_step.find("transport: openssh") != std::string_view::npos);
}

TEST_CASE("openssh: through one and two jump hosts, and one of them failing is named") {
  const PrivateSshd outer, inner;
  REQUIRE(outer.port > 0);
  REQUIRE(inner.port > 0);
  const auto first = std::make_shared<const ssh::Target>(by_ssh("bastion", outer)), second = std::make_shared<const ssh::Target>(by_ssh("inner", inner));
  auto target = by_ssh("n");
  target.via = {first};
  auto result = run_one(target, "exit 5");
  CHECK_MESSAGE(result.exit_status == 5, told(result));
  target.via = {first, second};
  auto over = transport();
  result = run_all(*over, {target}, "echo $SSH_CONNECTION").at(0);
  CHECK_MESSAGE(result.outcome == NodeOutcome::ok, told(result));
  std::vector<ssh::Target> many;
  for (int i = 0; i < 6; ++i) {
    many.push_back(target);
    many.back().node = "m" + std::to_string(i);
  }
  for (const CommandResult& one : run_all(*over, many, "true")) CHECK_MESSAGE(one.outcome == NodeOutcome::ok, told(one));
  over.reset();
  CHECK(masters() == 0);

  auto locked = by_ssh("bastion", outer);
  locked.identity_files = {outer.dir + "/id_other"};
  target.via = {std::make_shared<const ssh::Target>(locked), second};
  result = run_one(target, "true");
  CHECK_MESSAGE(result.outcome == NodeOutcome::refused, told(result));
  CHECK_MESSAGE(result.why->message.find("jump host bastion") != std::string::npos, told(result));
  target.via = {first};
  target.port = 1;
  result = run_one(target, "true");
  CHECK_MESSAGE(result.outcome == NodeOutcome::unreachable, told(result));
  CHECK_MESSAGE(result.why->message.find("jump host bastion") != std::string::npos, told(result));
}

TEST_CASE("openssh: the agent is sent and run as over libssh2") {
  const Image image(agent_script("echo '{\"type\":\"facts\",\"facts\":{}}'; " + done_ok) + "# " + random_hex(8) + "\n");
  auto clock = make_system_clock();
  auto over = transport();
  for (const bool sent : {true, false}) {
    Listener listener;
    Sink sink;
    CancelToken cancel;
    const auto end = run_agents(*over, {by_ssh("n")}, image.image, [](std::size_t) { return AgentTask{json::Object{{"task", "facts"}}}; }, listener, {}, *clock,
                                sink, cancel).at(0);
    CHECK_MESSAGE(end.outcome == NodeOutcome::ok, (end.why ? end.why->message : ""));
    CHECK(end.image_sent == sent);
  }
  shell("rm -f ~$(id -un)/.cache/kfab/agent-" + image.image.sha256);
}

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

#include "ssh/openssh.hpp"

#include "base/codes/ssh.hpp"

using namespace kfab;
using namespace kfab::ssh;

namespace {

const OpensshPlace place{"/usr/bin/ssh", "/tmp/kfab-ssh-0", "/home/op", false};

Target node() {
  Target target;
  target.node = "gpu1";
  target.address = "10.0.0.1";
  target.port = 2200;
  target.user = "ops";
  target.identity_files = {"/keys/a b", "/keys/100%"};
  target.site_store = "/state/known_hosts";
  return target;
}

std::shared_ptr<const Target> jump(const std::string& name, const std::string& address) {
  Target target;
  target.node = name;
  target.address = address;
  return std::make_shared<const Target>(target);
}

std::string config_of(const Target& target, const OpensshPlace& where = place) {
  auto config = openssh_config(target, {}, where);
  REQUIRE_MESSAGE(config.has_value(), (config ? "" : config.error().message));
  return config->text;
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

OpensshLog log_of(std::string_view text) {
  OpensshLog log;
  for (const char c : text) log.add(std::string_view(&c, 1));   // in the smallest pieces
  log.finish();
  return log;
}

CommandEnd judged(std::string_view log, std::optional<int> status, bool in_master = false, const Target& target = node(), std::vector<OpensshLog> jumps = {}) {
  OpensshEvidence evidence;
  evidence.ssh_status = status;
  evidence.end_of_output = true;
  evidence.log = log_of(log);
  evidence.signalled_in_master = in_master;
  evidence.jumps = std::move(jumps);
  return judge_openssh(evidence, target, "gpu1");
}

const std::string shared_start = "debug1: auto-mux: Trying existing master\r\ndebug1: mux_client_request_session: master session id: 2\r\n";
const std::string own_start = "debug1: Connecting to 10.0.0.1 [10.0.0.1] port 2200.\ndebug1: Local version string SSH-2.0-x\ndebug1: Remote protocol version 2.0\n"
                              "debug1: SSH2_MSG_NEWKEYS received\nAuthenticated to 10.0.0.1 using \"publickey\".\ndebug2: exec request accepted on channel 0\n";

}  // namespace

TEST_CASE("openssh: the configuration says all that kfab wants, and nothing is read into it") {
  const std::string text = config_of(node());
  for (const char* line : {"Host gpu1\n", "HostName \"10.0.0.1\"", "Port 2200", "User \"ops\"", "IdentityFile \"/keys/a b\"", "IdentityFile \"/keys/100%%\"",
                           "BatchMode yes", "StrictHostKeyChecking yes", "UserKnownHostsFile \"/state/known_hosts\" \"/home/op/.ssh/known_hosts\"",
                           "ControlMaster auto", "ControlPersist 60", "ForwardAgent no", "ClearAllForwardings yes", "EscapeChar none", "ServerAliveInterval 15"})
    CHECK_MESSAGE(has(text, line), line);
  CHECK_FALSE(has(text, "Include"));
  CHECK_FALSE(has(text, "ProxyCommand"));

  Target first = node();
  first.host_keys = HostKeyPolicy::trust_on_first_use;
  CHECK(has(config_of(first), "StrictHostKeyChecking accept-new"));
  OpensshPlace knowing = place;
  knowing.knows_target = true;   // then a new key under a new address is not to be accepted
  CHECK(has(config_of(first, knowing), "StrictHostKeyChecking yes"));

  Target odd = node();
  odd.node = "a*;$(id)";
  CHECK(has(config_of(odd), "Host kfab-node\n"));
  odd = node();
  odd.user = "x\nProxyCommand id";
  CHECK_FALSE(openssh_config(odd, {}, place));
  odd = node();
  odd.address = "$(id)";
  CHECK_FALSE(openssh_config(odd, {}, place));
  odd = node();
  odd.identity_files = {"/a\"\nProxyCommand id\n\""};
  CHECK_FALSE(openssh_config(odd, {}, place));
  odd.identity_files = {"/a\"b\\c"};
  CHECK(has(config_of(odd), "IdentityFile \"/a\\\"b\\\\c\""));
  OpensshPlace bad = place;
  bad.directory = "/tmp/a b";
  CHECK_FALSE(openssh_config(node(), {}, bad));
}

TEST_CASE("openssh: jump hosts are led through one by one, and the same way has the same socket") {
  Target target = node();
  target.via = {jump("outer", "192.0.2.1"), jump("inner", "fd00::2")};
  target.config_files = {"/home/op/.ssh/config"};
  const auto config = openssh_config(target, {}, place);
  REQUIRE(config);
  CHECK(has(config->text, "-W '[fd00::2]:22' -- outer\n"));
  CHECK(has(config->text, "-W '[10.0.0.1]:2200' -- inner\n"));
  CHECK(has(config->text, "ProxyCommand /usr/bin/ssh -F /tmp/kfab-ssh-0/" + config->name + " -E \"$KFAB_SSH_LOG.j1\""));
  CHECK(has(config->text, "Include \"/home/op/.ssh/config\""));
  CHECK(config->text.find("Host outer") < config->text.find("Host inner"));
  CHECK(config->text.find("Host inner") < config->text.find("Host gpu1"));

  const auto sockets = [&](const std::string& text) {
    std::vector<std::string> found;
    for (std::size_t at = 0; (at = text.find("ControlPath ", at)) != std::string::npos; ++at) found.push_back(text.substr(at, text.find('\n', at) - at));
    return found;
  };
  Target other = target;
  other.node = "gpu2";
  other.address = "10.0.0.2";
  const auto mine = sockets(config->text), theirs = sockets(config_of(other));
  REQUIRE(mine.size() == 3);
  CHECK(mine[0] == theirs[0]);
  CHECK(mine[1] == theirs[1]);
  CHECK(mine[2] != theirs[2]);
  CHECK(config_of(target) == config->text);
}

TEST_CASE("openssh: arguments and environment ask nobody anything") {
  const auto config = openssh_config(node(), {}, place);
  const auto words = openssh_arguments(*config, place, "/tmp/kfab-ssh-0/log1", "-oProxyCommand=id");
  CHECK(words.back() == "-oProxyCommand=id");
  CHECK(words.at(words.size() - 3) == "--");
  const auto alone = openssh_arguments(*config, place, "/tmp/kfab-ssh-0/log1", "true", false);
  CHECK(std::find(alone.begin(), alone.end(), "ControlPath=none") != alone.end());
  const auto env = openssh_environment({"PATH=/bin", "DISPLAY=:0", "SSH_ASKPASS=/evil", "SSH_AUTH_SOCK=/old", "KFAB_SSH_LOG=/x"}, "/agent", "/log");
  const auto there = [&](const char* entry) { return std::find(env.begin(), env.end(), entry) != env.end(); };
  CHECK(there("PATH=/bin"));
  CHECK(there("SSH_ASKPASS_REQUIRE=never"));
  CHECK(there("SSH_AUTH_SOCK=/agent"));
  CHECK(there("KFAB_SSH_LOG=/log"));
  CHECK(env.size() == 4);
}

TEST_CASE("openssh: ok and failed need the server's own word, and 255 is told apart") {
  CHECK(judged(shared_start + "debug2: Received exit status from master 0\n", 0).outcome == NodeOutcome::ok);
  auto end = judged(shared_start + "debug2: Received exit status from master 255\n", 255);
  CHECK(end.outcome == NodeOutcome::failed);
  CHECK(end.exit_status == 255);
  end = judged(own_start + "debug1: client_input_channel_req: channel 0 rtype exit-status reply 0\ndebug1: Exit status 7\n", 7);
  CHECK(end.outcome == NodeOutcome::failed);
  CHECK(end.exit_status == 7);

  CHECK(judged(shared_start, 0).outcome == NodeOutcome::unreachable);   // no proof
  CHECK(judged(shared_start + "debug2: Received exit status from master 0\n", 255).outcome == NodeOutcome::unreachable);
  CHECK(judged(shared_start + "debug2: Received exit status from master 0\n", std::nullopt).outcome == NodeOutcome::unreachable);
  CHECK(judged(own_start + "debug1: Exit status 0\n", 0).outcome == NodeOutcome::unreachable);
  CHECK(judged("", 0).outcome == NodeOutcome::unreachable);

  end = judged(own_start + "debug1: client_input_channel_req: channel 0 rtype exit-signal reply 0\ndebug1: Exit status -1\n", 255);
  CHECK(end.outcome == NodeOutcome::failed);
  CHECK_FALSE(end.signal.empty());
  CHECK_FALSE(end.exit_status);
  CHECK(judged(shared_start + "debug2: Control master terminated unexpectedly\n", 255, true).outcome == NodeOutcome::failed);
  end = judged(shared_start + "debug2: Control master terminated unexpectedly\n", 255, false);
  CHECK(end.outcome == NodeOutcome::unreachable);
  CHECK(end.phase == Phase::command);
  CHECK(end.why->code == code::ssh_connection_lost);
}

TEST_CASE("openssh: why it did not come to the command") {
  struct Row { const char* log; NodeOutcome outcome; Phase phase; Code code; };
  const Row rows[] = {
      {"ssh: Could not resolve hostname x: Name or service not known\n", NodeOutcome::unreachable, Phase::resolve, code::ssh_resolve_failed},
      {"ssh: connect to host 10.0.0.1 port 2200: Connection refused\n", NodeOutcome::unreachable, Phase::connect, code::ssh_connect_failed},
      {"Connection timed out during banner exchange\nConnection to 10.0.0.1 port 2200 timed out\n", NodeOutcome::timed_out, Phase::banner, code::ssh_timed_out},
      {"kex_exchange_identification: Connection closed by remote host\n", NodeOutcome::unreachable, Phase::banner, code::ssh_not_ssh},
      {"Unable to negotiate with 10.0.0.1 port 2200: no matching cipher found. Their offer: 3des-cbc\n", NodeOutcome::unreachable, Phase::kex, code::ssh_kex_failed},
      {"@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nOffending key in /k:3\nHost key verification failed.\n", NodeOutcome::refused, Phase::kex, code::host_key_changed},
      {"Host key verification failed.\n", NodeOutcome::refused, Phase::kex, code::host_key_unknown},
      {"Load key \"/k\": Permission denied\nops@10.0.0.1: Permission denied (publickey).\n", NodeOutcome::refused, Phase::auth, code::ssh_auth_refused},
      {"/tmp/c line 3: Bad configuration option: x\n/tmp/c: terminating, 1 bad configuration options\n", NodeOutcome::unreachable, Phase::resolve, code::openssh_not_possible},
  };
  for (const Row& row : rows) {
    CAPTURE(row.log);
    const auto end = judged(row.log, 255);
    CHECK(end.outcome == row.outcome);
    CHECK(end.phase == row.phase);
    CHECK(end.why->code == row.code);
  }
  const auto end = judged("Load key \"/k\": Permission denied\nssh: connect to host 10.0.0.1 port 2200: Connection refused\n", 255);
  CHECK(end.phase == Phase::connect);
}

TEST_CASE("openssh: a jump host that fails is named") {
  Target target = node();
  target.via = {jump("outer", "192.0.2.1"), jump("inner", "192.0.2.2")};
  const std::string dead = "debug1: Executing proxy command: exec ssh\nkex_exchange_identification: Connection closed by remote host\n";
  auto end = judged(dead, 255, false, target, {log_of("root@192.0.2.1: Permission denied (publickey).\n"), log_of("Connection closed by UNKNOWN port 65535\n")});
  CHECK(end.outcome == NodeOutcome::refused);
  CHECK(end.why->message.find("jump host outer") != std::string::npos);
  end = judged(dead, 255, false, target, {log_of("Authenticated to a\n"), log_of("channel 0: open failed: connect failed: Connection refused\nstdio forwarding failed\n")});
  CHECK(end.outcome == NodeOutcome::unreachable);
  CHECK(end.why->message.find("jump host inner") != std::string::npos);
}

TEST_CASE("openssh: random and hostile logs") {
  std::mt19937 random(11);
  const char* parts[] = {"debug1: ", "debug2: ", "Received exit status from master ", "99999999999", "-1", "\n", "\r", "Exit status ", "client_input_channel_req: channel ",
                         " rtype exit-signal ", "mux_client_request_session: master session id: ", "\x1b[2J", "Permission denied (", "@@@", "\xff"};
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (unsigned i = 0, n = random() % 30; i < n; ++i) text += parts[random() % std::size(parts)];
    const auto end = judged(text, random() % 2 == 0 ? std::optional<int>(static_cast<int>(random() % 256)) : std::nullopt);
    if (end.outcome == NodeOutcome::ok) CHECK(text.find("from master 0") != std::string::npos);
    if (end.why) CHECK(end.why->message.find('\x1b') == std::string::npos);
  }
  OpensshLog log;
  for (int i = 0; i < 2000; ++i) log.add(std::string(1000, 'x'));
  log.add("\ndebug1: Connecting to x\n");
  for (int i = 0; i < 2000; ++i) log.add("said\n");
  CHECK(log.phase == Phase::connect);
  CHECK(log.said.size() <= 40);
}

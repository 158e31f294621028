// Nodes behind jump hosts, over real sshds: one and two hops, many nodes at once, and every way in which a hop can fail.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>

#include <memory>

#include "base/codes/ssh.hpp"
#include "fleet/fleet.hpp"
#include "fleet/host_key_scan.hpp"
#include "fleet/private_sshd.hpp"
#include "unit/fleet/fake_agent.hpp"

using namespace kfab;
using namespace kfab::fleet;
using namespace kfab::fleet::test;

// OpenSSL keeps a few allocations of its own for the life of the process.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:CRYPTO_zalloc\nleak:CRYPTO_malloc\n"; }

namespace {

struct Site {
  PrivateSshd node, inner, outer;
  std::shared_ptr<const ssh::Target> hop(const PrivateSshd& sshd, const std::string& name) const {
    return std::make_shared<const ssh::Target>(sshd.target(name));
  }
};
Site& site() {
  static Site all;
  return all;
}

std::vector<CommandResult> run_all(const std::vector<ssh::Target>& targets, const std::string& line, FleetOptions options = {}, std::string_view input = {}) {
  ssh::TransportOptions settings = ssh::options_from_environment();
  settings.home.clear();
  settings.agent_socket.clear();
  auto transport = ssh::make_transport(settings);
  auto clock = make_system_clock();
  Sink sink;
  CancelToken cancel;
  return run_command(*transport, targets, line, input, options, *clock, sink, cancel);
}
CommandResult run_one(const ssh::Target& target, const std::string& line, FleetOptions options = {}, std::string_view input = {}) {
  return run_all({target}, line, options, input).at(0);
}

std::string told(const CommandResult& result) {
  std::string text = result.node + " " + std::string(to_string(result.outcome)) + " " + std::string(ssh::to_string(result.phase));
  if (result.why) text += " " + to_string(result.why->code) + " " + result.why->message;
  return text;
}

// Listens and never accepts, with its queue full: whoever comes now waits for an answer to his SYN.
struct Silence {
  Silence() {
    fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* plain = static_cast<sockaddr*>(static_cast<void*>(&address));
    if (::bind(fd, plain, size) != 0 || ::getsockname(fd, plain, &size) != 0 || ::listen(fd, 0) != 0) return;
    port = ntohs(address.sin_port);
    for (int& filler : fillers) {
      filler = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      (void)::connect(filler, plain, size);
    }
  }
  ~Silence() {
    ::close(fd);
    for (const int filler : fillers) ::close(filler);
  }
  int fd = -1;
  int fillers[4] = {-1, -1, -1, -1};
  std::uint16_t port = 0;
};

}  // namespace

TEST_CASE("one hop and two hops: status, both streams and five megabytes each way") {
  REQUIRE(site().node.port > 0);
  REQUIRE(site().inner.port > 0);
  REQUIRE(site().outer.port > 0);
  const auto outer = site().hop(site().outer, "outer"), inner = site().hop(site().inner, "inner");
  for (const auto& via : {std::vector{outer}, std::vector{outer, inner}}) {
    auto target = site().node.target("n");
    target.via = via;
    auto result = run_one(target, "cat; echo err >&2; exit 7", {}, "input");
    CHECK_MESSAGE(result.outcome == NodeOutcome::failed, told(result));
    CHECK(result.exit_status == 7);
    CHECK(result.stdout_text == "input");
    CHECK(result.stderr_text == "err\n");
    FleetOptions options;
    options.max_stdout_bytes = 8'000'000;
    std::string large(5'000'000, 'x');
    for (std::size_t i = 0; i < large.size(); i += 97) large[i] = static_cast<char>('a' + i % 26);
    result = run_one(target, "cat", options, large);
    CHECK_MESSAGE(result.outcome == NodeOutcome::ok, told(result));
    CHECK((result.stdout_text == large));
  }
}

TEST_CASE("many nodes share the connections to their jump host") {
  const auto outer = site().hop(site().outer, "outer");
  std::vector<ssh::Target> targets;
  for (int i = 0; i < 100; ++i) {
    targets.push_back(site().node.target("n" + std::to_string(i)));
    targets.back().via = {outer};
  }
  const std::string counted = "grep -c 'Accepted publickey' " + site().outer.dir + "/log";
  const int before = std::atoi(shell(counted).out.c_str());
  FleetOptions options;
  options.window = 32;
  const auto results = run_all(targets, "echo out; exit 3", options);
  for (const auto& result : results) {
    CHECK_MESSAGE(result.outcome == NodeOutcome::failed, told(result));
    CHECK(result.exit_status == 3);
    CHECK(result.stdout_text == "out\n");
  }
  const int logins = std::atoi(shell(counted).out.c_str()) - before;
  CHECK(logins >= 1);
  CHECK(logins <= 48);   // the most that two dozen per reactor allow on two; mostly one per reactor
  MESSAGE("100 nodes over " << logins << " connections to the jump host");
}

TEST_CASE("a dead node behind a jump host ends at its own deadline, and the others do not wait for it") {
  const Silence silence;
  REQUIRE(silence.port > 0);
  const auto outer = site().hop(site().outer, "outer");
  std::vector<ssh::Target> targets;
  for (int i = 0; i < 30; ++i) {
    targets.push_back(site().node.target("n" + std::to_string(i)));
    targets.back().via = {outer};
    if (i % 10 == 3) targets.back().port = silence.port;   // black hole
    if (i % 10 == 6) targets.back().port = 1;              // closed
  }
  FleetOptions options;
  options.deadlines.connect = std::chrono::seconds(2);
  const auto begin = std::chrono::steady_clock::now();
  const auto results = run_all(targets, "true", options);
  const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  for (std::size_t i = 0; i < results.size(); ++i) {
    const auto& result = results[i];
    if (i % 10 == 3) {
      CHECK_MESSAGE(result.outcome == NodeOutcome::timed_out, told(result));
      CHECK(result.phase == ssh::Phase::connect);
    } else if (i % 10 == 6) {
      CHECK_MESSAGE(result.outcome == NodeOutcome::unreachable, told(result));
      CHECK(result.phase == ssh::Phase::connect);
      CHECK(result.why->code == code::ssh_connect_failed);
      CHECK(result.why->message.find("outer") != std::string::npos);
    } else {
      CHECK_MESSAGE(result.outcome == NodeOutcome::ok, told(result));
    }
  }
  CHECK(wall < 20);
}

TEST_CASE("many dead nodes behind a jump host are told from the others at once, and hold up none of them") {
  struct Row { int nodes, dead; };
  for (const Row row : {Row{40, 10}, Row{160, 80}}) {
    CAPTURE(row.nodes);
    std::vector<std::unique_ptr<Silence>> silences;
    const auto outer = site().hop(site().outer, "outer");
    std::vector<ssh::Target> targets;
    for (int i = 0; i < row.nodes; ++i) {
      targets.push_back(site().node.target("n" + std::to_string(i)));
      targets.back().via = {outer};
      if (i * row.dead / row.nodes == (i + 1) * row.dead / row.nodes) continue;
      silences.push_back(std::make_unique<Silence>());   // each a machine of its own: another port
      targets.back().port = silences.back()->port;
      REQUIRE(targets.back().port > 0);
    }
    const std::string counted = "grep -c 'Accepted publickey' " + site().outer.dir + "/log";
    const int before = std::atoi(shell(counted).out.c_str());
    const auto begin = std::chrono::steady_clock::now();
    const auto results = run_all(targets, "true");   // with the usual deadlines: 10 s for the connection
    const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    int dead = 0;
    double slowest_s = 0;
    for (std::size_t i = 0; i < results.size(); ++i) {
      const auto& result = results[i];
      if (targets[i].port != site().node.port) {
        ++dead;
        CHECK_MESSAGE(result.outcome == NodeOutcome::timed_out, told(result));
        CHECK(result.phase == ssh::Phase::connect);
      } else {
        CHECK_MESSAGE(result.outcome == NodeOutcome::ok, told(result));
        slowest_s = std::max(slowest_s, result.duration_s);
      }
    }
    CHECK(dead == row.dead);
    CHECK(wall < 15);
    CHECK(slowest_s < 5);   // before the first dead one is given up
    const int logins = std::atoi(shell(counted).out.c_str()) - before;
    CHECK(logins <= 24);    // not one for each dead node
    MESSAGE(row.nodes << " nodes, " << row.dead << " of them dead: " << wall << " s, the slowest of the others " << slowest_s << " s, "
                      << logins << " connections to the jump host");
  }
}

TEST_CASE("a jump host that runs no commands is a jump host all the same") {
  const Silence silence;
  PrivateSshd hop("ForceCommand /bin/false");
  const auto outer = site().hop(hop, "outer");
  std::vector<ssh::Target> targets;
  for (int i = 0; i < 20; ++i) {
    targets.push_back(site().node.target("n" + std::to_string(i)));
    targets.back().via = {outer};
    if (i % 5 == 1) targets.back().port = silence.port;
  }
  FleetOptions options;
  options.deadlines.connect = std::chrono::seconds(3);
  const auto results = run_all(targets, "true", options);
  for (std::size_t i = 0; i < results.size(); ++i)
    CHECK_MESSAGE(results[i].outcome == (i % 5 == 1 ? NodeOutcome::timed_out : NodeOutcome::ok), told(results[i]));
}

TEST_CASE("a jump host that cannot be reached, does not let us in or forwards nothing: said of the jump host, for every node") {
  struct Row { std::string what; ssh::Target hop; NodeOutcome outcome; Code code; };
  auto closed = site().outer.target("outer");
  closed.port = 1;
  auto stranger = site().outer.target("outer");
  stranger.identity_files = {site().outer.dir + "/id_other"};
  auto unknown = site().outer.target("outer");
  unknown.known_hosts = {"/dev/null"};
  const PrivateSshd still("AllowTcpForwarding no");
  const Row rows[] = {{"closed", closed, NodeOutcome::unreachable, code::ssh_connect_failed},
                      {"not let in", stranger, NodeOutcome::refused, code::ssh_auth_refused},
                      {"unknown host key", unknown, NodeOutcome::refused, code::host_key_unknown},
                      {"no forwarding", still.target("outer"), NodeOutcome::unreachable, code::ssh_connect_failed}};
  for (const Row& row : rows) {
    INFO(row.what);
    std::vector<ssh::Target> targets(3, site().node.target("n"));
    const auto hop = std::make_shared<const ssh::Target>(row.hop);
    for (auto& target : targets) target.via = {hop};
    for (const auto& result : run_all(targets, "true")) {
      CHECK_MESSAGE(result.outcome == row.outcome, told(result));
      CHECK(result.phase == ssh::Phase::connect);
      REQUIRE(result.why);
      CHECK_MESSAGE(result.why->code == row.code, told(result));
      CHECK(result.why->message.find("outer") != std::string::npos);
    }
  }
}

TEST_CASE("behind a jump host too: all host keys are seen, and a certificate vouches for a node, or does not") {
  const auto outer = site().hop(site().outer, "outer");
  auto target = site().node.target("n");
  target.via = {outer};
  ssh::TransportOptions settings = ssh::options_from_environment();
  settings.home.clear();
  settings.agent_socket.clear();
  auto transport = ssh::make_transport(settings);
  auto clock = make_system_clock();
  Sink sink;
  CancelToken cancel;
  const auto scanned = scan_host_keys(*transport, {target, target, target}, {}, *clock, sink, cancel);
  for (const auto& node : scanned) {
    CHECK_MESSAGE(node.outcome == NodeOutcome::ok, (node.why ? node.why->message : ""));
    CHECK(node.key_blobs.size() == 2);   // Ed25519 and ECDSA, as sshd.sh makes them
  }
  // With certificates of an authority of our own, and nothing else known.
  const std::string dir = site().outer.dir;
  for (const char* authority : {"ca", "other_ca"}) shell("ssh-keygen -q -t ed25519 -N '' -f " + dir + "/" + authority + " </dev/null");
  for (const char* type : {"ed25519", "ecdsa"}) {
    CAPTURE(type);
    const std::string key = dir + "/certified_" + type;
    shell("ssh-keygen -q -t " + std::string(type) + " -N '' -f " + key + " </dev/null");
    CHECK(shell("ssh-keygen -q -h -s " + dir + "/ca -I n -n 127.0.0.1,n " + key + ".pub 2>&1").status == 0);
    const PrivateSshd certified("HostKey " + key + "\nHostCertificate " + key + "-cert.pub");
    REQUIRE(certified.port > 0);
    auto node = certified.target("n");
    node.known_hosts = {"/dev/null"};
    node.via = {outer};
    node.host_ca_files = {dir + "/ca.pub"};
    const auto good = run_one(node, "true");
    CHECK_MESSAGE(good.outcome == NodeOutcome::ok, told(good));
    node.host_ca_files = {dir + "/other_ca.pub"};
    const auto bad = run_one(node, "true");
    CHECK_MESSAGE(bad.outcome == NodeOutcome::refused, told(bad));
    CHECK(bad.why->message.find("jump host") == std::string::npos);   // it is the node's key, not the jump host's
    const auto seen = scan_host_keys(*transport, {node}, {}, *clock, sink, cancel);
    CHECK(seen.at(0).key_blobs.size() == 2);   // the key and the certificate
  }
}

TEST_CASE("a jump host that goes away in the middle is a lost connection, never a result") {
  PrivateSshd hop;
  auto target = site().node.target("n");
  target.via = {std::make_shared<const ssh::Target>(hop.target("outer"))};
  const std::string stop = std::string(KFAB_SOURCE_DIR) + "/tests/fleet/sshd.sh stop " + hop.dir;
  const auto result = run_one(target, "echo before; " + stop + "; sleep 5; exit 0");
  CHECK_MESSAGE(result.outcome == NodeOutcome::unreachable, told(result));
  CHECK(result.phase == ssh::Phase::command);
  REQUIRE(result.why);
  CHECK(result.why->code == code::ssh_connection_lost);
  CHECK_FALSE(result.exit_status);
}

namespace {
struct Last final : ssh::CommandListener {
  void on_phase(ssh::Phase phase) override { logins += phase == ssh::Phase::auth ? 1 : 0; }
  void on_stdout(std::string_view bytes) override { text += bytes; }
  void on_end(const ssh::CommandEnd& ended) override { end = ended; over = true; }
  std::string text;
  ssh::CommandEnd end;
  bool over = false;
  int logins = 0;
};
}  // namespace

TEST_CASE("a connection that is kept serves the next command, and one that died is made anew") {
  auto transport = ssh::make_transport(ssh::options_from_environment());
  const auto target = site().node.target("n");
  const auto go = [&](const std::string& line) {
    auto last = std::make_shared<Last>();
    transport->launch(target, {.line = line, .keep_connection = true}, last);
    for (int i = 0; i < 300 && !last->over; ++i) transport->drive(std::chrono::milliseconds(100));
    return last;
  };
  auto last = go("echo $PPID; exit 7");
  CHECK(last->end.exit_status == 7);
  CHECK(last->logins == 1);
  const std::string first = last->text;
  last = go("echo $PPID; kill -9 $$");
  CHECK(last->text == first);
  CHECK(last->logins == 0);
  CHECK(last->end.outcome == NodeOutcome::failed);
  CHECK(last->end.signal == "KILL");
  CHECK_FALSE(last->end.exit_status);
  last = go("echo $PPID");
  CHECK(last->text == first);
  CHECK(last->end.outcome == NodeOutcome::ok);
  ::kill(std::atoi(first.c_str()), SIGTERM);
  last = go("echo $PPID");
  CHECK(last->end.outcome == NodeOutcome::ok);
  CHECK(last->text != first);
  CHECK(last->logins == 1);
}

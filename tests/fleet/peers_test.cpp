// Servers as they are met in the field: dropbear, and an sshd that lets very few log in at the same time.
#include <doctest/doctest.h>

#include "fleet/fleet.hpp"
#include "fleet/private_sshd.hpp"
#include "unit/fleet/fake_agent.hpp"

using namespace kfab;
using namespace kfab::fleet;
using namespace kfab::fleet::test;

// OpenSSL keeps a few allocations of its own for the life of the process.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:CRYPTO_zalloc\nleak:CRYPTO_malloc\n"; }

namespace {

std::vector<CommandResult> run_all(const std::vector<ssh::Target>& targets, const std::string& line, std::string_view input = {}, FleetOptions options = {}) {
  ssh::TransportOptions settings = ssh::options_from_environment();
  settings.home.clear();   // never the keys of whoever runs the tests
  settings.agent_socket.clear();
  auto transport = ssh::make_transport(settings);
  auto clock = make_system_clock();
  Sink sink;
  CancelToken cancel;
  return run_command(*transport, targets, line, input, options, *clock, sink, cancel);
}

std::string told(const CommandResult& result) {
  std::string text = result.node + " " + std::string(to_string(result.outcome)) + " " + std::string(ssh::to_string(result.phase));
  if (result.why) text += " " + to_string(result.why->code) + " " + result.why->message;
  return text;
}

}  // namespace

TEST_CASE("an sshd with MaxStartups 2:50:5 is asked as gently as it needs, and every node gets its turn") {
  PrivateSshd sshd("MaxStartups 2:50:5");
  REQUIRE(sshd.port > 0);
  std::vector<ssh::Target> targets;
  for (int i = 0; i < 80; ++i) targets.push_back(sshd.target("n" + std::to_string(i)));
  const auto results = run_all(targets, "echo $PPID");
  for (const auto& result : results) CHECK_MESSAGE(result.outcome == NodeOutcome::ok, told(result));
  const int dropped = std::atoi(shell("grep -c 'past MaxStartups' " + sshd.dir + "/log").out.c_str());
  CHECK(dropped > 0);   // or nothing was tried here
  MESSAGE("80 nodes, sshd threw back " << dropped << " connections");
}

TEST_CASE("dropbear: status, signal, both streams, a megabyte each way, a wrong key") {
  PrivateSshd keys;   // for its keys; dropbear runs beside it
  const std::string script = std::string(KFAB_SOURCE_DIR) + "/tests/fleet/dropbear.sh";
  const Said started = shell(script + " start " + keys.dir);
  if (started.status == 77) {
    MESSAGE("skipped: dropbear needs root, unshare and the package dropbear-bin");
    return;
  }
  REQUIRE(started.status == 0);
  auto target = keys.target("drop");
  target.port = static_cast<std::uint16_t>(std::atoi(started.out.c_str()));
  target.known_hosts = {keys.dir + "/dropbear/known_hosts"};

  auto result = run_all({target}, "cat; echo err >&2; exit 7", "input").at(0);
  CHECK_MESSAGE(result.outcome == NodeOutcome::failed, told(result));
  CHECK(result.exit_status == 7);
  CHECK(result.stdout_text == "input");
  CHECK(result.stderr_text == "err\n");
  const std::string large(1'000'000, 'x');
  result = run_all({target}, "cat", large).at(0);
  CHECK_MESSAGE(result.outcome == NodeOutcome::ok, told(result));
  CHECK((result.stdout_text == large));
  result = run_all({target}, "kill -9 $$").at(0);
  CHECK_MESSAGE(result.outcome == NodeOutcome::failed, told(result));
  CHECK_FALSE(result.exit_status == 0);
  std::vector<ssh::Target> many(30, target);
  for (std::size_t i = 0; i < many.size(); ++i) many[i].node = "drop" + std::to_string(i);
  for (const auto& one : run_all(many, "true")) CHECK_MESSAGE(one.outcome == NodeOutcome::ok, told(one));
  target.identity_files = {keys.dir + "/id_other"};
  result = run_all({target}, "true").at(0);
  CHECK_MESSAGE(result.outcome == NodeOutcome::refused, told(result));
  CHECK(result.phase == ssh::Phase::auth);
  shell(script + " stop " + keys.dir);
}

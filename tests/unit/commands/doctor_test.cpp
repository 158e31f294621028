#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/ids.hpp"
#include "commands/doctor.hpp"
#include "unit/commands/fake_env.hpp"

using namespace kfab;
using namespace kfab::commands;

namespace {

// A machine on which all is well, for a site of four nodes.
DoctorFacts healthy() {
  DoctorFacts facts;
  facts.libssh2_version = "1.11.1";
  facts.libssh2_rsa_sha2 = true;
  facts.ssh_program = "/usr/bin/ssh";
  facts.ssh_version = "OpenSSH_9.2p1";
  facts.site = true;
  facts.nodes = facts.by_libssh2 = facts.known = 4;
  facts.identities = {{.path = "/k", .trouble = "", .type = "ssh-ed25519", .named = true}};
  facts.file_limit = 1024;
  facts.memory_mib = 8192;
  facts.state_dir = "/state";
  facts.state_free_mib = 5000;
  facts.now = Timestamp{std::chrono::milliseconds{1'795'000'000'000}};
  facts.clock_synchronised = true;
  facts.names_numeric = 4;
  facts.agent_sha256 = std::string(64, 'a');
  facts.agent_bytes = 4'000'000;
  facts.agent_machines = {"x86_64", "aarch64"};
  facts.devices = {"cpu"};
  return facts;
}

DoctorCheck check_of(const DoctorFacts& facts, std::string_view id) {
  for (const DoctorCheck& check : doctor_checks(facts))
    if (check.id == id) return check;
  FAIL("no check " << id);
  return {};
}

}  // namespace

TEST_CASE("doctor: nothing to do on a healthy machine") {
  for (const DoctorCheck& check : doctor_checks(healthy())) {
    CHECK_MESSAGE(check.verdict == Verdict::pass, check.id << ": " << check.seen);
    CHECK(check.next.empty());
    CHECK_FALSE(check.seen.empty());
  }
  CHECK(doctor_notes(healthy()).empty());
}

TEST_CASE("doctor: each fault is found, with a next step") {
  struct Row { const char* id; Verdict verdict; void (*harm)(DoctorFacts&); };
  const Row rows[] = {
      {"libssh2", Verdict::degraded, [](DoctorFacts& f) { f.libssh2_rsa_sha2 = false; }},
      {"libssh2", Verdict::fail, [](DoctorFacts& f) { f.libssh2_rsa_sha2 = false; f.rsa_only = {"n1"}; }},
      {"openssh", Verdict::degraded, [](DoctorFacts& f) { f.ssh_program.clear(); f.ssh_version.clear(); }},
      {"openssh", Verdict::fail, [](DoctorFacts& f) { f.ssh_version.clear(); f.by_openssh = 4; }},
      {"ssh-agent", Verdict::degraded, [](DoctorFacts& f) { f.agent_socket = "/a"; f.agent_trouble = "it hung up"; }},
      {"identities", Verdict::fail, [](DoctorFacts& f) { f.identities.clear(); }},
      {"identities", Verdict::fail, [](DoctorFacts& f) { f.identities[0].encrypted = true; }},
      {"identities", Verdict::fail, [](DoctorFacts& f) { f.identities[0].trouble = "unreadable"; }},
      {"identities", Verdict::fail, [](DoctorFacts& f) { f.identities[0].type = "ssh-rsa"; f.libssh2_rsa_sha2 = false; }},
      {"identities", Verdict::fail, [](DoctorFacts& f) { f.identities.clear(); f.agent_key_types = {"sk-ssh-ed25519@openssh.com", "ssh-ed25519-cert-v01@openssh.com"}; }},
      {"identities", Verdict::degraded, [](DoctorFacts& f) { f.identities.push_back({.path = "/no", .trouble = "there is none", .named = true}); }},
      {"identities", Verdict::degraded, [](DoctorFacts& f) { f.identities[0].open_to_others = true; }},
      {"known-hosts", Verdict::degraded, [](DoctorFacts& f) { f.known = 3; f.unknown = {"n4"}; }},
      {"known-hosts", Verdict::degraded, [](DoctorFacts& f) { f.known_hosts = {{.file = "/k", .exists = true, .trouble = "", .entries = 3, .skipped = 2}}; }},
      {"known-hosts", Verdict::fail, [](DoctorFacts& f) { f.known_hosts = {{.file = "/k", .exists = true, .trouble = "cannot be read"}}; }},
      {"names", Verdict::fail, [](DoctorFacts& f) { f.names = {{"n1", "gone.invalid", "Name or service not known"}}; }},
      {"open-files", Verdict::fail, [](DoctorFacts& f) { f.nodes = 5000; f.window = 2000; }},
      {"memory", Verdict::degraded, [](DoctorFacts& f) { f.memory_mib = 100; }},
      {"state", Verdict::fail, [](DoctorFacts& f) { f.state_trouble = "it cannot be written"; }},
      {"state", Verdict::fail, [](DoctorFacts& f) { f.store_there = true; f.store_trouble = "damaged"; }},
      {"state", Verdict::degraded, [](DoctorFacts& f) { f.state_free_mib = 3; }},
      {"clock", Verdict::degraded, [](DoctorFacts& f) { f.clock_synchronised = false; }},
      {"clock", Verdict::fail, [](DoctorFacts& f) { f.now = Timestamp{}; }},
      {"agent", Verdict::fail, [](DoctorFacts& f) { f.agent_bytes = 0; }},
  };
  for (const Row& row : rows) {
    DoctorFacts facts = healthy();
    row.harm(facts);
    const DoctorCheck check = check_of(facts, row.id);
    CHECK_MESSAGE(check.verdict == row.verdict, row.id << ": " << to_string(check.verdict) << " " << check.seen);
    CHECK_MESSAGE(!check.next.empty(), row.id << ": " << check.seen);
  }
  DoctorFacts facts = healthy();
  facts.clock_synchronised.reset();
  CHECK(check_of(facts, "clock").verdict == Verdict::not_judged);
}

TEST_CASE("doctor: what ssh(1) can do is no fault where nodes are reached by it") {
  DoctorFacts facts = healthy();
  facts.libssh2_rsa_sha2 = false;
  facts.by_libssh2 = 0;
  facts.by_openssh = 4;
  facts.identities[0].type = "ssh-rsa";
  CHECK(check_of(facts, "libssh2").verdict == Verdict::pass);
  CHECK(check_of(facts, "identities").verdict == Verdict::pass);
  facts.identities.clear();
  facts.agent_key_types = {"sk-ssh-ed25519@openssh.com"};
  CHECK(check_of(facts, "identities").verdict == Verdict::pass);
}

TEST_CASE("doctor: a machine is looked at as it is, and no node is reached") {
  const std::filesystem::path dir = std::filesystem::temp_directory_path() / ("kfab-doctor-" + random_hex(6));
  std::filesystem::create_directories(dir / ".ssh");
  std::ofstream(dir / ".ssh/id_ed25519") << "not a key\n";
  std::ofstream(dir / ".ssh/known_hosts") << "n1 ssh-ed25519 AAAA\nbroken\n";
  test::World world;
  world.env.state_dir = dir / "state";
  world.env.getenv = [&](std::string_view name) { return name == "HOME" ? std::optional<std::string>(dir.string()) : std::nullopt; };
  const CommandOutput output = run_doctor({}, world.env);
  CHECK(output.outcome == Outcome::no);
  CHECK(output.data.string_or("verdict") == "fail");
  std::string identities, hosts;
  for (const auto& check : output.data.array_at("checks")) {
    if (check.string_or("id") == "identities") identities = check.string_or("verdict");
    if (check.string_or("id") == "known-hosts") hosts = check.string_or("verdict");
  }
  CHECK(identities == "fail");
  CHECK(hosts == "degraded");
  CHECK(world.transport->lines.empty());
  CHECK_FALSE(std::filesystem::exists(dir / "state"));   // it looks and makes nothing
  const std::string text = test::rendered(output);
  CHECK(text.find("fail") > text.find("pass"));   // what is to be done stands last
  std::filesystem::remove_all(dir);
}

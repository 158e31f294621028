#include <doctest/doctest.h>

#include "unit/ssh/keys.hpp"
#include "ssh/known_hosts.hpp"

using namespace kfab::ssh;
using namespace kfab::ssh::test;

TEST_CASE("a name has brackets only with a port of its own") {
  CHECK(known_hosts_name("GPU-001.Example.org", 22) == "gpu-001.example.org");
  CHECK(known_hosts_name("10.0.0.1", 2222) == "[10.0.0.1]:2222");
  CHECK(known_hosts_name("fe80::1", 22) == "fe80::1");
}

TEST_CASE("plain names, lists and ports are found, and nothing else is") {
  const std::string a = ed25519_blob('a'), b = ed25519_blob('b');
  KnownHosts hosts;
  hosts.add("# a comment\n\n" + line_of("Alpha,10.0.0.1", a) + line_of("[10.0.0.1]:2222", b));
  REQUIRE(hosts.find("alpha").size() == 1);
  CHECK(hosts.find("alpha")[0]->blob == a);
  CHECK(hosts.find("alpha")[0]->line == 3);
  CHECK(hosts.find("10.0.0.1")[0]->blob == a);
  CHECK(hosts.find("[10.0.0.1]:2222")[0]->blob == b);
  CHECK(hosts.find("10.0.0.10").empty());
  CHECK(hosts.find("").empty());
}

TEST_CASE("wildcards and negation mean what sshd(8) says") {
  const std::string a = ed25519_blob('a');
  KnownHosts hosts;
  hosts.add(line_of("!gpu-9,gpu-?,*.lab.example", a));
  CHECK(hosts.find("gpu-1").size() == 1);
  CHECK(hosts.find("gpu-9").empty());
  CHECK(hosts.find("gpu-10").empty());
  CHECK(hosts.find("x.y.lab.example").size() == 1);
  CHECK(hosts.find("lab.example").empty());
}

TEST_CASE("a hostile pattern costs little") {
  KnownHosts hosts;
  std::string pattern;
  for (int i = 0; i < 200; ++i) pattern += "*a";
  hosts.add(line_of(pattern + "b", ed25519_blob('a')));
  CHECK(hosts.find(std::string(5000, 'a')).empty());
}

TEST_CASE("a line that ssh-keygen -H has hashed is found") {
  KnownHosts hosts;
  hosts.add("|1|J+nev/fmGX1EbGsHKNZBLcVfMIg=|ZAF1eGlieVoZwS9amB++McwF88g= ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMXiV+i0olX1w9J5w93EieH8Q+M102w0wLiy1+nRJJ0p\n");
  CHECK(hosts.find("gpu-001.example.org").size() == 1);
  CHECK(hosts.find("gpu-002.example.org").empty());
}

TEST_CASE("markers stay apart from keys that are trusted") {
  const std::string a = ed25519_blob('a'), b = ed25519_blob('b'), c = ed25519_blob('c');
  KnownHosts hosts;
  hosts.add(line_of("alpha", a) + "@revoked " + line_of("alpha", b) + "@cert-authority " + line_of("*.lab", c) + "@nonsense " + line_of("alpha", c));
  REQUIRE(hosts.find("alpha").size() == 1);
  CHECK(hosts.find("alpha")[0]->blob == a);
  REQUIRE(hosts.find_marked("alpha").size() == 1);
  CHECK(hosts.find_marked("alpha")[0]->marker == KnownHost::Marker::revoked);
  CHECK(hosts.find("x.lab").empty());
  CHECK(hosts.find_marked("x.lab")[0]->marker == KnownHost::Marker::cert_authority);
  CHECK(hosts.skipped() == 1);
}

TEST_CASE("damaged lines are skipped and counted, and never match") {
  KnownHosts hosts;
  hosts.add("alpha\nalpha ssh-ed25519\nalpha ssh-ed25519 ####\nalpha ssh-rsa " + base64_encode(ed25519_blob('a')) +
            "\n|1|xx|yy ssh-ed25519 " + base64_encode(ed25519_blob('a')) + "\n" + std::string("\0\0\0", 3) + "\n");
  CHECK(hosts.find("alpha").empty());
  CHECK(hosts.skipped() == 6);
}

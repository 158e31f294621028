#include <doctest/doctest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "base/file.hpp"
#include "base/ids.hpp"
#include "base/text.hpp"

#include "unit/ssh/keys.hpp"
#include "ssh/codec.hpp"
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

TEST_CASE("hashed lines in the order of the names are found with few tries, others by trying all") {
  std::vector<std::string> names;
  std::string text;
  const auto line = [&](const std::string& name, char key) {
    const std::string salt = std::string(19, 's') + key;
    text += "|1|" + base64_encode(salt) + "|" + base64_encode(hmac_sha1(salt, name)) + " ssh-ed25519 " + base64_encode(ed25519_blob(key)) + "\n";
  };
  for (int i = 0; i < 40; ++i) names.push_back("n" + std::to_string(i));
  for (int i = 0; i < 40; ++i) {
    if (i == 20) {
      for (char stranger = 'A'; stranger < 'P'; ++stranger) line(std::string("other") + stranger, stranger);   // further than a few tries
    }
    if (i == 7) continue;   // not known
    line(names[static_cast<std::size_t>(i)], 'a');
    if (i % 3 == 0) line(names[static_cast<std::size_t>(i)], 'b');
  }
  KnownHosts hosts;
  hosts.add(text);
  CHECK(hosts.sweep(names) == 15);   // the strangers' lines
  for (int i = 0; i < 40; ++i) {
    CAPTURE(i);
    const auto& name = names[static_cast<std::size_t>(i)];
    const std::size_t expected = i == 7 ? 0 : i % 3 == 0 ? 2 : 1;
    CHECK(hosts.find_readable(name).size() == expected);
    CHECK(hosts.find(name).size() == expected);
  }
  CHECK(hosts.find("otherC").size() == 1);
  CHECK(hosts.sweep(names) == 14);
}

TEST_CASE("markers stay apart from keys that are trusted") {
  const std::string a = ed25519_blob('a'), b = ed25519_blob('b'), c = ed25519_blob('c');
  KnownHosts hosts;
  hosts.add(line_of("alpha", a) + "@revoked " + line_of("alpha", b) + "@cert-authority " + line_of("*.lab", c) + "@nonsense " + line_of("alpha", c));
  REQUIRE(hosts.find("alpha").size() == 1);
  CHECK(hosts.find("alpha")[0]->blob == a);
  using Marker = KnownHost::Marker;
  REQUIRE(hosts.find_marked("alpha", Marker::revoked).size() == 1);
  CHECK(hosts.find_key("alpha", b, Marker::revoked) == hosts.find_marked("alpha", Marker::revoked)[0]);
  CHECK(hosts.find_key("alpha", a, Marker::revoked) == nullptr);
  CHECK(hosts.find_key("alpha", b) == nullptr);
  CHECK(hosts.find("x.lab").empty());
  CHECK(hosts.find_marked("x.lab", Marker::cert_authority).size() == 1);
  CHECK(hosts.skipped() == 1);
}

TEST_CASE("damaged lines are skipped and counted, and never match") {
  KnownHosts hosts;
  hosts.add("alpha\nalpha ssh-ed25519\nalpha ssh-ed25519 ####\nalpha ssh-rsa " + base64_encode(ed25519_blob('a')) +
            "\n|1|xx|yy ssh-ed25519 " + base64_encode(ed25519_blob('a')) + "\n" + std::string("\0\0\0", 3) + "\n");
  CHECK(hosts.find("alpha").empty());
  CHECK(hosts.skipped() == 6);
}

TEST_CASE("a hashed line is found by its key, and each name is tried for once") {
  KnownHosts hosts;
  std::string text;
  for (int i = 0; i < 101; ++i) {
    const std::string salt(20, static_cast<char>(i + 1)), name = "h" + std::to_string(i);
    text += line_of("|1|" + base64_encode(salt) + "|" + base64_encode(hmac_sha1(salt, name)), ed25519_blob(static_cast<char>(i)));
  }
  hosts.add(text);
  CHECK(hosts.hashed() == 101);
  CHECK(hosts.find_readable("h7").empty());
  REQUIRE(hosts.find_key("h7", ed25519_blob(7)) != nullptr);
  CHECK(hosts.find_key("h7", ed25519_blob(7))->line == 8);
  CHECK(hosts.find_key("h7", ed25519_blob(8)) == nullptr);
  CHECK(hosts.find_readable("h7").size() == 1);
  CHECK(hosts.may_hide("h7", "ssh-ed25519"));
  CHECK_FALSE(hosts.may_hide("h7", "ssh-rsa"));
  for (int i = 0; i < 101; ++i) {
    const auto found = hosts.find("h" + std::to_string(i));
    REQUIRE(found.size() == 1);
    CHECK(found[0]->line == static_cast<std::size_t>(i) + 1);
  }
  CHECK_FALSE(hosts.may_hide("h7", "ssh-ed25519"));
  CHECK(hosts.find(std::string(300, 'x')).empty());
  CHECK(hosts.types_not_tried("nobody") == std::vector<std::string>{"ssh-ed25519"});
  CHECK(hosts.find("nobody").empty());
  CHECK(hosts.types_not_tried("nobody").empty());
}

// ssh-keygen -F is the judge of which lines name a host; -H hashes them.
TEST_CASE("every kind of line is found as ssh-keygen -F finds it, plain and after ssh-keygen -H") {
  if (std::system("command -v ssh-keygen >/dev/null") != 0) {
    MESSAGE("skipped: no ssh-keygen");
    return;
  }
  const std::string dir = std::filesystem::temp_directory_path() / ("kfab-known-hosts-" + kfab::random_hex(6));
  REQUIRE(std::filesystem::create_directories(dir));
  const auto said = [&](const std::string& line) {
    std::string out;
    FILE* pipe = ::popen(("cd " + dir + " && { " + line + "; } 2>/dev/null").c_str(), "r");
    std::array<char, 4096> chunk{};
    while (const std::size_t got = std::fread(chunk.data(), 1, chunk.size(), pipe)) out.append(chunk.data(), got);
    ::pclose(pipe);
    return out;
  };
  said("for t in ed25519 ecdsa rsa; do ssh-keygen -q -t $t -N '' -C 'a comment' -f $t; done");
  const auto key = [&](const std::string& name) {
    auto text = kfab::read_file(dir + "/" + name + ".pub");
    REQUIRE(text);
    return std::string(kfab::trim(*text));
  };
  const std::string a = key("ed25519"), b = key("ecdsa"), c = key("rsa");
  const std::string text = "# a comment\n\nalpha " + a + "\r\nAlpha.Example.ORG,10.0.0.1 " + b + "\n  beta\t" + c + "\n[10.0.0.1]:2222,[alpha]:2200 " + a +
                           "\n*.lab,!bad.lab,gpu-? " + b + "\n@revoked beta " + a + "\n@cert-authority *.lab " + c +
                           "\nalpha ssh-unknown AAAAC3NzaC11bmtub3du\nfe80::1 " + a + "\nalpha,gamma " + c + "\n";
  REQUIRE(kfab::write_file_atomically(dir + "/plain", text));
  said("grep -v ssh-unknown plain > hashed; ssh-keygen -H -f hashed >/dev/null; { cat plain hashed | sed 's/^alpha/delta/'; } > mixed");
  CHECK(said("grep -c '^|1|' hashed") != "0\n");
  for (const std::string file : {"plain", "hashed", "mixed"}) {
    KnownHosts hosts;
    auto whole = kfab::read_file(dir + "/" + file);
    REQUIRE(whole);
    hosts.add(*whole);
    for (const std::string name : {"alpha", "ALPHA", "alpha.example.org", "10.0.0.1", "[10.0.0.1]:2222", "[alpha]:2200", "[alpha]:22", "beta", "gamma", "x.lab", "bad.lab",
                                   "gpu-1", "gpu-12", "delta", "fe80::1", "nobody", "10.0.0.10"}) {
      std::set<std::string> theirs, ours;
      // ssh asks for hashed names in lower case; ssh-keygen asks for them as they were typed.
      const std::string found = said("ssh-keygen -F '" + (file == "plain" ? name : kfab::to_lower(name)) + "' -f " + file + " | grep '^# Host'");
      for (const std::string_view line : kfab::split_lines(found)) {
        const auto words = kfab::split(line, ' ');   // # Host NAME found: line N [MARKER]
        theirs.insert(words.at(5) + (words.size() > 6 ? words.at(6) : ""));
      }
      const std::string asked = kfab::to_lower(name);
      using Marker = KnownHost::Marker;
      for (const auto& [marker, word] : {std::pair{Marker::none, ""}, {Marker::revoked, "REVOKED"}, {Marker::cert_authority, "CA"}}) {
        for (const KnownHost* line : hosts.find_marked(asked, marker)) {
          if (line->type != "ssh-unknown") ours.insert(std::to_string(line->line) + word);
        }
      }
      CHECK_MESSAGE(ours == theirs, file << " " << name << ": " << kfab::join({ours.begin(), ours.end()}, " ") << " instead of " << kfab::join({theirs.begin(), theirs.end()}, " "));
    }
  }
  std::filesystem::remove_all(dir);
}

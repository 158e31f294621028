#include <doctest/doctest.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <unistd.h>

#include "base/codes/ssh.hpp"
#include "base/ids.hpp"
#include "base/text.hpp"
#include "ssh/ssh_config.hpp"

using namespace kfab;
using namespace kfab::ssh;

namespace {

const LocalFacts someone{"/home/op", "op", 1000, "laptop.example.net"};

HostSettings resolved(std::string_view text, std::string_view name, std::string_view user = {}) {
  auto config = SshConfig::parse(text, "config", someone);
  REQUIRE_MESSAGE(config.has_value(), (config ? "" : config.error().message));
  auto settings = config->resolve(name, user);
  REQUIRE_MESSAGE(settings.has_value(), (settings ? "" : settings.error().message));
  return *settings;
}

std::string refusal(std::string_view text, std::string_view name = "a") {
  auto config = SshConfig::parse(text, "config", someone);
  if (!config) return config.error().message;
  auto settings = config->resolve(name);
  return settings ? "" : settings.error().message;
}

struct TempDir {
  TempDir() { std::filesystem::create_directories(path); }
  ~TempDir() { std::filesystem::remove_all(path); }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path / name) << text;
    return (path / name).string();
  }
  std::filesystem::path path = std::filesystem::temp_directory_path() / ("kfab-config-" + random_hex(6));
};

std::string said_by(const std::string& line) {
  std::string out;
  FILE* pipe = ::popen(line.c_str(), "r");
  if (pipe == nullptr) return out;
  std::array<char, 4096> chunk{};
  while (const std::size_t got = std::fread(chunk.data(), 1, chunk.size(), pipe)) out.append(chunk.data(), got);
  ::pclose(pipe);
  return out;
}

}  // namespace

TEST_CASE("ssh_config: the first value wins, identities add up, and each is told with its place") {
  const auto a = resolved("# defaults come last\nHost a b\n  User first\n  IdentityFile ~/.ssh/%r_%h\nHost *\n  User second\n  Port 2022\n"
                          "  IdentityFile=/keys/%L-%i\n  IdentitiesOnly yes\n", "a");
  CHECK(a.user == "first");
  CHECK(a.port == 2022);
  CHECK(a.identity_files == std::vector<std::string>{"/home/op/.ssh/first_a", "/keys/laptop-1000"});
  CHECK(a.identities_only == true);
  CHECK(a.stated.at(0).line == 3);
  CHECK(a.stated.at(0).file == "config");
  CHECK(resolved("Host a\nUser x\n", "c").user.empty());
}

TEST_CASE("ssh_config: patterns, negation, Match, and the = form") {
  const char* text = "Host gpu* !gpu9\n  User gpu\nMatch host=10.0.0.? user root\n  Port 22001\nMatch originalhost x,y localuser op\n  HostName 10.0.0.5\n"
                     "Match host 10.0.0.5\n  HostKeyAlias five\n";
  CHECK(resolved(text, "gpu1").user == "gpu");
  CHECK(resolved(text, "gpu9").user.empty());
  CHECK_FALSE(resolved(text, "10.0.0.7").port);
  CHECK(resolved(text, "10.0.0.7", "root").port == 22001);
  CHECK(resolved(text, "y").host_name == "10.0.0.5");
  CHECK(resolved(text, "y").host_key_alias == "five");
}

TEST_CASE("ssh_config: jump hosts, and which of ProxyJump and ProxyCommand stands") {
  const auto a = resolved("Host a\n ProxyJump ops@b1:2200,[fd00::1]:22\n ProxyCommand nc %h %p\n", "a");
  REQUIRE(a.proxy_jump.size() == 2);
  CHECK(a.proxy_jump[0].user == "ops");
  CHECK(a.proxy_jump[0].port == 2200);
  CHECK(a.proxy_jump[1].host == "fd00::1");
  CHECK(a.proxy_command.empty());
  CHECK(resolved("ProxyCommand nc \"%h\" %p # not a comment\nProxyJump x\n", "a").proxy_command == "nc \"%h\" %p # not a comment");
  CHECK(resolved("ProxyJump none\nProxyJump b\n", "a").proxy_jump.empty());
}

TEST_CASE("ssh_config: what is not followed is said, and never weakens anything") {
  auto a = resolved("Match exec \"touch /tmp/kfab-must-not-exist\"\n User evil\nHost *\n StrictHostKeyChecking no\n", "a");
  CHECK(a.user.empty());
  REQUIRE(a.findings.size() == 2);
  for (const Diagnostic& finding : a.findings) CHECK(finding.code == code::ssh_config_not_followed);
  CHECK_FALSE(std::filesystem::exists("/tmp/kfab-must-not-exist"));
  CHECK(resolved("Match !exec \"false\"\n User evil\n", "a").user.empty());
  CHECK(resolved("Match host b exec \"false\"\n User evil\n", "a").findings.empty());   // it could not have applied
}

TEST_CASE("ssh_config: malformed lines are refused with their place") {
  CHECK(refusal("Port x\n").find("config:1") != std::string::npos);
  CHECK(refusal("\nUser \"a\n").find("config:2") != std::string::npos);
  CHECK_FALSE(refusal("User\n").empty());
  CHECK_FALSE(refusal("Port 65536\n").empty());
  CHECK_FALSE(refusal("Match nonsense a\n").empty());
  CHECK_FALSE(refusal("Match host\n").empty());
  CHECK_FALSE(refusal("HostName %p\n").empty());
  CHECK_FALSE(refusal("ProxyJump $(id)\n").empty());
  CHECK_FALSE(refusal("ProxyJump -oProxyCommand=id\n").empty());
  CHECK_FALSE(refusal("IdentityFile %\n").empty());
  CHECK_FALSE(refusal("ConnectTimeout soon\n").empty());
  CHECK(refusal("ConnectTimeout 1m30s\n").empty());
}

TEST_CASE("ssh_config: includes are relative to ~/.ssh, sorted, conditional and bounded") {
  const TempDir dir;
  const LocalFacts local{dir.path.string(), "op", 1000, "laptop"};
  std::filesystem::create_directories(dir.path / ".ssh/conf.d");
  dir.write(".ssh/conf.d/2.conf", "User two\n");
  dir.write(".ssh/conf.d/1.conf", "Host a\n User one\nHost *\n Port 77\n");
  const std::string main = dir.write(".ssh/config", "Host a b\n  Include conf.d/*.conf nothing-here\nHost *\n Port 88\n");
  auto config = SshConfig::load({main}, local, true);
  REQUIRE(config);
  CHECK(config->resolve("a")->user == "one");
  CHECK(config->resolve("b")->user == "two");
  CHECK(config->resolve("b")->port == 77);
  CHECK(config->resolve("c")->user.empty());   // the include stands in a block that does not apply
  CHECK(config->resolve("c")->port == 88);

  const std::string loop = dir.write("loop", "Include " + (dir.path / "loop").string() + "\n");
  auto circle = SshConfig::load({loop}, local, true);
  REQUIRE_FALSE(circle);
  CHECK(circle.error().code == code::ssh_config_malformed);
  const std::string many = dir.write("many", "Include " + (dir.path / "many").string() + " " + (dir.path / "many").string() + "\n");
  CHECK_FALSE(SshConfig::load({many}, local, true));
  CHECK(SshConfig::load({(dir.path / "absent").string()}, local, false));
  CHECK_FALSE(SshConfig::load({(dir.path / "absent").string()}, local, true));
  std::filesystem::permissions(main, std::filesystem::perms::group_write, std::filesystem::perm_options::add);
  CHECK_FALSE(SshConfig::load({main, "/nonexistent"}, local, false));
}

TEST_CASE("ssh_config: random and hostile text is refused or read, never more") {
  std::mt19937 random(4711);
  const std::string words[] = {"Host ", "Match ", "host ", "exec ", "*", "!", "%h", "%", "\"", "'", "\\", "=", "\n", "\t", "#", "ProxyJump ", "User ",
                               "IdentityFile ", "Port ", "22", "a", ",", "[", "]", "@", ":", "final", " all", "\xff", "\x1b[2J", "~", "Include ", "/dev/null"};
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (unsigned i = 0, n = random() % 40; i < n; ++i) text += words[random() % std::size(words)];
    auto config = SshConfig::parse(text, "fuzz", someone);
    if (config) (void)config->resolve("gpu1");
    (void)parse_host_spec(text);
  }
  std::string stars = "Host ";
  for (int i = 0; i < 2000; ++i) stars += "*a";
  CHECK(resolved(stars + "b\n User x\n", std::string(2000, 'a')).user.empty());
  CHECK_FALSE(SshConfig::parse(std::string("User a\0b\n", 9), "zero", someone));
}

// ssh itself is the judge: the same files, many names, the values that `ssh -G` prints.
TEST_CASE("ssh_config: as ssh -G reads it") {
  if (said_by("command -v ssh").empty()) {
    MESSAGE("skipped: no ssh on this machine");
    return;
  }
  const TempDir dir;
  const std::string extra = dir.write("extra", "Host inc* \n Port 4242\n User included\nHost *\n IdentityFile /keys/extra\n");
  const std::vector<std::string> files = {
      "Host a\n HostName %h.example\nHost *.example\n User wrong\nMatch host *.example\n User right\n",
      "Host=a\nUser=\"with blank\"\nHost = b\nUser= 'quoted'\nHost\tc\nUser\t=\tx\n",
      "Host * !b\n Port 1\nHost b\n Port 2\nHost *\n Port 3\n",
      "Host a b\n IdentityFile ~/.ssh/one\n IdentityFile /two\nHost *\n IdentityFile /two\n IdentityFile \"/three four\"\n IdentitiesOnly yes\n",
      "Host *\n ProxyJump u@j1:22,j2\nHost a\n ProxyCommand nc %h %p\n",
      "Host a\n ProxyCommand nc %h %p\nHost *\n ProxyJump j\n",
      "Host a\n ProxyJump none\nHost *\n ProxyJump j\n",
      "Match final\n User final\n Port 99\nHost a\n HostName b\nHost b\n HostKeyAlias seen\n",
      "Match canonical all\n Port 5\nMatch all\n Port 6\n",
      "Match originalhost a,b host !c*\n Port 7\nMatch user root\n HostKeyAlias rooted\n",
      "Match host a,b user nobody\n Port 7\nMatch !host a\n Port 8\n",
      "Host a\n Include " + extra + "\nHost inc1\n Include " + extra + "\n Port 9\n",
      "User one # a comment\nPort 10#nocomment\n",
      "User one # a comment\n  #Port 10\n\n\r\nHostKeyAlias \"a b\"\r\n",
      "UserKnownHostsFile ~/k1 /k2 \"/k 3\"\nGlobalKnownHostsFile /g1 /g2\nStrictHostKeyChecking accept-new\nConnectTimeout 1m5s\n",
      "StrictHostKeyChecking off\nIdentityAgent none\nConnectTimeout 7\n",
      "StrictHostKeyChecking yes\nIdentityAgent /run/agent.sock\nIdentitiesOnly no\n",
      "IdentityAgent SSH_AUTH_SOCK\nHost a? ?b\n Port 12\n",
      "Host A\n User upper\nMatch host A\n Port 13\nMatch originalhost B\n Port 14\n",
      "Host a\n  User x\n  user y\n  USER z\n  pOrT 15\n",
      "Host \"a\" 'b'\n Port 16\nHost \\a\n User backslash\n",
      "Match exec\n", "Match all host a\n", "User \"open\n", "Port 0\n", "Port 99999\n", "Port abc\n", "User\n",
      "ProxyJump a:b\n", "ProxyJump u@\n", "ProxyJump [::1]:33,u@[fe80::1]\n", "ProxyJump ssh://u@h:33\n", "HostName %%h.%h\n", "HostName %z\n",
  };
  const std::map<std::string, std::string> kept = {
      {"hostname", ""}, {"user", ""}, {"port", "22"}, {"identitiesonly", "no"}, {"identityagent", ""}, {"proxyjump", ""}, {"proxycommand", ""},
      {"hostkeyalias", ""}, {"connecttimeout", "none"}};
  int compared = 0, refused = 0;
  for (std::size_t f = 0; f < files.size(); ++f) {
    const std::string path = dir.write("case" + std::to_string(f), files[f]);
    for (const std::string name : {"a", "b", "c", "inc1", "ab", "a.example", "A"}) {
      CAPTURE(files[f]);
      CAPTURE(name);
      const std::string theirs = said_by("ssh -G -F " + path + " " + name + " 2>/dev/null");
      std::string home = "/root", user = "root";
      if (const char* set = std::getenv("HOME")) home = set;
      user = std::string(trim(said_by("id -un")));
      home = std::string(trim(said_by("getent passwd " + user + " | cut -d: -f6")));
      auto config = SshConfig::load({path}, local_facts(home, user), true);
      auto ours = config ? config->resolve(name) : Result<HostSettings>(config.error());
      if (theirs.empty()) {
        ++refused;
        CHECK_MESSAGE(!ours, "ssh refuses what kfab reads");
        continue;
      }
      REQUIRE_MESSAGE(ours.has_value(), (ours ? "" : ours.error().message));
      std::map<std::string, std::string> told, shown(kept.begin(), kept.end());
      std::string identities, known;
      for (const auto line : split_lines(theirs)) {
        const std::size_t blank = line.find(' ');
        const std::string key(line.substr(0, blank)), value(blank == std::string_view::npos ? "" : line.substr(blank + 1));
        if (key == "identityfile" && !value.starts_with("~/.ssh/id_")) identities += value + "\n";
        else if (key == "userknownhostsfile") known = value;
        else if (kept.contains(key)) told[key] = value;
      }
      shown["hostname"] = ours->host_name;
      shown["user"] = ours->user.empty() ? user : ours->user;
      std::string our_identities, our_known;
      for (const StatedValue& one : ours->stated) {
        if (one.keyword == "identityfile") our_identities += one.value + "\n";
        if (one.keyword == "port" || one.keyword == "proxycommand" || one.keyword == "hostkeyalias" || one.keyword == "identityagent" ||
            one.keyword == "identitiesonly")
          shown[one.keyword] = one.value;
      }
      std::vector<std::string> jumps;
      for (const HostSpec& jump : ours->proxy_jump) {
        const std::string host = jump.host.find(':') != std::string::npos ? "[" + jump.host + "]" : jump.host;
        jumps.push_back((jump.user.empty() ? "" : jump.user + "@") + host + (jump.port == 0 ? "" : ":" + std::to_string(jump.port)));
      }
      shown["proxyjump"] = join(jumps, ",");
      if (ours->connect_timeout_s) shown["connecttimeout"] = std::to_string(static_cast<int>(*ours->connect_timeout_s));
      for (auto& [key, value] : shown) {
        CAPTURE(key);
        CHECK(value == told[key]);
      }
      CHECK(our_identities == identities);
      if (ours->user_known_hosts) CHECK(join(*ours->user_known_hosts, " ") == known);
      ++compared;
    }
  }
  MESSAGE(compared << " compared with ssh -G, " << refused << " refused by both");
  CHECK(compared > 100);
}

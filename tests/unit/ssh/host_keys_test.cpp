#include <doctest/doctest.h>

#include <filesystem>

#include "base/file.hpp"
#include "base/ids.hpp"
#include "ssh/host_keys.hpp"
#include "unit/ssh/keys.hpp"

using namespace kfab;
using namespace kfab::ssh;
using namespace kfab::ssh::test;

namespace {

const std::vector<std::string> checkable{"ssh-ed25519", "ecdsa-sha2-nistp256"};

// A directory with a user's known_hosts and a site's store, and a target that uses both.
struct Fixture {
  std::string dir = std::filesystem::temp_directory_path() / ("kfab-host-keys-" + random_hex(6));
  HostKeys keys{""};
  Target target;
  Fixture() {
    std::filesystem::create_directories(dir);
    target.node = "n1";
    target.address = "10.0.0.1";
    target.port = 2222;
    target.known_hosts = {dir + "/known_hosts"};
    target.site_store = dir + "/site/hostkeys";
  }
  ~Fixture() { std::filesystem::remove_all(dir); }
  void user_knows(const std::string& text) { REQUIRE(write_file_atomically(dir + "/known_hosts", text)); }
  void site_knows(const std::string& text) {
    std::filesystem::create_directories(dir + "/site");
    REQUIRE(write_file_atomically(target.site_store, text));
  }
  std::string stored() { auto text = read_file(target.site_store); return text ? *text : ""; }
  std::optional<Code> refusal(const std::string& blob) {
    auto checked = keys.check(target, blob, checkable);
    return checked ? std::nullopt : std::optional<Code>(checked.error().code);
  }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "an unknown key is refused with its fingerprint and the line that would trust it") {
  const std::string blob = ed25519_blob('a');
  auto checked = keys.check(target, blob, checkable);
  REQUIRE_FALSE(checked);
  CHECK(checked.error().code == Code::host_key_unknown);
  CHECK(checked.error().message.find(fingerprint(blob)) != std::string::npos);
  bool shows_line = false;
  for (const std::string& help : checked.error().help) shows_line = shows_line || help.find("[10.0.0.1]:2222 ssh-ed25519 " + base64_encode(blob)) != std::string::npos;
  CHECK(shows_line);
  CHECK(stored().empty());
}

TEST_CASE_FIXTURE(Fixture, "a key in the user's known_hosts is trusted, another one there is a changed key") {
  user_knows(line_of("[10.0.0.1]:2222", ed25519_blob('a')));
  CHECK_FALSE(refusal(ed25519_blob('a')));
  CHECK(refusal(ed25519_blob('b')) == Code::host_key_changed);
  target.host_keys = HostKeyPolicy::trust_on_first_use;
  CHECK(refusal(ed25519_blob('b')) == Code::host_key_changed);
  CHECK(refusal(blob_of("ecdsa-sha2-nistp256", 'c')) == Code::host_key_changed);
  CHECK(stored().empty());
}

TEST_CASE_FIXTURE(Fixture, "a host known only by a type that cannot be checked is unknown, not changed") {
  user_knows(line_of("[10.0.0.1]:2222", blob_of("ssh-rsa", 'r')));
  CHECK(refusal(ed25519_blob('a')) == Code::host_key_unknown);
  target.host_keys = HostKeyPolicy::trust_on_first_use;
  CHECK(refusal(ed25519_blob('a')) == Code::host_key_unknown);
}

TEST_CASE_FIXTURE(Fixture, "a revoked key is refused wherever the mark stands and whoever else trusts it") {
  const std::string blob = ed25519_blob('a');
  user_knows("@revoked " + line_of("*", blob));
  site_knows(line_of("n1", blob));
  CHECK(refusal(blob) == Code::host_key_revoked);
}

TEST_CASE_FIXTURE(Fixture, "trust on first use stores once, then verifies") {
  target.host_keys = HostKeyPolicy::trust_on_first_use;
  const std::string a = ed25519_blob('a');
  CHECK_FALSE(refusal(a));
  CHECK(stored() == line_of("n1,[10.0.0.1]:2222", a));
  CHECK_FALSE(refusal(a));
  CHECK(refusal(ed25519_blob('b')) == Code::host_key_changed);
  HostKeys later{""};
  CHECK(later.check(target, a, checkable));
  CHECK_FALSE(later.check(target, ed25519_blob('b'), checkable));
  CHECK(stored() == line_of("n1,[10.0.0.1]:2222", a));
}

TEST_CASE_FIXTURE(Fixture, "two runs that meet a machine at once do not store two keys") {
  target.host_keys = HostKeyPolicy::trust_on_first_use;
  CHECK(refusal(ed25519_blob('a')) == std::nullopt);
  HostKeys other{""};
  Target same = target;
  REQUIRE(other.check(same, ed25519_blob('a'), checkable));
  // `keys` has read the store; now somebody else appends a node that it has not seen.
  Target second = target;
  second.node = "n2";
  second.address = "10.0.0.2";
  REQUIRE(other.check(second, ed25519_blob('b'), checkable));
  auto late = keys.check(second, ed25519_blob('c'), checkable);
  REQUIRE_FALSE(late);
  CHECK(late.error().code == Code::host_key_changed);
}

TEST_CASE_FIXTURE(Fixture, "in the site's store the node's name decides, so an address given to another machine is noticed") {
  site_knows(line_of("n1,[10.0.0.9]:2222", ed25519_blob('a')) + line_of("n2,[10.0.0.1]:2222", ed25519_blob('b')));
  CHECK_FALSE(refusal(ed25519_blob('a')));
  CHECK(refusal(ed25519_blob('b')) == Code::host_key_changed);
}

TEST_CASE_FIXTURE(Fixture, "the node's name in the user's own file may confirm but not contradict") {
  user_knows(line_of("n1", ed25519_blob('a')));
  CHECK_FALSE(refusal(ed25519_blob('a')));
  CHECK(refusal(ed25519_blob('b')) == Code::host_key_unknown);
}

TEST_CASE_FIXTURE(Fixture, "a line that a crash cut short does not swallow the next one") {
  target.host_keys = HostKeyPolicy::trust_on_first_use;
  site_knows("n0,[10.0.0.0]:2222 ssh-ed25519 AAAA");
  CHECK_FALSE(refusal(ed25519_blob('a')));
  CHECK(stored().find("AAAA\nn1,") != std::string::npos);
}

TEST_CASE_FIXTURE(Fixture, "without a store, or with a name no line can hold, first use is not trusted") {
  target.host_keys = HostKeyPolicy::trust_on_first_use;
  Target storeless = target;
  storeless.site_store.clear();
  CHECK(keys.check(storeless, ed25519_blob('a'), checkable).error().code == Code::host_key_not_stored);
  Target hostile = target;
  hostile.node = "n1 ssh-ed25519 AAAA\nn2";
  CHECK(keys.check(hostile, ed25519_blob('a'), checkable).error().code == Code::host_key_not_stored);
}

TEST_CASE_FIXTURE(Fixture, "a known_hosts that exists but cannot be read checks nothing") {
  std::filesystem::create_directories(dir + "/known_hosts");
  CHECK(refusal(ed25519_blob('a')) == Code::known_hosts_unreadable);
}

TEST_CASE_FIXTURE(Fixture, "the types asked for are those that are known") {
  user_knows(line_of("[10.0.0.1]:2222", blob_of("ecdsa-sha2-nistp256", 'a')) + line_of("[10.0.0.1]:2222", blob_of("ssh-rsa", 'a')));
  auto types = keys.known_types(target);
  REQUIRE(types);
  CHECK(*types == std::vector<std::string>{"ecdsa-sha2-nistp256", "ssh-rsa"});
}

#include <doctest/doctest.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "base/codes/internal.hpp"
#include "base/codes/ssh.hpp"
#include "base/file.hpp"
#include "base/ids.hpp"
#include "base/text.hpp"
#include "ssh/host_key_store.hpp"
#include "ssh/host_keys.hpp"
#include "unit/ssh/keys.hpp"

using namespace kfab;
using namespace kfab::ssh;
using namespace kfab::ssh::test;

namespace {

const std::vector<std::string> checkable{"ssh-ed25519", "ecdsa-sha2-nistp256"};

// A machine that always shows this key, whatever it is asked for.
Status check(HostKeys& keys, const Target& target, const std::string& blob) {
  auto inquiry = keys.prepare(target);
  if (!inquiry) return inquiry.error();
  for (int turn = 0; turn < 5; ++turn) {
    auto answer = keys.judge(target, *inquiry, blob, checkable);
    if (!answer) return answer.error();
    if (*answer == HostKeyAnswer::trusted) return ok();
  }
  return error(code::internal, "asked again and again");
}

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
    auto checked = check(keys, target, blob);
    return checked ? std::nullopt : std::optional<Code>(checked.error().code);
  }
};

std::string hashed(const std::string& name, char salt, const std::string& blob) {
  const std::string salted(20, salt);
  return line_of("|1|" + base64_encode(salted) + "|" + base64_encode(hmac_sha1(salted, name)), blob);
}

}  // namespace

TEST_CASE_FIXTURE(Fixture, "an unknown key is refused with its fingerprint and the line that would trust it") {
  const std::string blob = ed25519_blob('a');
  auto checked = check(keys, target, blob);
  REQUIRE_FALSE(checked);
  CHECK(checked.error().code == code::host_key_unknown);
  CHECK(checked.error().message.find(fingerprint(blob)) != std::string::npos);
  bool shows_line = false;
  for (const std::string& help : checked.error().help) shows_line = shows_line || help.find("[10.0.0.1]:2222 ssh-ed25519 " + base64_encode(blob)) != std::string::npos;
  CHECK(shows_line);
  CHECK(stored().empty());
}

TEST_CASE_FIXTURE(Fixture, "a key in the user's known_hosts is trusted, another one there is a changed key") {
  user_knows(line_of("[10.0.0.1]:2222", ed25519_blob('a')));
  CHECK_FALSE(refusal(ed25519_blob('a')));
  CHECK(refusal(ed25519_blob('b')) == code::host_key_changed);
  target.host_keys = HostKeyPolicy::trust_on_first_use;
  CHECK(refusal(ed25519_blob('b')) == code::host_key_changed);
  CHECK(refusal(blob_of("ecdsa-sha2-nistp256", 'c')) == code::host_key_changed);
  CHECK(stored().empty());
}

TEST_CASE_FIXTURE(Fixture, "a host known only by a type that cannot be checked is unknown, not changed") {
  user_knows(line_of("[10.0.0.1]:2222", blob_of("ssh-rsa", 'r')));
  CHECK(refusal(ed25519_blob('a')) == code::host_key_unknown);
  target.host_keys = HostKeyPolicy::trust_on_first_use;
  CHECK(refusal(ed25519_blob('a')) == code::host_key_unknown);
}

TEST_CASE_FIXTURE(Fixture, "a revoked key is refused wherever the mark stands and whoever else trusts it") {
  const std::string blob = ed25519_blob('a');
  user_knows("@revoked " + line_of("*", blob));
  site_knows(line_of("n1", blob));
  CHECK(refusal(blob) == code::host_key_revoked);
}

TEST_CASE_FIXTURE(Fixture, "trust on first use stores once, then verifies") {
  target.host_keys = HostKeyPolicy::trust_on_first_use;
  const std::string a = ed25519_blob('a');
  CHECK_FALSE(refusal(a));
  CHECK(stored() == line_of("n1,[10.0.0.1]:2222", a));
  CHECK_FALSE(refusal(a));
  CHECK(refusal(ed25519_blob('b')) == code::host_key_changed);
  HostKeys later{""};
  CHECK(check(later, target, a));
  CHECK_FALSE(check(later, target, ed25519_blob('b')));
  CHECK(stored() == line_of("n1,[10.0.0.1]:2222", a));
}

TEST_CASE_FIXTURE(Fixture, "two runs that meet a machine at once do not store two keys") {
  target.host_keys = HostKeyPolicy::trust_on_first_use;
  CHECK(refusal(ed25519_blob('a')) == std::nullopt);
  HostKeys other{""};
  Target same = target;
  REQUIRE(check(other, same, ed25519_blob('a')));
  // `keys` has read the store; now somebody else appends a node that it has not seen.
  Target second = target;
  second.node = "n2";
  second.address = "10.0.0.2";
  REQUIRE(check(other, second, ed25519_blob('b')));
  auto late = check(keys, second, ed25519_blob('c'));
  REQUIRE_FALSE(late);
  CHECK(late.error().code == code::host_key_changed);
}

TEST_CASE_FIXTURE(Fixture, "in the site's store the node's name decides, so an address given to another machine is noticed") {
  site_knows(line_of("n1,[10.0.0.9]:2222", ed25519_blob('a')) + line_of("n2,[10.0.0.1]:2222", ed25519_blob('b')));
  CHECK_FALSE(refusal(ed25519_blob('a')));
  CHECK(refusal(ed25519_blob('b')) == code::host_key_changed);
}

TEST_CASE_FIXTURE(Fixture, "the node's name in the user's own file may confirm but not contradict") {
  user_knows(line_of("n1", ed25519_blob('a')));
  CHECK_FALSE(refusal(ed25519_blob('a')));
  CHECK(refusal(ed25519_blob('b')) == code::host_key_unknown);
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
  CHECK(check(keys, storeless, ed25519_blob('a')).error().code == code::host_key_not_stored);
  Target hostile = target;
  hostile.node = "n1 ssh-ed25519 AAAA\nn2";
  CHECK(check(keys, hostile, ed25519_blob('a')).error().code == code::host_key_not_stored);
}

TEST_CASE_FIXTURE(Fixture, "a known_hosts that exists but cannot be read checks nothing") {
  std::filesystem::create_directories(dir + "/known_hosts");
  CHECK(refusal(ed25519_blob('a')) == code::known_hosts_unreadable);
}

TEST_CASE_FIXTURE(Fixture, "the types asked for are those that are known") {
  user_knows(line_of("[10.0.0.1]:2222", blob_of("ecdsa-sha2-nistp256", 'a')) + line_of("[10.0.0.1]:2222", blob_of("ssh-rsa", 'a')));
  auto inquiry = keys.prepare(target);
  REQUIRE(inquiry);
  CHECK(inquiry->types == std::vector<std::string>{"ecdsa-sha2-nistp256", "ssh-rsa"});
  CHECK_FALSE(inquiry->guessed);
}

TEST_CASE_FIXTURE(Fixture, "among hashed lines the types are guessed, and a machine known by another is asked again, once") {
  std::string text;
  for (char c = 'A'; c <= 'F'; ++c) text += hashed(std::string("[10.0.0.2]:22") + c, c, ed25519_blob(c));
  const std::string mine = blob_of("ecdsa-sha2-nistp256", 'm');
  user_knows(text + hashed("[10.0.0.1]:2222", 'z', mine));
  auto inquiry = keys.prepare(target);
  REQUIRE(inquiry);
  CHECK(inquiry->types == std::vector<std::string>{"ssh-ed25519", "ecdsa-sha2-nistp256"});
  CHECK(inquiry->guessed);
  auto answer = keys.judge(target, *inquiry, ed25519_blob('n'), checkable);
  REQUIRE(answer);
  CHECK(*answer == HostKeyAnswer::ask_again);
  CHECK(inquiry->types == std::vector<std::string>{"ecdsa-sha2-nistp256"});
  SUBCASE("it shows the right one then") {
    answer = keys.judge(target, *inquiry, mine, checkable);
    REQUIRE(answer);
    CHECK(*answer == HostKeyAnswer::trusted);
  }
  SUBCASE("or it has none of that type any more") {
    answer = keys.judge(target, *inquiry, ed25519_blob('n'), checkable);
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == code::host_key_changed);
  }
  SUBCASE("and the next one who asks knows better") {
    auto next = keys.prepare(target);
    REQUIRE(next);
    CHECK(next->types == std::vector<std::string>{"ecdsa-sha2-nistp256"});
    CHECK_FALSE(next->guessed);
  }
}

TEST_CASE_FIXTURE(Fixture, "hashed lines: trusted, changed and unknown are told apart, with plain lines beside them") {
  user_knows(hashed("[10.0.0.1]:2222", 'a', ed25519_blob('a')) + line_of("[10.0.0.1]:2222", blob_of("ssh-rsa", 'r')) + hashed("[10.0.0.9]:2222", 'b', ed25519_blob('b')));
  CHECK_FALSE(refusal(ed25519_blob('a')));
  CHECK(refusal(ed25519_blob('b')) == code::host_key_changed);
  target.address = "10.0.0.3";
  CHECK(refusal(ed25519_blob('b')) == code::host_key_unknown);
  user_knows("");
  target.known_hosts = {dir + "/other"};
  REQUIRE(write_file_atomically(dir + "/other", "@revoked " + hashed("[10.0.0.3]:2222", 'c', ed25519_blob('c'))));
  CHECK(refusal(ed25519_blob('c')) == code::host_key_revoked);
}

TEST_CASE_FIXTURE(Fixture, "a plain name confirms a key on another port, as ssh lets it, and contradicts none") {
  user_knows(line_of("10.0.0.1", ed25519_blob('a')));
  CHECK_FALSE(refusal(ed25519_blob('a')));
  CHECK(refusal(ed25519_blob('b')) == code::host_key_unknown);
}

TEST_CASE_FIXTURE(Fixture, "many threads look at once, and each first key is stored once") {
  std::string text;
  for (int i = 0; i < 200; ++i) text += hashed("[10.1.0." + std::to_string(i) + "]:2222", static_cast<char>(i), ed25519_blob(static_cast<char>(i)));
  user_knows(text);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        Target mine = target;
        mine.node = "m" + std::to_string(i);
        mine.address = "10.1.0." + std::to_string(i);
        const bool right = static_cast<bool>(check(keys, mine, ed25519_blob(static_cast<char>(i))));
        auto bad = check(keys, mine, ed25519_blob(static_cast<char>(i + 1)));
        if (!right || bad || bad.error().code != code::host_key_changed) ++wrong;
        mine.host_keys = HostKeyPolicy::trust_on_first_use;
        mine.node += "-new";   // the store decides where it knows the node
        mine.address = "10.2.0." + std::to_string(i);
        if (!check(keys, mine, ed25519_blob('s'))) ++wrong;
        mine.address = "10.3." + std::to_string(t) + "." + std::to_string(i);
        mine.node += "-" + std::to_string(t);
        if (!check(keys, mine, ed25519_blob('s'))) ++wrong;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(split_lines(stored()).size() == 200 + 4 * 200);
}

TEST_CASE_FIXTURE(Fixture, "the store is changed as a whole: added to, replaced in, and what stands there else is kept") {
  site_knows("# mine\n" + line_of("n1,[10.0.0.1]:2222,n9", ed25519_blob('o')) + "@revoked " + line_of("n1", ed25519_blob('r')) + hashed("n1", 'h', ed25519_blob('p')) +
             line_of("n2", ed25519_blob('2')) + "not a line");
  Target second = target;
  second.node = "n2";
  second.address = "10.0.0.2";
  auto done = update_store(target.site_store, {{&target, {ed25519_blob('x'), blob_of("ecdsa-sha2-nistp256", 'y')}, true}, {&second, {ed25519_blob('2')}, false}});
  REQUIRE(done);
  CHECK(done->size() == 2);
  CHECK(stored() == "# mine\n" + line_of("n9", ed25519_blob('o')) + "@revoked " + line_of("n1", ed25519_blob('r')) + line_of("n2", ed25519_blob('2')) + "not a line\n" +
                        line_of("n1,[10.0.0.1]:2222", ed25519_blob('x')) + line_of("n1,[10.0.0.1]:2222", blob_of("ecdsa-sha2-nistp256", 'y')));
  CHECK_FALSE(refusal(ed25519_blob('x')));
  CHECK(refusal(ed25519_blob('o')) == code::host_key_changed);

  site_knows(line_of("n*", ed25519_blob('o')));
  done = update_store(target.site_store, {{&target, {ed25519_blob('x')}, true}});
  REQUIRE_FALSE(done);
  CHECK(done.error().code == code::host_key_not_stored);
  CHECK(stored() == line_of("n*", ed25519_blob('o')));
}

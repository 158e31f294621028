#include "commands/hostkeys.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <filesystem>

#include "base/codes/ssh.hpp"
#include "base/file.hpp"
#include "base/ids.hpp"
#include "base/text.hpp"
#include "ssh/codec.hpp"
#include "unit/commands/fake_env.hpp"
#include "unit/ssh/keys.hpp"

using namespace kfab;
using namespace kfab::commands;
using ssh::test::blob_of;
using ssh::test::ed25519_blob;

namespace {

// A node as a scan and the look into known_hosts leave it.
ReviewedNode node(const std::string& name, NodeKeys state, std::vector<ReviewedKey> keys, NodeOutcome outcome = NodeOutcome::ok) {
  ReviewedNode made;
  made.scan.node = name;
  made.scan.outcome = outcome;
  made.address = name;
  made.state = state;
  made.keys = std::move(keys);
  return made;
}
ReviewedKey key(char fill, KeyState state) {
  const std::string blob = ed25519_blob(fill);
  return {"ssh-ed25519", blob, ssh::fingerprint(blob), state, "", {}, false};
}

Decision decided(ReviewedNode one, bool duplicates = false, std::vector<std::string> replace = {}, std::optional<std::vector<ListedFingerprint>> listed = {},
                 int* stored = nullptr) {
  HostKeyReview review;
  review.nodes.push_back(std::move(one));
  decide(review, replace, duplicates, listed ? &*listed : nullptr);
  if (stored != nullptr) {
    *stored = 0;
    for (const ReviewedKey& each : review.nodes[0].keys) *stored += each.stored ? 1 : 0;
  }
  return *review.nodes[0].decision;
}

// Shows keys instead of running commands.
class KeyTransport final : public ssh::Transport {
 public:
  std::map<std::string, std::vector<std::string>> keys;
  void launch(const ssh::Target& target, const ssh::Command& command, std::shared_ptr<ssh::CommandListener> listener) override {
    REQUIRE(command.purpose == ssh::Purpose::host_keys);
    waiting_.emplace_back(target.node, std::move(listener));
  }
  void drive(std::chrono::milliseconds) override {
    if (waiting_.empty()) return;
    auto [name, listener] = std::move(waiting_.back());
    waiting_.pop_back();
    const auto found = keys.find(name);
    if (found == keys.end()) return listener->on_end(test::ended(NodeOutcome::unreachable));
    for (const std::string& blob : found->second) listener->on_host_key(blob);
    listener->on_end(test::ended(NodeOutcome::ok));
  }
  std::size_t running() const override { return waiting_.size(); }

 private:
  std::vector<std::pair<std::string, std::shared_ptr<ssh::CommandListener>>> waiting_;
};

struct Site : test::World {
  std::string dir = std::filesystem::temp_directory_path() / ("kfab-hostkeys-" + random_hex(6));
  std::shared_ptr<KeyTransport> nodes = std::make_shared<KeyTransport>();
  std::string asked;
  Site() {
    std::filesystem::create_directories(dir);
    env.state_dir = dir;
    env.transport = [this] { return nodes; };
    env.confirm = [this](std::string_view question) {
      asked = question;
      return Result<bool>(true);
    };
  }
  ~Site() { std::filesystem::remove_all(dir); }
  CommandOutput run(HostKeysAction action, const std::string& set, const std::string& replace = {}) {
    HostKeysOptions options;
    options.site.selection.nodes = set;
    options.site.reach.known_hosts = {dir + "/mine"};
    options.action = action;
    options.replace = replace;
    return run_hostkeys(options, env);
  }
  std::string stored() const { auto text = read_file(dir + "/known_hosts"); return text ? *text : ""; }
};

}  // namespace

TEST_CASE("hostkeys: what trust does with a node") {
  CHECK(decided(node("n", NodeKeys::fresh, {key('a', KeyState::fresh)})) == Decision::stored);
  CHECK(decided(node("n", NodeKeys::known, {key('a', KeyState::known)})) == Decision::nothing_to_do);
  CHECK(decided(node("n", NodeKeys::known, {key('a', KeyState::known), key('b', KeyState::further)})) == Decision::stored);
  CHECK(decided(node("n", NodeKeys::changed, {key('a', KeyState::changed)})) == Decision::left_changed);
  CHECK(decided(node("n", NodeKeys::changed, {key('a', KeyState::changed)}), false, {"n"}) == Decision::replaced);
  CHECK(decided(node("n", NodeKeys::revoked, {key('a', KeyState::revoked)}), true, {"n"}) == Decision::left_revoked);
  CHECK(decided(node("n", NodeKeys::not_asked, {key('a', KeyState::fresh)}, NodeOutcome::timed_out)) == Decision::not_asked);
  auto clone = node("n", NodeKeys::fresh, {key('a', KeyState::fresh)});
  clone.duplicated = true;
  CHECK(decided(clone) == Decision::left_duplicate);
  CHECK(decided(clone, true) == Decision::stored);
}

TEST_CASE("hostkeys: with a file of fingerprints only what it lists is stored") {
  const auto fresh = node("Gpu1", NodeKeys::fresh, {key('a', KeyState::fresh), key('b', KeyState::fresh)});
  int stored = 0;
  CHECK(decided(fresh, false, {}, {{{"gpu1", key('a', KeyState::fresh).fingerprint}}}, &stored) == Decision::stored);
  CHECK(stored == 1);
  CHECK(decided(fresh, false, {}, {{{"gpu1", key('x', KeyState::fresh).fingerprint}}}, &stored) == Decision::left_mismatch);
  CHECK(stored == 0);
  CHECK(decided(fresh, false, {}, {{{"gpu2", key('a', KeyState::fresh).fingerprint}}}, &stored) == Decision::left_unlisted);
  CHECK(stored == 0);
  auto parsed = parse_fingerprints("# console\n\ngpu1  256 " + fresh.keys[0].fingerprint + " root@gpu1 (ED25519)\r\n10.0.0.2\t" + fresh.keys[1].fingerprint + " # BMC\n");
  REQUIRE(parsed);
  CHECK(parsed->size() == 2);
  CHECK(parsed->at(1).node == "10.0.0.2");
  for (const std::string bad : {"", "# nothing", "gpu1", "gpu1 MD5:00:11", "gpu1 SHA256:short", fresh.keys[0].fingerprint.c_str()}) {
    auto refused = parse_fingerprints(bad);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == code::bad_fingerprint_line);
  }
}

TEST_CASE_FIXTURE(Site, "hostkeys: from the first scan to a reinstalled node") {
  nodes->keys = {{"n1", {ed25519_blob('1'), blob_of("ssh-rsa", '1')}}, {"n2", {ed25519_blob('2')}}, {"n3", {ed25519_blob('3')}}};
  auto output = run(HostKeysAction::scan, "n[1-3]");
  CHECK(output.outcome == Outcome::no);
  CHECK(test::rendered(output).find("New: n[1-3] (3)") != std::string::npos);
  CHECK(test::rendered(output).find(ssh::fingerprint(ed25519_blob('2'))) != std::string::npos);
  CHECK(stored().empty());

  output = run(HostKeysAction::trust, "n[1-3]");
  CHECK(output.outcome == Outcome::yes);
  CHECK(asked.find("4 host keys of n[1-3] (3)") != std::string::npos);
  CHECK(split_lines(stored()).size() == 4);
  CHECK(run(HostKeysAction::scan, "n[1-3]").outcome == Outcome::yes);
  CHECK(run(HostKeysAction::list, "n[1-3]").outcome == Outcome::yes);
  CHECK(run(HostKeysAction::list, "n[1-4]").outcome == Outcome::no);
  CHECK(run(HostKeysAction::scan, "n[1-4]").outcome == Outcome::incomplete);

  nodes->keys["n1"] = {ed25519_blob('2')};   // another one's key: changed, and a clone
  output = run(HostKeysAction::scan, "n1");
  CHECK(output.outcome == Outcome::no);
  CHECK(test::rendered(output).find("CHANGED: n1") != std::string::npos);
  CHECK(test::rendered(output).find("n1 shows the ssh-ed25519 key that is stored for n2") != std::string::npos);
  const std::string before = stored();
  CHECK(run(HostKeysAction::trust, "n1").outcome == Outcome::no);
  CHECK(run(HostKeysAction::trust, "n1", "n1").outcome == Outcome::no);   // a clone still
  CHECK(stored() == before);
  nodes->keys["n1"] = {ed25519_blob('9')};
  output = run(HostKeysAction::trust, "n1", "n1");
  CHECK(output.outcome == Outcome::yes);
  CHECK(output.data.array_at("replaced").size() == 2);
  CHECK(stored().find(ssh::base64_encode(ed25519_blob('1'))) == std::string::npos);
  CHECK(run(HostKeysAction::scan, "n1").outcome == Outcome::yes);
  CHECK(run(HostKeysAction::trust, "n1", "n7").outcome == Outcome::invalid);
}

TEST_CASE_FIXTURE(Site, "hostkeys: a key of another type than the known one is a change, unless the known one is shown too") {
  REQUIRE(write_file_atomically(dir + "/mine", ssh::test::line_of("n1", ed25519_blob('1'))));
  nodes->keys = {{"n1", {ed25519_blob('1'), blob_of("ssh-rsa", 'r')}}};
  auto output = run(HostKeysAction::scan, "n1");
  CHECK(output.outcome == Outcome::yes);
  CHECK(output.data.array_at("nodes").at(0).array_at("keys").at(1).string_or("state") == "further");
  nodes->keys = {{"n1", {blob_of("ssh-rsa", 'r')}}};
  output = run(HostKeysAction::scan, "n1");
  CHECK(output.outcome == Outcome::no);
  CHECK(output.data.array_at("nodes").at(0).string_or("state") == "changed");
}

TEST_CASE_FIXTURE(Site, "hostkeys: what a node shows cannot write to the terminal, and a no stores nothing") {
  std::string hostile;
  ssh::put_string(hostile, "ssh-\x1b[2Jevil\nname");
  ssh::put_string(hostile, std::string(32, 'k'));
  nodes->keys = {{"n1", {hostile}}};
  const auto output = run(HostKeysAction::scan, "n1");
  CHECK(test::rendered(output).find('\x1b') == std::string::npos);
  env.confirm = [](std::string_view) { return Result<bool>(false); };
  nodes->keys = {{"n1", {ed25519_blob('1')}}};
  CHECK(run(HostKeysAction::trust, "n1").outcome == Outcome::invalid);
  CHECK(stored().empty());
}

TEST_CASE_FIXTURE(Site, "hostkeys: names of one machine that are declared to be that are no clones of each other") {
  const auto text = [](std::string_view second) {
    return fmt::format("apiVersion: kfab/v1\nkind: Site\nmetadata: {{name: one, title: One, country: KR, as_of: 2026-11-22}}\nspec:\n  kind: edge\n  nodes:\n"
                       "    - {{group: g, profile: p, list: [{{name: n1, address: 127.0.0.1}}], identity: name}}\n"
                       "    - {{group: h, profile: p, list: [{{name: n2, address: 127.0.0.2}}]{}}}\n"
                       "---\napiVersion: kfab/v1\nkind: Profile\nmetadata: {{name: p, version: \"1\", title: no accelerators}}\n"
                       "spec: {{vendor: cpu, accelerator: processor, device: cpu, per_node: 1, nameplate: 0.5 kW}}\n", second);
  };
  nodes->keys = {{"n1", {ed25519_blob('1')}}, {"n2", {ed25519_blob('1')}}};
  HostKeysOptions options;
  options.site.manifest = dir + "/site.yaml";
  options.action = HostKeysAction::trust;
  REQUIRE(write_file_atomically(options.site.manifest, text("")));
  auto output = run_hostkeys(options, env);   // n2 is not declared so: one of the two may pose as the other
  CHECK(output.outcome == Outcome::no);
  CHECK(output.data.array_at("duplicates").size() == 1);
  REQUIRE(write_file_atomically(options.site.manifest, text(", identity: name")));
  output = run_hostkeys(options, env);
  CHECK(output.outcome == Outcome::yes);
  CHECK(output.data.array_at("duplicates").size() == 0);
  CHECK(output.data.int_or("stored_nodes", 0) == 2);
}

TEST_CASE_FIXTURE(Site, "hostkeys: thousands of clones cost seconds, not hours") {
  for (int i = 0; i < 5000; ++i) nodes->keys["c" + std::to_string(i)] = {ed25519_blob('c'), blob_of("ssh-rsa", 'c')};
  auto output = run(HostKeysAction::scan, "c[0-4999]");
  CHECK(output.outcome == Outcome::no);
  CHECK(output.data.array_at("duplicates").size() == 1);
  CHECK(test::rendered(output).find("c[0-4999] (5,000) show the same") != std::string::npos);
}

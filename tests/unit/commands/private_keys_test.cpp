#include <doctest/doctest.h>

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/codes/ssh.hpp"
#include "base/ids.hpp"
#include "commands/private_keys.hpp"
#include "ssh/agent_client.hpp"
#include "unit/commands/fake_env.hpp"

using namespace kfab;
using namespace kfab::commands;

namespace {

struct Keys {
  Keys() {
    std::filesystem::create_directories(dir);
    there = std::system(("ssh-keygen -q -t ed25519 -N '' -f " + dir + "/plain && ssh-keygen -q -t ed25519 -N secret -f " + dir + "/locked").c_str()) == 0;
  }
  ~Keys() { std::filesystem::remove_all(dir); }
  std::string dir = std::filesystem::temp_directory_path() / ("kfab-keys-" + random_hex(6));
  bool there = false;
};

ssh::Target target(const std::vector<std::string>& files) {
  ssh::Target out;
  out.node = "n";
  out.identity_files = files;
  return out;
}

}  // namespace

TEST_CASE("private keys: what is wrong with one of the command line is found before anything is connected to") {
  const Keys keys;
  if (!keys.there) return;
  std::vector<ssh::Target> targets{target({}), target({})};
  CHECK(check_keys({}, targets));
  CHECK(check_keys({keys.dir + "/plain", keys.dir + "/locked"}, targets));   // an encrypted one may be in the agent
  const auto missing = check_keys({keys.dir + "/plain", keys.dir + "/nowhere"}, targets);
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code == code::ssh_key_unreadable);
  CHECK(missing.error().message.find("/nowhere") != std::string::npos);
  CHECK(missing.error().node.empty());
  CHECK_FALSE(check_keys({keys.dir + "/plain.pub"}, targets));
  for (auto& one : targets) one.transport = ssh::TransportKind::openssh;
  CHECK(check_keys({keys.dir + "/plain.pub"}, targets));   // ssh(1) finds its private half in the agent
  CHECK_FALSE(check_keys({keys.dir + "/nowhere"}, targets));
}

TEST_CASE("private keys: which ones are locked, and that nobody is asked without a terminal") {
  const Keys keys;
  if (!keys.there) return;
  std::vector<ssh::Target> targets{target({keys.dir + "/plain", keys.dir + "/locked", keys.dir + "/nowhere"}), target({keys.dir + "/locked"})};
  CHECK(locked_keys(targets, "") == std::vector<std::string>{keys.dir + "/locked"});
  CHECK(locked_keys(targets, "/no-such-socket").size() == 1);
  test::World world;
  const auto nothing = unlock_keys(targets, world.env);
  REQUIRE(nothing);
  CHECK(*nothing == nullptr);
  CHECK(targets[0].agent_socket.empty());
}

TEST_CASE("private keys: the private agent is private, holds what it is given, and ends with its owner") {
  const Keys keys;
  if (!keys.there) return;
  std::string socket;
  {
    auto agent = ssh::PrivateAgent::start();
    REQUIRE_MESSAGE(agent.has_value(), (agent ? "" : agent.error().message));
    socket = (*agent)->socket();
    struct stat about {};
    REQUIRE(::stat(std::filesystem::path(socket).parent_path().c_str(), &about) == 0);
    CHECK((about.st_mode & 0777) == 0700);
    CHECK((*agent)->add(keys.dir + "/plain"));
    const auto held = ssh::keys_of_agent(socket, 2000);
    REQUIRE(held);
    CHECK(held->size() == 1);
    std::vector<ssh::Target> targets{target({keys.dir + "/plain"})};
    CHECK(locked_keys(targets, socket).empty());
    CHECK_FALSE((*agent)->add(keys.dir + "/nowhere"));
  }
  CHECK_FALSE(std::filesystem::exists(socket));
  CHECK_FALSE(ssh::keys_of_agent(socket, 500));
}

#include "agent/agent_cache.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <fstream>

#include "base/ids.hpp"

using namespace kfab;
using namespace kfab::agent;
namespace fs = std::filesystem;

namespace {

const auto now = std::chrono::system_clock::now();

struct Cache {
  std::string path = (fs::temp_directory_path() / ("kfab-cache-" + random_hex(6))).string();
  Cache() {
    fs::create_directories(path);
    fs::permissions(path, fs::perms::owner_all);
  }
  ~Cache() { fs::remove_all(path); }
  static std::string name(char c) { return "agent-" + std::string(64, c); }
  std::string file(char c) const { return path + "/" + name(c); }
  void used(const std::string& at, std::chrono::hours ago) const {
    const timespec then{std::chrono::system_clock::to_time_t(now - ago), 0};
    const timespec times[] = {then, then};
    REQUIRE(::utimensat(AT_FDCWD, at.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0);
  }
  // An agent that was used so many hours ago.
  std::string agent(char c, int hours_ago) const {
    std::ofstream(file(c)) << "agent";
    used(file(c), std::chrono::hours(hours_ago));
    return file(c);
  }
  bool has(char c) const { return fs::exists(fs::symlink_status(file(c))); }
};

}  // namespace

TEST_CASE_FIXTURE(Cache, "the newest by use stay, with the one that looks among them; older ones go") {
  for (int i = 0; i < 8; ++i) agent(static_cast<char>('0' + i), 100 + i);
  agent('a', 5000);   // itself, not marked yet
  const auto removed = prune_agents(file('a'), now);
  CHECK(removed == std::vector<std::string>{name('3'), name('4'), name('5'), name('6'), name('7')});
  for (const char c : {'a', '0', '1', '2'}) CHECK(has(c));
  CHECK(prune_agents(file('a'), now).empty());
}

TEST_CASE_FIXTURE(Cache, "what was used within a day stays, however many they are") {
  for (int i = 0; i < 8; ++i) agent(static_cast<char>('0' + i), 10 + i);
  agent('8', 30);
  CHECK(prune_agents(agent('a', 0), now) == std::vector<std::string>{name('8')});
}

TEST_CASE_FIXTURE(Cache, "what is used is marked, so that it is not the oldest any more") {
  for (int i = 0; i < 5; ++i) agent(static_cast<char>('0' + i), 100 + i);
  const std::string self = agent('a', 100);
  mark_used(file('4'));
  CHECK(prune_agents(self, now) == std::vector<std::string>{name('2'), name('3')});
  mark_used(path + "/nothing");   // and what is not there is nobody's trouble
}

TEST_CASE_FIXTURE(Cache, "what a process runs stays until it has ended") {
  fs::copy_file("/bin/sleep", file('b'));
  used(file('b'), std::chrono::hours(1000));
  for (int i = 0; i < 4; ++i) agent(static_cast<char>('0' + i), 100 + i);
  const std::string self = agent('a', 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::execl(file('b').c_str(), "sleep", "60", nullptr);
    ::_exit(127);
  }
  const std::string exe = "/proc/" + std::to_string(child) + "/exe";
  for (int i = 0; i < 500 && fs::read_symlink(exe).filename() != name('b'); ++i) ::usleep(10'000);
  REQUIRE(fs::read_symlink(exe).filename() == name('b'));
  CHECK(prune_agents(self, now) == std::vector<std::string>{name('3')});
  CHECK(has('b'));
  ::kill(child, SIGKILL);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(prune_agents(self, now) == std::vector<std::string>{name('b')});
}

TEST_CASE_FIXTURE(Cache, "what is no agent is left alone, and so is a folder that is nobody's own") {
  const std::string self = agent('a', 0);
  for (int i = 0; i < 4; ++i) agent(static_cast<char>('0' + i), 100 + i);
  std::ofstream(path + "/outside") << "x";
  std::ofstream(path + "/agent-xyz") << "x";
  std::ofstream(path + "/." + name('c') + ".123") << "x";
  fs::create_symlink(path + "/outside", file('d'));
  fs::create_directory(file('e'));
  for (const std::string& at : {path + "/outside", path + "/agent-xyz", path + "/." + name('c') + ".123", file('d'), file('e')}) used(at, std::chrono::hours(2000));
  CHECK(prune_agents(path + "/outside", now).empty());       // asked by something that is no agent
  CHECK(prune_agents("agent", now).empty());
  CHECK(prune_agents(path + "/nowhere/" + name('a'), now).empty());
  fs::permissions(path, fs::perms::group_write | fs::perms::owner_all);
  CHECK(prune_agents(self, now).empty());                    // others could put something there
  fs::permissions(path, fs::perms::owner_all);
  CHECK(prune_agents(self, now) == std::vector<std::string>{name('3')});
  for (const char c : {'d', 'e'}) CHECK(has(c));
  CHECK(fs::exists(path + "/outside"));
  CHECK(fs::exists(path + "/agent-xyz"));
  CHECK(fs::exists(path + "/." + name('c') + ".123"));
}

TEST_CASE_FIXTURE(Cache, "a link to the file, as the process has of itself, stands for the file") {
  for (int i = 0; i < 5; ++i) agent(static_cast<char>('0' + i), 100 + i);
  fs::create_symlink(agent('a', 0), path + "/exe");
  CHECK(prune_agents(path + "/exe", now) == std::vector<std::string>{name('3'), name('4')});
}

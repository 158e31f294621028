#include "agent/resources/disk_file.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "unit/agent/support.hpp"

using namespace kfab;
using namespace kfab::agent;

TEST_CASE("directories that two agents make at once are made, and both go on") {
  test::TemporaryDirectory dir;
  constexpr int rounds = 40, agents = 4;
  std::string deep;   // at each of its levels they may meet
  for (int level = 0; level < 60; ++level) deep += "/d";
  std::atomic<int> ready{0}, failed{0};
  std::vector<std::thread> threads;
  for (int agent = 0; agent < agents; ++agent)
    threads.emplace_back([&] {
      for (int round = 0; round < rounds; ++round) {
        ++ready;
        while (ready < (round + 1) * agents) std::this_thread::yield();   // all at the same time
        if (!make_directories(dir / ("r" + std::to_string(round)) + deep)) ++failed;
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK(failed == 0);
  CHECK(std::filesystem::is_directory(dir / ("r39" + deep)));
}

TEST_CASE("a directory is not made where something else stands") {
  test::TemporaryDirectory dir;
  std::filesystem::create_symlink("nowhere", dir / "link");
  CHECK_FALSE(make_directories(dir / "link"));
  CHECK_FALSE(make_directories(dir / "link/below"));
}

#include "agent/devices/host_memory.hpp"

#include <doctest/doctest.h>

#include <vector>

using namespace kfab::agent::devices;

TEST_CASE("lists of processors as the kernel writes them") {
  CHECK(parse_processor_list("0-3,8") == std::vector<int>{0, 1, 2, 3, 8});
  CHECK(parse_processor_list("5\n") == std::vector<int>{5});
  for (const auto* bad : {"", "x", "3-1", "-1", "1-", "0,,1", "1x", "0-99999999"}) {
    CAPTURE(bad);
    CHECK(parse_processor_list(bad).empty());
  }
}

TEST_CASE("what a node's memory is asked for, and nothing of one that is not there") {
  std::vector<char> memory(1 << 20, 1);
  CHECK(part_on_node(memory.data(), memory.size(), -1) < 0);
  CHECK(part_on_node(memory.data(), 0, 0) < 0);
  CHECK(part_on_node(memory.data(), memory.size(), 0) <= 1);   // negative where the kernel does not say
  const NearNode none(-1), missing(1000);
  CHECK_FALSE(none.held());
  CHECK_FALSE(missing.held());
}

#include "agent/devices/host_memory.hpp"

#include <doctest/doctest.h>

#include <sched.h>
#include <vector>

#include "agent/devices/cpu_host.hpp"
#include "base/codes/validation.hpp"
#include "unit/agent/device_support.hpp"
#include "unit/agent/support.hpp"

using namespace kfab::agent::devices;

TEST_CASE("lists of processors as the kernel writes them") {
  CHECK(parse_processor_list("0-3,8") == std::vector<int>{0, 1, 2, 3, 8});
  CHECK(parse_processor_list("5\n") == std::vector<int>{5});
  for (const auto* bad : {"", "x", "3-1", "-1", "1-", "0,,1", "1x", "0-99999999"}) {
    CAPTURE(bad);
    CHECK(parse_processor_list(bad).empty());
  }
}

TEST_CASE("the largest cache of a processor is the one that the kernel tells") {
  kfab::agent::test::TemporaryDirectory dir;
  const std::string caches = "sys/devices/system/cpu/cpu0/cache/";
  CHECK(cpu::last_level_cache_bytes(dir.string()) == 0);
  kfab::agent::test::write(dir / (caches + "index0/size"), "64K\n");
  kfab::agent::test::write(dir / (caches + "index2/size"), "1024K\n");
  CHECK(cpu::last_level_cache_bytes(dir.string()) == 1 << 20);
  kfab::agent::test::write(dir / (caches + "index3/size"), "114M\n");
  CHECK(cpu::last_level_cache_bytes(dir.string()) == 114u << 20);
  kfab::agent::test::write(dir / (caches + "index4/size"), "-1\n");   // what nobody believes
  CHECK(cpu::last_level_cache_bytes(dir.string()) == 114u << 20);
  kfab::agent::test::write(dir / (caches + "index5/size"), "99999999999999999999K\n");
  CHECK(cpu::last_level_cache_bytes(dir.string()) == 114u << 20);
}

TEST_CASE("the NUMA node of a GPU for which the firmware names none is that of its local processors, where they tell one") {
  kfab::agent::test::TemporaryDirectory dir;
  const std::string gpu = "sys/bus/pci/devices/0000:1b:00.0/", nodes = "sys/devices/system/node/";
  const auto node = [&] { return node_of_pci("0000:1B:00.0", dir.string()); };
  CHECK(node().node == -1);                                          // no such device
  kfab::agent::test::write(dir / (nodes + "has_cpu"), "0-1\n");
  kfab::agent::test::write(dir / (nodes + "node0/cpulist"), "0-3,8-11\n");
  kfab::agent::test::write(dir / (nodes + "node1/cpulist"), "4-7,12-15\n");
  kfab::agent::test::write(dir / (gpu + "numa_node"), "1\n");
  kfab::agent::test::write(dir / (gpu + "local_cpulist"), "0-3,8-11\n");
  CHECK(node().node == 1);                                           // what the firmware says comes first
  CHECK(node().note().empty());
  kfab::agent::test::write(dir / (gpu + "numa_node"), "-1\n");
  CHECK(node().node == 0);
  CHECK(node().note() == ", by the GPU's local_cpulist since its numa_node is -1");
  kfab::agent::test::write(dir / (gpu + "local_cpulist"), "4-7\n");   // some of them are offline
  CHECK(node().node == 1);
  kfab::agent::test::write(dir / (gpu + "local_cpulist"), "0-15\n");  // a kernel that does not know lists them all
  CHECK(node().node == -1);
  CHECK(node().note().empty());
  kfab::agent::test::write(dir / (gpu + "local_cpulist"), "\n");
  CHECK(node().node == -1);
  kfab::agent::test::write(dir / (nodes + "has_cpu"), "0\n");         // a machine of one node
  kfab::agent::test::write(dir / (nodes + "node0/cpulist"), "0-15\n");
  kfab::agent::test::write(dir / (gpu + "local_cpulist"), "0-15\n");
  CHECK(node().node == 0);
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

TEST_CASE("a node from which the agent is kept, in part or in whole, is told in words") {
  kfab::agent::test::TemporaryDirectory dir;
  cpu_set_t before;
  REQUIRE(::sched_getaffinity(0, sizeof before, &before) == 0);
  int own = 0;
  while (!CPU_ISSET(std::size_t(own), &before)) ++own;
  const int elsewhere = 1000;
  REQUIRE_FALSE(CPU_ISSET(std::size_t(elsewhere), &before));
  const auto list = [&](const std::string& text) { kfab::agent::test::write(dir / "sys/devices/system/node/node0/cpulist", text + "\n"); };
  list(std::to_string(own) + "," + std::to_string(elsewhere));
  {
    const NearNode part(0, dir.string());
    CHECK(part.held());
    CHECK_FALSE(part.whole());
    CHECK(part.words() == "1 of the 2 processors of NUMA node 0 may be used");
  }
  list(std::to_string(own));
  CHECK(NearNode(0, dir.string()).whole());
  list(std::to_string(elsewhere));
  const NearNode kept(0, dir.string());
  CHECK_FALSE(kept.held());
  CHECK(kept.words().find("cpuset") != std::string::npos);
  cpu_set_t after;
  REQUIRE(::sched_getaffinity(0, sizeof after, &after) == 0);
  CHECK(CPU_EQUAL(&before, &after));

  // Asked for and not had is a finding; what the kernel says of the pages outweighs where the thread ran.
  CHECK(not_local(0, false, -1) == kfab::code::numa_node_withheld);
  CHECK(not_local(0, true, 0.5) == kfab::code::numa_memory_elsewhere);
  CHECK(not_local(0, false, 0) == kfab::code::numa_memory_elsewhere);
  CHECK_FALSE(not_local(0, false, 1));
  CHECK_FALSE(not_local(0, true, -1));
  CHECK_FALSE(not_local(-1, false, -1));
}

TEST_CASE("processors that an affinity keeps from the agent are counted") {
  kfab::agent::test::TemporaryDirectory dir;
  CHECK_FALSE(cpu::withheld_processors(dir.string()));
  const auto usable = cpu::usable_processors();
  kfab::agent::test::write(dir / "sys/devices/system/cpu/online", std::to_string(usable.front()) + "\n");
  CHECK(cpu::withheld_processors(dir.string()) == 0);
  kfab::agent::test::write(dir / "sys/devices/system/cpu/online", std::to_string(usable.front()) + ",900-1000\n");
  CHECK(cpu::withheld_processors(dir.string()) == 101);

  // In the results: of a process that may use one processor, whatever the machine has.
  const auto said = in_process_of_its_own([&](TestSink& sink) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(std::size_t(usable.front()), &one);
    if (::sched_setaffinity(0, sizeof one, &one) != 0) ::_exit(3);
    const auto device = make_cpu_device();
    TestRequest request;
    request.memory_cap_bytes = 8 << 20;
    request.precisions = {"int8"};
    request.samples = 1;
    device->run(Family::burnin, device->accelerators()->front(), request, 0.05, sink);
  });
  REQUIRE(said.has("burnin.processors_withheld"));
  if (const auto all = cpu::withheld_processors(); all && *all == 0) CHECK(said.value("burnin.processors_withheld") == double(usable.size() - 1));
}

#include "agent/facts.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "agent/facts_sections.hpp"
#include "agent/nvml.hpp"
#include "agent/process.hpp"
#include "base/fact_names.hpp"
#include "unit/agent/support.hpp"

using namespace kfab;
using namespace kfab::agent;

namespace {
json::Value facts_of_tree(const std::string& name) {
  FactsOptions options;
  options.root = std::string(KFAB_SOURCE_DIR) + "/tests/unit/agent/trees/" + name;
  options.live = false;
  options.nvml_library = "";
  return read_facts(options);
}
std::string problems_of(const json::Value& facts) {
  std::string text;
  for (const auto& problem : facts.array_at("problems"))
    text += problem.string_or("fact") + ": " + problem.string_or("reason") + "\n";
  return text;
}
}  // namespace

TEST_CASE("facts: a kernel list is counted") {
  CHECK(count_of_list("0-3,8") == 5);
  CHECK(count_of_list("0") == 1);
  CHECK(count_of_list("0-223\n") == 224);
  CHECK(count_of_list("") == 0);
  CHECK(count_of_list("x,9-3") == 0);
}

TEST_CASE("facts: of a GPU server's tree") {
  const auto facts = facts_of_tree("server");
  INFO(json::dump_pretty(facts));
  CHECK(facts["identity"].string_or("board_serial") == "BSN0001");
  CHECK(facts["identity"].string_or("product_name") == "DGX B200");
  CHECK(facts["identity"]["product_serial"].is_null());   // a placeholder is no serial
  CHECK(problems_of(facts).find("identity.product_serial: the board tells only the placeholder") != std::string::npos);
  CHECK(facts["identity"].string_or("hostname") == "gpu001");
  CHECK(facts["cpu"].string_or("model") == "Intel(R) Xeon(R) Platinum 8570");
  CHECK(facts["cpu"].int_or("sockets", 0) == 2);
  CHECK(facts["cpu"].int_or("cores", 0) == 2);
  CHECK(facts["cpu"].int_or("threads", 0) == 4);
  CHECK(facts["cpu"].int_or("numa_nodes", 0) == 2);
  CHECK(facts["cpu"].double_or("max_mhz", 0) == 4000);
  CHECK(facts["cpu"].string_or("governor") == "performance,powersave");
  CHECK(json::dump(facts["cpu"]["flags"]) == R"(["avx2","avx512f","amx_tile"])");
  CHECK(facts["memory"].int_or("total_bytes", 0) == 2113929216LL * 1024);
  CHECK(facts["memory"]["hugepages"].int_or("size_bytes", 0) == 2048 * 1024);
  const auto& disks = facts.array_at("disks");
  REQUIRE(disks.size() == 2);
  CHECK(disks[0].string_or("name") == "nvme0n1");
  CHECK(disks[0].string_or("serial") == "S6XNNG0T123456");
  CHECK(disks[0].int_or("size_bytes", 0) == 3840755982336);
  CHECK(disks[0]["rotational"].as_bool() == false);
  CHECK(json::dump(disks[0]["mounts"]) ==
        R"([{"path":"/","fs_type":"ext4"},{"path":"/scratch disk","fs_type":"xfs"}])");
  CHECK(disks[1].string_or("name") == "sda");
  const auto& network = facts.array_at("network");
  REQUIRE(network.size() == 2);
  CHECK(network[0].string_or("name") == "eth0");
  CHECK(network[0].int_or("speed_mbps", 0) == 25000);
  CHECK(network[1].string_or("kind") == "infiniband");
  CHECK(network[1]["speed_mbps"].is_null());
  CHECK(facts["os"].string_or("pretty_name") == "Ubuntu 22.04.5 LTS");
  CHECK(facts["os"].string_or("timezone") == "Asia/Seoul");
  CHECK(facts["os"].double_or("uptime_s", 0) == 86400.25);
  const auto& accelerators = facts.array_at("accelerators");
  REQUIRE(accelerators.size() == 4);
  CHECK(accelerators[0].string_or("vendor") == "nvidia");
  CHECK(accelerators[0].int_or("pcie_gen", 0) == 5);
  CHECK(accelerators[0].int_or("pcie_width", 0) == 16);
  CHECK(accelerators[1].string_or("vendor") == "rebellions");   // the physical function, not the virtual one
  CHECK(accelerators[2].string_or("vendor") == "furiosa");
  CHECK(accelerators[3].string_or("vendor") == "amd");
  CHECK(accelerators[3]["numa_node"].is_null());
  CHECK(facts["gpus"].is_null());
}

TEST_CASE("facts: of an empty tree everything is null with a reason, and nothing fails") {
  const test::TemporaryDirectory directory;
  FactsOptions options;
  options.root = directory.string();
  options.live = false;
  options.nvml_library = "";
  const auto facts = read_facts(options);
  CHECK(facts["cpu"]["threads"].is_null());
  CHECK(facts["memory"].is_null());
  CHECK(facts.array_at("disks").empty());
  CHECK(problems_of(facts).find("memory: ") != std::string::npos);
  CHECK(problems_of(facts).find("cpu.model: ") != std::string::npos);
}

TEST_CASE("facts: a section that hangs costs itself only") {
  const test::TemporaryDirectory directory;
  // A pipe that nobody writes: opened without blocking, it reads as empty and holds nobody up.
  std::filesystem::create_directories(directory / "proc");
  REQUIRE(::mkfifo((directory / "proc/meminfo").c_str(), 0600) == 0);
  test::write(directory / "etc/os-release", "ID=debian\n");
  FactsOptions options;
  options.root = directory.string();
  options.live = false;
  options.nvml_library = "";
  const auto facts = read_facts(options);
  CHECK(facts["os"].string_or("id") == "debian");
  options.section_timeout_s = 0;   // no section is in time
  const auto none = read_facts(options);
  CHECK(none["os"].is_null());
  CHECK(problems_of(none).find("os: no answer within") != std::string::npos);
}

TEST_CASE("facts: of this machine") {
  FactsOptions options;
  options.nvml_library = "libkfab-no-such-library.so";
  const auto facts = read_facts(options);
  CHECK(facts["cpu"].int_or("threads", 0) > 0);
  CHECK(facts["memory"].double_or("total_gib", 0) > 0);
  CHECK_FALSE(facts["os"].string_or("kernel").empty());
  CHECK_FALSE(facts["identity"].string_or("hostname").empty());
  CHECK(facts["os"].double_or("clock_unix_s", 0) > 1.7e9);
  CHECK(facts["gpus"].is_null());
}

TEST_CASE("facts: the same packages have the same digest, in any order, and another version another one") {
  const auto packages = [](const std::string& status) {
    const test::TemporaryDirectory directory;
    test::write(directory / "var/lib/dpkg/status", status);
    FactsOptions options;
    options.root = directory.string();
    options.live = false;
    options.nvml_library = "";
    return read_facts(options)["os"];
  };
  const auto package = [](const std::string& name, const std::string& version, const std::string& status = "install ok installed") {
    return "Package: " + name + "\nStatus: " + status + "\nArchitecture: amd64\nVersion: " + version + "\nDescription: some words\n more of them\n\n";
  };
  const auto both = packages(package("chrony", "4.3-2") + package("curl", "7.88"));
  CHECK(both.int_or("packages", 0) == 2);
  CHECK(both.string_or("packages_sha256").size() == 64);
  CHECK(packages(package("curl", "7.88") + package("chrony", "4.3-2")).string_or("packages_sha256") == both.string_or("packages_sha256"));
  CHECK(packages(package("chrony", "4.3-2") + package("curl", "7.88") + package("tmux", "3", "deinstall ok config-files")).string_or("packages_sha256") ==
        both.string_or("packages_sha256"));
  CHECK(packages(package("chrony", "4.3-3") + package("curl", "7.88")).string_or("packages_sha256") != both.string_or("packages_sha256"));
}

namespace {

// The dotted names of all values of a document, with <n> for places in lists.
void names_in(const json::Value& value, const std::string& name, std::set<std::string>& out) {
  if (const auto* object = value.as_object()) {
    for (const auto& [key, member] : object->members()) names_in(member, name.empty() ? key : name + "." + key, out);
  } else if (const auto* array = value.as_array()) {
    if (array->empty() || !array->front().is_object()) out.insert(name);   // a list of words is one value as well
    for (const auto& one : *array) names_in(one, name + ".<n>", out);
  } else {
    out.insert(name);
  }
}

}  // namespace

TEST_CASE("facts: what nodes tell is what manifests may expect, name by name") {
  FactsOptions options;
  options.nvml_library = "";
  // In a process of its own: the stand-in reads once what it is to say, and other tests say it otherwise.
  const auto answer = run_bounded(60, [] {
    ::setenv("KFAB_FAKE_NVML", "", 1);
    return json::dump(nvml_facts(std::string(KFAB_BINARY_DIR) + "/libkfab_fake_nvml.so").value);
  });
  REQUIRE(answer);
  const json::Value nvml = json::parse(*answer).value();
  REQUIRE(nvml.array_at("gpus").size() > 0);
  std::set<std::string> told;
  for (const json::Value& facts : {facts_of_tree("server"), read_facts(options)}) {
    json::Object with_gpus = *facts.as_object();
    with_gpus.set("gpu_driver", nvml["driver"]).set("gpus", nvml["gpus"]).set("problems", json::Value());
    names_in(with_gpus, "", told);
  }
  for (const auto& name : told) {
    CAPTURE(name);
    // A section that could not be read, or a list without entries, is there without what is in it.
    const bool section = std::none_of(name.begin(), name.end(), [](char c) { return c == '.'; });
    const bool empty_part = std::any_of(fact_names().begin(), fact_names().end(), [&](std::string_view known) { return known.starts_with(name + "."); });
    CHECK((section || empty_part || std::find(fact_names().begin(), fact_names().end(), name) != fact_names().end()));
  }
  for (const auto name : fact_names()) {
    CAPTURE(name);
    CHECK(told.contains(std::string(name)));
  }
}

TEST_CASE("facts: names are known, and the one that was meant is found") {
  CHECK(is_fact_name("memory.total_gib"));
  CHECK(is_fact_name("gpus.0.name"));
  CHECK(is_fact_name("disks.1.mounts.12.path"));
  for (const auto* wrong : {"memory.total_gb", "memory", "gpus.name", "gpus.<n>.name", "gpus.x.name", "gpus.0", "", ".", "cpu.threads."}) {
    CAPTURE(wrong);
    CHECK_FALSE(is_fact_name(wrong));
  }
  CHECK(similar_fact_names("memory.total_gb").at(0) == "memory.total_gib");
  CHECK(similar_fact_names("gpus.3.nme").at(0) == "gpus.3.name");
  CHECK(similar_fact_names("ram.total_gib").at(0) == "memory.total_gib");   // of the same last part
  CHECK(similar_fact_names("sky").empty());
}

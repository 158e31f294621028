// The agent on its way through a rack: nodes with caches of their own, one sshd each, and the agent as it is built.
#include <doctest/doctest.h>

#include <filesystem>
#include <memory>

#include "base/file.hpp"
#include "base/text.hpp"
#include "fleet/agent_session.hpp"
#include "fleet/fleet.hpp"
#include "fleet/private_sshd.hpp"
#include "unit/fleet/fake_agent.hpp"

using namespace kfab;
using namespace kfab::fleet;
using namespace kfab::fleet::test;

// OpenSSL keeps a few allocations of its own for the life of the process.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:CRYPTO_zalloc\nleak:CRYPTO_malloc\n"; }

namespace {

// `count` nodes of one rack: each is an sshd whose sessions have a cache of their own, and the programs in `path`.
struct Rack {
  explicit Rack(std::size_t count, const std::string& path = {}) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::string cache = dir + "/cache" + std::to_string(i);
      std::filesystem::create_directories(cache);
      nodes.push_back(std::make_unique<PrivateSshd>("SetEnv SHLVL=1 XDG_CACHE_HOME=" + cache + (path.empty() ? "" : " PATH=" + path)));
    }
  }
  ~Rack() { std::filesystem::remove_all(dir); }
  std::vector<ssh::Target> targets() const {
    std::vector<ssh::Target> all;
    for (const auto& node : nodes) {
      all.push_back(node->target("n" + std::to_string(all.size())));
      all.back().rack = "r1";
    }
    return all;
  }
  std::string dir = std::filesystem::temp_directory_path() / ("kfab-rack-" + random_hex(6));
  std::vector<std::unique_ptr<PrivateSshd>> nodes;
};

struct Ran {
  std::vector<AgentEnd> ends;
  Sink sink;
  std::size_t sent = 0;
};
// The agent as it is built, and some bytes after its end: one that no node has, also not in the directories of the
// whole machine that other tests have put theirs into.
std::string agent_of_our_own() {
  const std::string file = std::filesystem::temp_directory_path() / ("kfab-agent-" + random_hex(6));
  shell("{ gzip -dc " KFAB_AGENT_GZ "; echo " + random_hex(16) + "; } | gzip -1 > " + file);
  auto gz = read_file(file, std::size_t{64} << 20);
  std::filesystem::remove(file);
  REQUIRE(gz);
  return *std::move(gz);
}

Ran run_facts(const Rack& rack, const AgentImage& image, bool relay) {
  ssh::TransportOptions settings = ssh::options_from_environment();
  settings.home.clear();
  settings.agent_socket.clear();
  auto transport = ssh::make_transport(settings);
  auto clock = make_system_clock();
  Listener listener;
  CancelToken cancel;
  FleetOptions options;
  options.relay = relay;
  Ran ran;
  ran.ends = run_agents(*transport, rack.targets(), image, [](std::size_t) { return AgentTask{json::Object{{"task", "facts"}}}; }, listener, options,
                        *clock, ran.sink, cancel);
  for (const auto& end : ran.ends) {
    CHECK_MESSAGE(end.outcome == NodeOutcome::ok, (end.why ? end.why->message : ""));
    ran.sent += end.image_sent ? 1 : 0;
  }
  return ran;
}

Ran run_facts(const Rack& rack, const std::string& gz, bool relay) {
  const auto image = make_agent_image(gz);
  REQUIRE(image);
  return run_facts(rack, *image, relay);
}

bool told(const Sink& sink, std::string_view words) {
  for (const Event& event : sink.events)
    if (event.message.find(words) != std::string::npos) return true;
  return false;
}

}  // namespace

TEST_CASE("the agent crosses the link of the control host once, and the rack hands it on") {
  const Rack rack(6);
  const std::string gz = agent_of_our_own();
  auto ran = run_facts(rack, gz, true);
  CHECK(ran.sent == 1);
  CHECK(told(ran.sink, "5 nodes were handed the agent"));
  for (std::size_t i = 0; i < rack.nodes.size(); ++i) {
    const auto cached = shell("sha256sum " + rack.dir + "/cache" + std::to_string(i) + "/kfab/agent-* | awk '{print \"agent-\" $1; sub(\".*/\", \"\", $2); print $2}' | uniq | wc -l");
    CHECK(std::atoi(cached.out.c_str()) == 1);   // under the name that is its hash
  }
  CHECK(shell("find " + rack.dir + " -name '.agent-*' | wc -l").out.substr(0, 1) == "0");
  ran = run_facts(rack, gz, true);
  CHECK(ran.sent == 0);
  CHECK_FALSE(told(ran.sink, "handed the agent"));
}

TEST_CASE("a node with other processors in the rack is sent its own agent, and the others are served as ever") {
  Rack rack(5);
  const std::string bin = rack.dir + "/bin";
  std::filesystem::create_directories(bin);
  shell("printf '#!/bin/sh\\necho aarch64\\n' > " + bin + "/uname && chmod 755 " + bin + "/uname");
  rack.nodes[3] = std::make_unique<PrivateSshd>("SetEnv SHLVL=1 XDG_CACHE_HOME=" + rack.dir + "/cache3 PATH=" + bin + ":/usr/bin:/bin");
  const std::string gz = agent_of_our_own();
  auto image = make_agent_image(gz);
  REQUIRE(image);
  Image arm(agent_script(done_ok) + "# " + random_hex(16) + "\n");
  image->machine = std::string(trim(shell("uname -m").out));
  arm.image.machine = "aarch64";
  image->others = {arm.image};
  const auto ran = run_facts(rack, *image, true);
  CHECK(ran.sent == 2);
  CHECK(ran.ends[3].image_sent);
  CHECK(told(ran.sink, "3 nodes were handed the agent"));
  CHECK(std::filesystem::exists(rack.dir + "/cache3/kfab/agent-" + arm.image.sha256));
  CHECK_FALSE(std::filesystem::exists(rack.dir + "/cache3/kfab/agent-" + image->sha256));
}

TEST_CASE("connections that are kept serve the next run over the same transport") {
  const Rack rack(3);
  const std::string gz = agent_of_our_own();
  const auto image = make_agent_image(gz);
  REQUIRE(image);
  const auto logins = [&] {
    int all = 0;
    for (const auto& node : rack.nodes) all += std::atoi(shell("grep -c 'Accepted publickey' " + node->dir + "/log").out.c_str());
    return all;
  };
  for (const bool keep : {true, false}) {
    ssh::TransportOptions settings = ssh::options_from_environment();
    settings.home.clear();
    settings.agent_socket.clear();
    auto transport = ssh::make_transport(settings);
    auto clock = make_system_clock();
    Sink sink;
    CancelToken cancel;
    FleetOptions options;
    options.keep_connections = keep;
    const int before = logins();
    for (int run = 0; run < 3; ++run) {
      Listener listener;
      const auto ends = run_agents(*transport, rack.targets(), *image, [](std::size_t) { return AgentTask{json::Object{{"task", "facts"}}}; }, listener,
                                   options, *clock, sink, cancel);
      for (const auto& end : ends) CHECK_MESSAGE(end.outcome == NodeOutcome::ok, (end.why ? end.why->message : ""));
      const auto said = run_command(*transport, rack.targets(), "echo here", "", options, *clock, sink, cancel);
      for (const auto& result : said) CHECK(result.stdout_text == "here\n");
    }
    CHECK(logins() - before == (keep ? 3 : 18));   // of three nodes: once, or for each of six runs
  }
}

TEST_CASE("where the rack cannot hand it on every node is sent the agent all the same") {
  // Everything that the bootstrap needs, but no bash.
  const std::string programs = std::filesystem::temp_directory_path() / ("kfab-programs-" + random_hex(6));
  std::filesystem::create_directories(programs);
  for (const char* name : {"id", "sha256sum", "tr", "head", "gzip", "df", "tail", "mkdir", "mv", "chmod", "rm", "find", "timeout", "sleep"}) {
    shell("ln -s \"$(command -v " + std::string(name) + ")\" " + programs + "/" + name);
  }
  {
    const Rack rack(4, programs);
    const auto ran = run_facts(rack, agent_of_our_own(), true);
    CHECK(ran.sent == 4);
    CHECK_FALSE(told(ran.sink, "handed the agent"));
  }
  std::filesystem::remove_all(programs);
}

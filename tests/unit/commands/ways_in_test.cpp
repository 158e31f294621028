#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "base/codes/ssh.hpp"
#include "base/ids.hpp"
#include "commands/site_session.hpp"
#include "commands/ways_in.hpp"
#include "unit/commands/fake_env.hpp"

using namespace kfab;
using namespace kfab::commands;

namespace {

// A home with ~/.ssh/config in it.
struct Home {
  explicit Home(const std::string& config) {
    std::filesystem::create_directories(path / ".ssh");
    write(".ssh/config", config);
    world.env.getenv = [this](std::string_view name) {
      return name == "HOME" ? std::optional<std::string>(path.string()) : std::nullopt;
    };
  }
  ~Home() { std::filesystem::remove_all(path); }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path / name) << text;
    return (path / name).string();
  }
  ssh::Target target(const std::string& name, const ReachOptions& reach = {}) {
    findings.clear();
    auto targets = bare_targets({name}, reach, world.env, findings);
    refusal = targets ? std::nullopt : std::optional<Code>(targets.error().code);
    return targets ? targets->at(0) : ssh::Target{};
  }
  std::filesystem::path path = std::filesystem::temp_directory_path() / ("kfab-home-" + random_hex(6));
  test::World world;
  Diagnostics findings;
  std::optional<Code> refusal;
};

const std::string site_text = R"(apiVersion: kfab/v1
kind: Site
metadata: {name: s, title: s, country: KR, as_of: 2026-11-21}
spec:
  kind: edge
  connectivity: {via: ["ops@bastion:2222", inner]}
  ssh: {user: admin, transport: openssh, config: ssh.conf}
  tranches:
    - {name: t, due: 2027-03-31, targets: [{profile: p, nodes: 2, accelerators: 2}], ready_when: {level: quick}}
  nodes:
    - {group: g, tranche: t, profile: p, list: [{name: n1, address: 127.0.0.9}, {name: n2}]}
---
apiVersion: kfab/v1
kind: Profile
metadata: {name: p, version: "1", title: a node without accelerators}
spec: {vendor: cpu, accelerator: processor, device: cpu, per_node: 1, nameplate: 0.5 kW}
)";

}  // namespace

TEST_CASE("ways in: without a manifest the user's configuration is followed, and the command line stands over it") {
  Home home("Host n*\n HostName 10.0.0.1\n User ops\n Port 2200\n IdentityFile ~/k\n IdentitiesOnly yes\n IdentityAgent /run/a\n"
            " UserKnownHostsFile ~/kh\n StrictHostKeyChecking accept-new\n HostKeyAlias alias\n ConnectTimeout 3\n");
  auto target = home.target("n1");
  CHECK(target.node == "n1");
  CHECK(target.address == "10.0.0.1");
  CHECK(target.user == "ops");
  CHECK(target.port == 2200);
  CHECK(target.identity_files == std::vector<std::string>{(home.path / "k").string()});
  CHECK(target.identities_only);
  CHECK(target.agent_socket == "/run/a");
  CHECK(target.known_hosts.front() == (home.path / "kh").string());
  CHECK(target.host_keys == ssh::HostKeyPolicy::trust_on_first_use);
  CHECK(target.host_key_alias == "alias");
  CHECK(target.connect_timeout == std::chrono::seconds(3));

  ReachOptions reach;
  reach.user = "root";
  reach.port = 22;
  reach.identity_files = {"/cli"};
  reach.host_keys = "verify";
  reach.connect_timeout_said = true;
  target = home.target("n1", reach);
  CHECK(target.user == "root");
  CHECK(target.port == 22);
  CHECK(target.identity_files == std::vector<std::string>{"/cli"});
  CHECK(target.host_keys == ssh::HostKeyPolicy::verify);
  CHECK_FALSE(target.connect_timeout);

  reach = {};
  reach.ssh_config = "none";
  CHECK(home.target("n1", reach).address == "n1");
  reach.ssh_config = home.write("other", "Host n1\n Port 99\n");
  CHECK(home.target("n1", reach).port == 99);
  reach.ssh_config = "/nonexistent/config";
  home.target("n1", reach);
  CHECK(home.refusal == code::ssh_config_unreadable);
}

TEST_CASE("ways in: StrictHostKeyChecking no is not honoured") {
  Home home("StrictHostKeyChecking no\n");
  CHECK(home.target("n1").host_keys == ssh::HostKeyPolicy::verify);
  REQUIRE(home.findings.size() == 1);
  CHECK(home.findings[0].code == code::ssh_config_not_followed);
}

TEST_CASE("ways in: ProxyJump becomes jump hosts, outermost first, each with its own settings") {
  Home home("Host n*\n ProxyJump ops@b1:2222,b2\nHost b1\n HostName 192.0.2.1\n ProxyJump outer\n IdentityFile /b1\nHost b2\n User two\nHost outer\n Port 7\n");
  ReachOptions reach;
  reach.transport = "openssh";
  auto targets = bare_targets({"n1", "n2"}, reach, home.world.env, home.findings);
  REQUIRE(targets);
  const auto& via = targets->at(0).via;
  REQUIRE(via.size() == 3);
  CHECK(via[0]->node == "outer");
  CHECK(via[0]->port == 7);
  CHECK(via[1]->node == "b1");
  CHECK(via[1]->address == "192.0.2.1");
  CHECK(via[1]->user == "ops");
  CHECK(via[1]->port == 2222);
  CHECK(via[1]->identity_files == std::vector<std::string>{"/b1"});
  CHECK(via[2]->user == "two");
  CHECK(via[2]->port == 22);
  CHECK(via[2] == targets->at(1).via[2]);   // shared by the nodes behind them
}

TEST_CASE("ways in: a circle of jump hosts and a ProxyCommand are refused") {
  Home home("Host *\n ProxyJump b\n");
  ReachOptions reach;
  reach.transport = "openssh";
  home.target("n1", reach);
  CHECK(home.refusal == code::jump_host_loop);

  Home other("ProxyCommand nc %h %p\n");
  other.target("n1");
  CHECK(other.refusal == code::proxy_command_unsupported);
  other.target("n1", reach);
  CHECK_FALSE(other.refusal);
}

TEST_CASE("ways in: a manifest's own words stand over the configuration that it names") {
  Home home("Host n1\n User never\n");
  home.write("ssh.conf", "Host n1\n HostName 10.9.9.9\n User conf\n Port 2022\nHost n2\n HostName 10.2.2.2\nHost inner\n HostName 10.0.0.1\n User in\n");
  SiteOptions options;
  options.manifest = home.write("site.yaml", site_text);
  auto opened = open_site(options, home.world.env);
  auto* session = std::get_if<SiteSession>(&opened);
  REQUIRE_MESSAGE(session != nullptr, std::get<CommandOutput>(opened).diagnostics.at(0).message);
  const auto& n1 = session->targets.at(0);
  CHECK(n1.address == "127.0.0.9");
  CHECK(n1.user == "admin");
  CHECK(n1.port == 2022);
  CHECK(session->targets.at(1).address == "10.2.2.2");
  REQUIRE(n1.via.size() == 2);
  CHECK(n1.via[0]->address == "bastion");
  CHECK(n1.via[0]->user == "ops");
  CHECK(n1.via[0]->port == 2222);
  CHECK(n1.via[1]->address == "10.0.0.1");
  CHECK(n1.via[1]->user == "admin");   // the manifest's, over the configuration's
  CHECK(n1.via[1]->site_store == n1.site_store);
  CHECK(n1.via[0] == session->targets.at(1).via[0]);

  options.reach.ssh_config = "none";
  auto without = open_site(options, home.world.env);
  CHECK(std::get<SiteSession>(without).targets.at(0).port == 22);
}

#include "manifest/interchange.hpp"

#include <doctest/doctest.h>

#include "base/codes/plan.hpp"
#include "base/text.hpp"
#include "json/value.hpp"
#include "manifest/load.hpp"

using namespace kfab;
using namespace kfab::manifest;

namespace {

Imported imported(ImportFormat format, std::string_view text, const std::string& name = "file") {
  auto result = import_nodes(format, text, name);
  REQUIRE(result);
  return std::move(*result);
}

// name@address/group, in order.
std::string told(const Imported& nodes) {
  std::string out;
  for (const auto& node : nodes.nodes) out += (out.empty() ? "" : " ") + node.name + "@" + node.address + "/" + node.group;
  return out;
}

// What was imported, loaded as a manifest.
Loaded loaded(const std::string& nodes) {
  std::string text = "apiVersion: kfab/v1\nkind: Site\nmetadata: {name: x, title: X, country: KR, as_of: 2026-11-21}\nspec:\n  kind: edge\n"
                     "  tranches:\n    - {name: t1, due: 2027-03-31, targets: [{profile: cpu-generic, nodes: 4, accelerators: 4}]}\n";
  for (const auto line : split_lines(nodes)) text += "  " + std::string(line) + "\n";
  return load_text(text, "x.yaml", ".");
}

}  // namespace

TEST_CASE("import: an Ansible inventory, as INI and as YAML") {
  const auto ini = imported(ImportFormat::ansible,
                            "# ours\nlone ansible_host=10.0.0.9\n[gpu]\nn[01:03] ansible_user=ops\nn02 ansible_host=10.0.0.2 ansible_port=2222 rack=\"r 1\" rack=r1\nx[9:1]\n"
                            "[gpu:vars]\nansible_user=nobody\n[all:children]\ngpu\n");
  CHECK(told(ini).starts_with("lone@10.0.0.9/ n01@/gpu n02@10.0.0.2/gpu n03@/gpu"));
  CHECK(ini.nodes[2].port == 2222);
  CHECK(ini.nodes[2].user == "ops");
  CHECK(ini.nodes[2].rack == "r1");   // what holds a blank is no rack
  REQUIRE_FALSE(ini.findings.empty());
  CHECK(ini.findings.back().code == code::import_left_out);
  CHECK(ini.findings.back().span->line == 6);
  const auto yaml = imported(ImportFormat::ansible,
                             "all:\n  children:\n    gpu:\n      hosts:\n        n1: {ansible_host: 10.0.0.1}\n        n[2:3]:\n    login:\n      hosts: {front: {ansible_port: 22}}\n", "h.yml");
  CHECK(told(yaml) == "n1@10.0.0.1/gpu n2@/gpu n3@/gpu front@/login");
}

TEST_CASE("import: slurm.conf, genders, OpenSSH configuration, CSV") {
  const auto slurm = imported(ImportFormat::slurm,
                              "ClusterName=x\nNodeName=DEFAULT CPUs=8\nNodeName=gpu[01-03] NodeAddr=10.0.0.[1-3] \\\n  Gres=gpu:8 # eight\nnodename=login\nNodeName=a[1-2] NodeAddr=b[1-3]\nPartitionName=p Nodes=ALL\n");
  CHECK(told(slurm) == "gpu01@10.0.0.1/ gpu02@10.0.0.2/ gpu03@10.0.0.3/ login@/ a1@/ a2@/");
  CHECK(slurm.findings.size() == 1);
  const auto genders = imported(ImportFormat::genders, "# x\nn[1-2]  compute,rack=r7,mgmt\nn3 login\nn1 extra\n");
  CHECK(told(genders) == "n1@/compute n2@/compute n3@/login");
  CHECK(genders.nodes[0].rack == "r7");
  const auto ssh = imported(ImportFormat::ssh_config, "Host *\n  User nobody\nHost n1 n2\n  HostName=10.0.0.1\n  Port 2200\n  User ops\nMatch host n2\n  Port 1\nHost gw-?\nhost n3\n");
  CHECK(told(ssh) == "n1@10.0.0.1/ n2@10.0.0.1/ n3@/");
  CHECK(ssh.nodes[1].port == 2200);
  CHECK(ssh.nodes[0].user == "ops");
  const auto csv = imported(ImportFormat::csv, "Serial,name,Rack,note\nS1,n1,r1,\"a, b\"\nS2,n2,r1,x\n");
  CHECK(csv.nodes[1].serial == "S2");
  CHECK(csv.nodes[1].rack == "r1");
  CHECK_FALSE(import_nodes(ImportFormat::csv, "a,b\n1,2\n", "f"));
  CHECK_FALSE(import_nodes(ImportFormat::slurm, "nothing", "f"));
}

TEST_CASE("import: what comes out is a manifest, also of hostile texts") {
  const auto nodes = imported(ImportFormat::ansible, "[a-b]\nn1 ansible_host=10.0.0.1 ansible_user=ops\nn2 ansible_host=10.0.0.2\n[rest]\nm[1:20]\n");
  const auto site = loaded(to_yaml(nodes, {"cpu-generic", "t1", "nodes"}));
  for (const auto& problem : site.diagnostics) CHECK_MESSAGE(problem.severity != Severity::error, problem.message);
  REQUIRE(site.site() != nullptr);
  CHECK(site.site()->nodes.size() == 22);
  CHECK(site.site()->nodes[0].ssh->user == "ops");
  CHECK(site.site()->nodes[1].address == "10.0.0.2");
  for (const auto* text : {"n1 ansible_host=\"x\\\"}, evil: {\"", "\x1b[31m ansible_host=a\nok\n", "n1 ansible_user=a]b:c\n"}) {
    const auto result = import_nodes(ImportFormat::ansible, text, "f");
    if (result) CHECK_FALSE(has_errors(loaded(to_yaml(*result, {"cpu-generic", "t1", "nodes"})).diagnostics));
  }
}

TEST_CASE("import: prose is no inventory") {
  const auto nonsense = import_nodes(ImportFormat::ansible, "lorem ipsum: [\nthis is not an inventory\n%%%%\n`kfab`\n| a\n", "notes.ini");
  REQUIRE_FALSE(nonsense);
  CHECK(nonsense.error().message == "notes.ini names no node");
  const auto mixed = imported(ImportFormat::ansible, "[gpu]\nn1 ansible_host=10.0.0.1\nn2 and n3 are spares\n%% ansible_host=10.0.0.9\n10.0.0.4\nfd00::1\n");
  REQUIRE(mixed.nodes.size() == 3);
  CHECK(mixed.nodes[0].name == "n1");
  REQUIRE(mixed.findings.size() == 2);
  CHECK(mixed.findings[0].message.find("'and' is no variable") != std::string::npos);
  CHECK(mixed.findings[1].message == "'%%' is no name for a node");
}

TEST_CASE("export: for every tool, and what is exported for Ansible, OpenSSH and Slurm is imported as the same nodes") {
  const auto site = loaded(
      "nodes:\n  - {group: a, profile: cpu-generic, tranche: t1, range: \"n[1-3]\", address: \"10.0.0.[1-3]\", rack: r1, ssh: {user: ops, port: 2222}}\n"
      "  - {group: b, profile: dgx-h100, tranche: t1, list: [{name: v6, address: \"fd00::1\"}]}\n");
  REQUIRE(site.site() != nullptr);
  std::vector<const Node*> nodes;
  for (const auto& node : site.site()->nodes) nodes.push_back(&node);
  const std::string ansible = export_nodes(ExportFormat::ansible, *site.site(), nodes);
  CHECK(ansible.find("n2 ansible_host=10.0.0.2 ansible_port=2222 ansible_user=ops rack=r1\n") != std::string::npos);
  CHECK(ansible.find("[tranche_t1]\nn1\nn2\nn3\nv6\n") != std::string::npos);
  const std::string ssh = export_nodes(ExportFormat::ssh_config, *site.site(), nodes);
  CHECK(ssh.find("Host n1\n  HostName 10.0.0.1\n  Port 2222\n  User ops\n") != std::string::npos);
  const auto targets = json::parse(export_nodes(ExportFormat::prometheus, *site.site(), nodes, 9400));
  REQUIRE(targets);
  REQUIRE(targets->as_array()->size() == 4);
  CHECK(json::dump((*targets->as_array())[3]["targets"]) == R"(["[fd00::1]:9400"])");
  CHECK((*targets->as_array())[0]["labels"].string_or("rack") == "r1");
  const std::string slurm = export_nodes(ExportFormat::slurm, *site.site(), nodes);
  CHECK(slurm.find("NodeName=v6 Gres=gpu:h100:8 NodeAddr=fd00::1 State=DRAIN") != std::string::npos);
  CHECK(slurm.find("PartitionName=t1 Nodes=n[1-3],v6") != std::string::npos);
  for (const auto& [format, text] : {std::pair{ImportFormat::ansible, ansible}, {ImportFormat::ssh_config, ssh}, {ImportFormat::slurm, slurm}}) {
    const auto again = imported(format, text);
    REQUIRE(again.nodes.size() == 4);
    for (std::size_t i = 0; i < 4; ++i) {
      CHECK(again.nodes[i].name == nodes[i]->name);
      CHECK(again.nodes[i].address == nodes[i]->address);
    }
  }
}

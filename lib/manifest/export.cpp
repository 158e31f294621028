#include <algorithm>
#include <array>
#include <map>

#include <fmt/format.h>

#include "base/text.hpp"
#include "json/value.hpp"
#include "manifest/interchange.hpp"
#include "nodeset/nodeset.hpp"

namespace kfab::manifest {
namespace {

using Nodes = std::vector<const Node*>;

const std::string& address_of(const Node& node) { return node.address.empty() ? node.name : node.address; }
const SshSettings& ssh_of(const Site& site, const Node& node) { return node.ssh ? *node.ssh : site.ssh; }

// A value that stands unquoted in the other tool's file: what would end it there is left out.
std::string bare(std::string_view text) {
  std::string out;
  for (const char c : one_line(text, 250))
    if (c != ' ' && c != '"' && c != '\'' && c != '#' && c != '=' && c != '\\') out += c;
  return out;
}

std::string group_name(std::string_view prefix, std::string_view name) {
  std::string out(prefix);
  for (const char c : name) out += (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ? c : '_';
  return out;
}

std::string to_ansible(const Site& site, const Nodes& nodes) {
  std::string out = fmt::format("# The nodes of {} as kfab's manifest declares them.\n[{}]\n", one_line(site.metadata.name, 80), group_name("", site.metadata.name));
  std::map<std::string, std::vector<std::string>> groups;
  for (const Node* node : nodes) {
    const auto& ssh = ssh_of(site, *node);
    out += bare(node->name);
    if (!node->address.empty()) out += " ansible_host=" + bare(node->address);
    if (ssh.port != 22) out += fmt::format(" ansible_port={}", ssh.port);
    if (!ssh.user.empty()) out += " ansible_user=" + bare(ssh.user);
    if (ssh.transport == "local") out += " ansible_connection=local";
    if (!node->rack.empty()) out += " rack=" + bare(node->rack);
    out += '\n';
    for (const auto& [prefix, name] : {std::pair{"group_", &node->group}, {"tranche_", &node->tranche}, {"profile_", &node->profile}, {"rack_", &node->rack}})
      if (!name->empty()) groups[group_name(prefix, *name)].push_back(bare(node->name));
  }
  for (const auto& [name, members] : groups) out += fmt::format("\n[{}]\n{}\n", name, join(members, "\n"));
  return out;
}

std::string to_ssh_config(const Site& site, const Nodes& nodes) {
  std::string out = fmt::format("# The nodes of {} as kfab's manifest declares them.\n", one_line(site.metadata.name, 80));
  const std::string jump = join(site.connectivity.via, ",");
  for (const Node* node : nodes) {
    const auto& ssh = ssh_of(site, *node);
    out += fmt::format("\nHost {}\n  HostName {}\n", bare(node->name), bare(address_of(*node)));
    if (ssh.port != 22) out += fmt::format("  Port {}\n", ssh.port);
    if (!ssh.user.empty()) out += fmt::format("  User {}\n", bare(ssh.user));
    for (const auto& file : ssh.identity_files) out += fmt::format("  IdentityFile \"{}\"\n", bare(file));
    if (!jump.empty()) out += fmt::format("  ProxyJump {}\n", bare(jump));
  }
  return out;
}

std::string to_prometheus(const Site& site, const Nodes& nodes, int port) {
  json::Array out;
  for (const Node* node : nodes) {
    const std::string& address = address_of(*node);
    const bool v6 = address.find(':') != std::string::npos;
    json::Object labels{{"site", site.metadata.name}, {"node", node->name}};
    for (const auto& [key, value] : {std::pair{"group", &node->group}, {"tranche", &node->tranche}, {"profile", &node->profile}, {"rack", &node->rack}})
      if (!value->empty()) labels.set(key, *value);
    out.emplace_back(json::Object{{"targets", json::Array{fmt::format("{}{}{}:{}", v6 ? "[" : "", address, v6 ? "]" : "", port)}}, {"labels", std::move(labels)}});
  }
  return json::dump_pretty(out) + "\n";
}

// Nodes of which the same is to be said stand in one line, as folded as Slurm reads it.
std::string to_slurm(const Site& site, const Nodes& nodes) {
  std::string out = fmt::format("# The nodes of {} as kfab's manifest declares them. They join drained: nothing runs on a node before it is accepted.\n", one_line(site.metadata.name, 80));
  std::vector<std::string> order;
  std::map<std::string, std::vector<std::string>> lines, partitions;
  for (const Node* node : nodes) {
    std::string rest;
    if (const Profile* profile = site.find_profile(node->profile); profile != nullptr && profile->vendor != "cpu" && profile->per_node)
      rest += fmt::format(" Gres=gpu:{}:{}", to_lower(group_name("", profile->accelerator)), *profile->per_node);
    if (!node->address.empty()) rest += " NodeAddr=" + bare(node->address);
    if (lines[rest].empty()) order.push_back(rest);
    lines[rest].push_back(node->name);
    if (!node->tranche.empty()) partitions[node->tranche].push_back(node->name);
  }
  for (const auto& rest : order) out += fmt::format("NodeName={}{} State=DRAIN Reason=\"not accepted yet\"\n", nodeset::fold_names(lines[rest]), rest);
  for (const auto& [tranche, names] : partitions) out += fmt::format("PartitionName={} Nodes={} State=UP\n", group_name("", tranche), nodeset::fold_names(names));
  return out;
}

}  // namespace

std::optional<ExportFormat> parse_export_format(std::string_view word) {
  constexpr std::array<std::string_view, 4> words{"ansible", "ssh-config", "prometheus", "slurm"};
  const auto at = std::find(words.begin(), words.end(), word);
  return at == words.end() ? std::nullopt : std::optional(static_cast<ExportFormat>(at - words.begin()));
}

std::string export_nodes(ExportFormat format, const Site& site, const Nodes& nodes, int port) {
  switch (format) {
    case ExportFormat::ansible: return to_ansible(site, nodes);
    case ExportFormat::ssh_config: return to_ssh_config(site, nodes);
    case ExportFormat::prometheus: return to_prometheus(site, nodes, port);
    case ExportFormat::slurm: return to_slurm(site, nodes);
  }
  return {};
}

}  // namespace kfab::manifest

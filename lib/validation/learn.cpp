#include "validation/learn.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "base/text.hpp"
#include "manifest/load.hpp"

namespace kfab::validation {
namespace {

using manifest::Profile;

// Facts that all nodes of a kind have in common.
constexpr std::array<std::string_view, 17> single_facts{
    "cpu.model", "cpu.architecture", "cpu.sockets", "cpu.cores", "cpu.threads", "cpu.numa_nodes", "cpu.smt", "identity.vendor",
    "identity.product_name", "identity.board_name", "identity.bios_version", "os.id", "os.version_id", "os.kernel", "os.packages_sha256", "gpu_driver.version", "gpu_driver.cuda_version"};

struct ListedFacts { std::string_view list; std::vector<std::string_view> members; };
const std::array lists{
    ListedFacts{"gpus", {"name", "vbios", "memory_total_bytes", "power_limit_w", "ecc", "mig", "max_pcie_gen", "max_pcie_width"}},
    ListedFacts{"accelerators", {"vendor", "device_id", "driver", "numa_node", "max_pcie_gen", "max_pcie_width"}},
    ListedFacts{"disks", {"model", "size_bytes"}},
};

std::string in_quotes(std::string_view text) { return json::dump(json::Value(text)); }

bool is_plain(const json::Value& value) { return value.is_string() || value.is_number() || value.is_bool(); }

bool holds_secret(const json::Value& value) {
  if (const auto* object = value.as_object())
    return std::any_of(object->members().begin(), object->members().end(), [](const auto& member) { return member.first == "secret" || holds_secret(member.second); });
  if (const auto* items = value.as_array()) return std::any_of(items->begin(), items->end(), holds_secret);
  return false;
}

bool is_built_in(std::string_view kind, std::string_view name) {
  const auto all = manifest::built_ins();
  return std::any_of(all.begin(), all.end(), [&](const auto& one) { return one.kind == kind && one.name == name; });
}

void add_equal(std::string& out, const std::string& path, const json::Value& value) {
  if (is_plain(value)) out += fmt::format("    {}: {{equal: {}}}\n", path, json::dump(value));
}

std::string expectations(const json::Value& facts) {
  std::string out;
  for (const auto path : single_facts) {
    const auto dot = path.find('.');
    add_equal(out, std::string(path), facts[path.substr(0, dot)][path.substr(dot + 1)]);
  }
  if (const auto total = facts["memory"]["total_gib"].as_double()) out += fmt::format("    memory.total_gib: {{min: {}}}\n", std::floor(*total * 0.99 * 10) / 10);
  for (const auto& [list, members] : lists) {
    const auto& items = facts.array_at(list);
    for (std::size_t i = 0; i < items.size(); ++i)
      for (const auto member : members) add_equal(out, fmt::format("{}.{}.{}", list, i, member), items[i][member]);
  }
  const auto& links = facts.array_at("network");
  for (std::size_t i = 0; i < links.size(); ++i)
    if (links[i].bool_or("physical", false)) add_equal(out, fmt::format("network.{}.speed_mbps", i), links[i]["speed_mbps"]);
  return out;
}

// "  roles: [a, b]" for those that travel with kfab; the others must be brought, and are named.
std::string references(const Profile& present) {
  std::vector<std::string> known, others;
  for (const auto& role : present.roles) (is_built_in("Role", role) ? known : others).push_back(in_quotes(role));
  std::string out;
  if (!known.empty()) out += "  roles: [" + join(known, ", ") + "]\n";
  if (!others.empty()) out += "  # further roles of the node's profile, by file: in the manifest: " + join(others, ", ") + "\n";
  if (!present.criteria.empty()) out += (is_built_in("Criteria", present.criteria) ? "  criteria: " : "  # criteria of the node's profile: ") + in_quotes(present.criteria) + "\n";
  return out;
}

std::string variables(const Profile& present) {
  std::string out;
  std::vector<std::string> left_out;
  for (const auto& [name, value] : present.vars) {
    if (holds_secret(value)) left_out.push_back(one_line(name, 60));
    else out += fmt::format("    {}: {}\n", in_quotes(name), json::dump(value));
  }
  if (!out.empty()) out = "  vars:\n" + out;
  if (!left_out.empty()) out += "  # secrets that were left out of vars: " + join(left_out, ", ") + "\n";
  return out;
}

}  // namespace

std::string learn_profile(const Profile& present, const json::Value& facts, const LearnChoices& choices) {
  std::string out = fmt::format("# Learned from {}. Read it before it is used: what is wrong with that node is now expected of all.\n", one_line(choices.node, 80));
  out += "apiVersion: kfab/v1\nkind: Profile\nmetadata:\n";
  out += fmt::format("  name: {}\n  version: \"1\"\n  title: {}\n  as_of: {}\n", in_quotes(choices.name), in_quotes("as " + choices.node + " was"), choices.as_of);
  out += fmt::format("spec:\n  vendor: {}\n  accelerator: {}\n", present.vendor.empty() ? "unknown" : present.vendor, in_quotes(present.accelerator.empty() ? "unknown" : present.accelerator));
  if (!present.function.empty()) out += "  function: " + present.function + "\n";
  if (!present.device.empty()) out += "  device: " + present.device + "\n";
  const auto count = present.vendor == "cpu" ? std::size_t{0} : facts.array_at("accelerators").size();
  if (count > 0) out += fmt::format("  per_node: {}\n", count);
  else if (present.per_node) out += fmt::format("  per_node: {}\n", *present.per_node);
  if (present.nameplate_kw) out += fmt::format("  nameplate: {} kW\n", *present.nameplate_kw);
  if (!present.nominal.empty()) {
    out += "  nominal:\n";
    for (const auto& [name, value] : present.nominal) out += fmt::format("    {}: {}\n", in_quotes(name), value);
  }
  std::vector<std::string> pins;
  if (const auto* driver = facts["gpu_driver"]["version"].as_string()) pins.push_back("driver: " + in_quotes(*driver));
  if (const auto* kernel = facts["os"]["kernel"].as_string()) pins.push_back("kernel: " + in_quotes(*kernel));
  if (!pins.empty()) out += "  pins: {" + join(pins, ", ") + "}\n";
  out += references(present) + variables(present);
  const std::string expected = expectations(facts);
  return expected.empty() ? out : out + "  expect:\n" + expected;
}

}  // namespace kfab::validation

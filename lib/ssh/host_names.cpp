#include "ssh/host_names.hpp"

#include <algorithm>

#include "base/text.hpp"
#include "ssh/known_hosts.hpp"

namespace kfab::ssh {

std::string address_name(const Target& target) {
  return target.host_key_alias.empty() ? known_hosts_name(target.address, target.port) : to_lower(target.host_key_alias);
}
std::string node_name(const Target& target) { return to_lower(target.node); }

std::string shown(const Target& target) {
  const std::string address = address_name(target);
  return target.node == address ? one_line(address) : one_line(target.node + " (" + address + ")");
}

std::vector<std::string> names_of(const Target& target) { return {node_name(target), address_name(target)}; }

std::vector<std::string> vague_names_of(const Target& target) {
  std::vector<std::string> names;
  for (const std::string& name : {node_name(target), to_lower(target.address)}) {
    if (name != address_name(target) && std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

std::vector<std::string> all_names_of(const Target& target) {
  std::vector<std::string> names = vague_names_of(target);
  names.push_back(address_name(target));
  return names;
}

std::vector<std::string> certified_names_of(const Target& target) {
  std::vector<std::string> names{to_lower(target.address)};
  if (node_name(target) != names.front()) names.push_back(node_name(target));
  return names;
}

}  // namespace kfab::ssh

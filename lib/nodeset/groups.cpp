#include "nodeset/nodeset.hpp"

namespace kfab::nodeset {

void Groups::add(const std::string& source, const std::string& group, const NodeSet& members) {
  groups_[source][group] |= members;
  all_ |= members;
}

std::vector<std::string> Groups::sources() const {
  std::vector<std::string> names;
  for (const auto& [source, groups] : groups_) names.push_back(source);
  return names;
}

std::vector<std::string> Groups::groups(std::string_view source) const {
  std::vector<std::string> names;
  if (const auto found = groups_.find(source); found != groups_.end())
    for (const auto& [group, members] : found->second) names.push_back(group);
  return names;
}

const NodeSet* Groups::members(std::string_view source, std::string_view group) const {
  const auto found = groups_.find(source);
  if (found == groups_.end()) return nullptr;
  const auto members = found->second.find(group);
  return members == found->second.end() ? nullptr : &members->second;
}

}  // namespace kfab::nodeset

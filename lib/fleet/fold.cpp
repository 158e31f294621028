#include "fleet/fold.hpp"

#include <string_view>
#include <unordered_map>

namespace kfab::fleet {

std::vector<FoldGroup> fold(const std::vector<std::pair<std::string, std::string>>& texts) {
  std::vector<FoldGroup> groups;
  std::unordered_map<std::string_view, std::size_t> group_of;   // keys live in `texts`
  for (const auto& [node, text] : texts) {
    const auto [at, fresh] = group_of.emplace(text, groups.size());
    if (fresh) groups.push_back({{}, text});
    groups[at->second].nodes.push_back(node);
  }
  return groups;
}

}  // namespace kfab::fleet

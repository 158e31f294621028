#pragma once

#include <string>
#include <utility>
#include <vector>

namespace kfab::fleet {

// Nodes that said the same.
struct FoldGroup {
  std::vector<std::string> nodes;
  std::string text;
};

// Groups (node, text) pairs by equal text. Groups stand in the order of their first node, nodes in the order given.
std::vector<FoldGroup> fold(const std::vector<std::pair<std::string, std::string>>& texts);

}  // namespace kfab::fleet

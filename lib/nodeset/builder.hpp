#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "nodeset/nodeset.hpp"
#include "nodeset/number.hpp"

namespace kfab::nodeset {

// Collects names in any order and sorts them once: uniting many small sets one by one would be quadratic.
class Builder {
 public:
  // The points of the pattern's names, to which the caller appends `axes` ranks a name. For axes == 0 the name is in.
  std::vector<Rank>& points(const std::string& pattern, std::size_t axes);
  void add_name(std::string_view name);   // must have no fault
  void add(const NodeSet&);
  NodeSet take();

 private:
  std::unordered_map<std::string, NodeSet::Family> families_;
  std::string pattern_;
  std::vector<Rank> numbers_;
};

}  // namespace kfab::nodeset

#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

// The facts that the agent tells of a node (agent/facts.hpp), by the dotted names by which manifests expect something of them.
namespace kfab {

// "memory.total_gib"; of things of which a node has several "gpus.<n>.name", where <n> stands for a place in the list, from 0 on.
std::span<const std::string_view> fact_names();
// Whether a node can tell a fact of that name: one value, or a list of words. Whole sections ("memory") are none.
bool is_fact_name(std::string_view);
// The names that were most likely meant, best first: within two edits, or of the same last part. Places in lists are kept.
std::vector<std::string> similar_fact_names(std::string_view);

}  // namespace kfab

#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "commands/command.hpp"
#include "commands/env.hpp"
#include "nodeset/nodeset.hpp"

namespace kfab::commands {

enum class NodesetAction { expand, fold, count, split, slice };
std::optional<NodesetAction> parse_nodeset_action(std::string_view word);

struct NodesetOptions {
  NodesetAction action = NodesetAction::fold;
  std::vector<std::string> expressions{};   // united; "-" is standard input, where a comma or newline may end the text
  std::string exclude{};                    // an expression that is taken away; empty: nothing
  std::string manifest{};                   // gives groups and wildcards their meaning; empty: there are none
  std::string separator = "\n";           // between the names that expand shows to people
  bool keep_order = false;                // expand: as written, repeated names kept
  std::size_t parts = 0;                  // split: into how many
  std::string positions{};                  // slice: "0-18/2,40", from 0
};

struct NodesetResult {
  NodesetAction action = NodesetAction::fold;
  std::vector<std::string> nodes;         // in order
  std::string folded;
  std::size_t count = 0;
  std::vector<nodeset::NodeSet> parts;    // split only
  std::string separator;
  Diagnostics diagnostics;                // why there is no result; spans name the source "expression 1", "exclude", ...
  std::vector<manifest::SourceText> sources;
};

// Pure: works the expressions out over the groups, if there are any.
NodesetResult run_nodeset(const NodesetOptions&, const nodeset::GroupSource* groups);
// Schema kfab.nodeset/1.0: action, count, folded, nodes[] of node, parts[] of count and folded.
CommandOutput to_output(NodesetResult);
// The command: reads the manifest and standard input where they are asked for.
CommandOutput run_nodeset(const NodesetOptions&, Env&);

}  // namespace kfab::commands

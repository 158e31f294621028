#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "manifest/load.hpp"
#include "manifest/model.hpp"
#include "nodeset/nodeset.hpp"

namespace kfab::commands {

// What -t, -w and -x say. All empty: every node.
struct Selection {
  std::vector<std::string> tranches;
  std::string nodes;      // node set expression over the site's nodes and groups
  std::string exclude;
};

// Those texts under the names that findings about them give as their file, for the carets.
std::vector<manifest::SourceText> sources_of(const Selection&);

// A finding about a node set that the option gave: with the option as its place.
Diagnostic in_option(std::string_view option, Diagnostic);

// How the selection is typed: "-t p1 -w 'n[1-4]' -x n2"; empty where it is every node.
std::string as_typed(const Selection&);

// "site.yaml -w 'n[1-4]'": a manifest and those nodes of it, for a command that is told and meant for no others. Where the nodes would
// be too long to be read, `otherwise` stands in their place: how they were selected. Without a manifest of a name: "MANIFEST".
std::string manifest_and_nodes(const std::string& manifest, const std::vector<std::string>& nodes, const std::string& otherwise);

// The groups that node set expressions over a site may name: @group, @rack:, @tranche:, @profile:.
nodeset::Groups groups_of(const manifest::Site&);

// The selected nodes, in the order of the manifest. Errors: unknown_tranche (with a suggestion), those of node sets,
// unknown_node for a name the site does not have, no_target when nothing is left.
Result<std::vector<const manifest::Node*>> select_nodes(const manifest::Site&, const Selection&);

}  // namespace kfab::commands

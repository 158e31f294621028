#include "commands/selection.hpp"

#include <algorithm>
#include <map>
#include <unordered_set>

#include <fmt/format.h>

#include "base/codes/commands.hpp"
#include "base/shell_word.hpp"
#include "base/text.hpp"

namespace kfab::commands {
namespace {

using Names = std::vector<std::string>;

Result<std::unordered_set<std::string>> expand(const nodeset::NodeSet& set) {
  const auto names = set.names();
  return std::unordered_set<std::string>(names.begin(), names.end());
}

// The names of an expression, each of them a node of the site.
Result<std::unordered_set<std::string>> named_nodes(std::string_view option, const std::string& expression,
                                                    const nodeset::Groups& groups) {
  auto set = nodeset::NodeSet::parse(expression, &groups);
  if (!set) return in_option(option, std::move(set).error());
  if (const auto unknown = *set - groups.all(); !unknown.empty()) {
    Diagnostic why = error(code::unknown_node, fmt::format("{} names {} that the manifest does not have: {}", option,
                                                           unknown.size() == 1 ? "a node" : plural(static_cast<long long>(unknown.size()), "node"),
                                                           one_line(unknown.fold())));
    if (groups.all().size() <= 40'000) why.suggestions = nearest(unknown.names().front(), groups.all().names());
    return why;
  }
  return expand(*set);
}

}  // namespace

std::vector<manifest::SourceText> sources_of(const Selection& selection) {
  return {{"--nodes", selection.nodes}, {"--exclude", selection.exclude}};
}

Diagnostic in_option(std::string_view option, Diagnostic why) {
  why.path = std::string(option);
  if (why.span) why.span->file = std::string(option);
  return why;
}

std::string as_typed(const Selection& selection) {
  std::vector<std::string> words;
  for (const auto& tranche : selection.tranches) words.push_back("-t " + shell_word(one_line(tranche)));
  if (!selection.nodes.empty()) words.push_back("-w " + shell_word(one_line(selection.nodes)));
  if (!selection.exclude.empty()) words.push_back("-x " + shell_word(one_line(selection.exclude)));
  return join(words, " ");
}

std::string manifest_and_nodes(const std::string& manifest, const std::vector<std::string>& nodes, const std::string& otherwise) {
  constexpr std::size_t most_characters_of_nodes = 400;
  const std::string file = manifest.empty() || manifest == "-" ? "MANIFEST" : shell_word(one_line(manifest));
  const std::string folded = nodeset::fold_names(nodes);
  const std::string which = folded.size() <= most_characters_of_nodes ? "-w " + shell_word(folded) : otherwise;
  return which.empty() ? file : fmt::format("{} {}", file, which);
}

nodeset::Groups groups_of(const manifest::Site& site) {
  std::map<std::pair<std::string, std::string>, Names> members;
  Names all;
  for (const manifest::Node& node : site.nodes) {
    all.push_back(node.name);
    if (!node.group.empty()) members[{"group", node.group}].push_back(node.name);
    if (!node.rack.empty()) members[{"rack", node.rack}].push_back(node.name);
    if (!node.tranche.empty()) members[{"tranche", node.tranche}].push_back(node.name);
    if (!node.profile.empty()) members[{"profile", node.profile}].push_back(node.name);
  }
  nodeset::Groups groups("group");
  if (auto known = nodeset::NodeSet::from_names(all)) groups.add_known(*known);
  for (const auto& [key, names] : members)
    if (auto set = nodeset::NodeSet::from_names(names)) groups.add(key.first, key.second, *set);
  return groups;
}

Result<std::vector<const manifest::Node*>> select_nodes(const manifest::Site& site, const Selection& selection) {
  for (const auto& wanted : selection.tranches) {
    if (site.find_tranche(wanted)) continue;
    Names known;
    for (const auto& tranche : site.tranches) known.push_back(tranche.name);
    Diagnostic why = error(code::unknown_tranche, fmt::format("the site has no tranche '{}'", one_line(wanted)));
    why.suggestions = nearest(wanted, known);
    why.help.push_back(known.empty() ? "it has no tranches at all" : "tranches: " + join(known, ", "));
    return why;
  }
  std::unordered_set<std::string> only, without;
  if (!selection.nodes.empty() || !selection.exclude.empty()) {
    const auto groups = groups_of(site);
    if (!selection.nodes.empty()) {
      KFAB_TRY(set, named_nodes("--nodes", selection.nodes, groups));
      only = std::move(set);
    }
    if (!selection.exclude.empty()) {
      KFAB_TRY(set, named_nodes("--exclude", selection.exclude, groups));
      without = std::move(set);
    }
  }
  std::vector<const manifest::Node*> chosen;
  for (const manifest::Node& node : site.nodes) {
    const auto& wanted = selection.tranches;
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), node.tranche) == wanted.end()) continue;
    if (!selection.nodes.empty() && !only.contains(node.name)) continue;
    if (without.contains(node.name)) continue;
    chosen.push_back(&node);
  }
  if (chosen.empty())
    return error(code::no_target, site.nodes.empty() ? "the manifest declares no nodes yet" : "no node is selected");
  return chosen;
}

}  // namespace kfab::commands

#include "commands/nodeset.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/codes/nodeset.hpp"
#include "base/text.hpp"
#include "commands/selection.hpp"
#include "commands/site_session.hpp"

namespace kfab::commands {
namespace {

constexpr std::array<std::string_view, 5> action_words{"expand", "fold", "count", "split", "slice"};

std::string_view word_of(NodesetAction action) { return action_words[static_cast<std::size_t>(action)]; }

// The text under a name, so that a caret can be drawn below the spot a diagnostic of it points at.
void add_fault(NodesetResult& result, Diagnostic why, const std::string& source, const std::string& text) {
  if (why.span) why.span->file = source;
  result.diagnostics.push_back(std::move(why));
  result.sources.push_back({source, text});
}

std::string source_name(const NodesetOptions& options, std::size_t index) {
  return options.expressions.size() == 1 ? "expression" : fmt::format("expression {}", index + 1);
}

nodeset::NodeSet unite(const NodesetOptions& options, const nodeset::GroupSource* groups, NodesetResult& result) {
  nodeset::NodeSet all;
  for (std::size_t i = 0; i < options.expressions.size(); ++i) {
    auto set = nodeset::NodeSet::parse(options.expressions[i], groups);
    if (!set) add_fault(result, std::move(set).error(), source_name(options, i), options.expressions[i]);
    else all |= *set;
  }
  if (options.exclude.empty()) return all;
  auto without = nodeset::NodeSet::parse(options.exclude, groups);
  if (!without) add_fault(result, std::move(without).error(), "exclude", options.exclude);
  else all -= *without;
  return all;
}

std::vector<std::string> in_order(const NodesetOptions& options, const nodeset::GroupSource* groups, const nodeset::NodeSet& kept,
                                  NodesetResult& result) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < options.expressions.size(); ++i) {
    auto listed = nodeset::expand_in_order(options.expressions[i], groups);
    if (!listed) add_fault(result, std::move(listed).error(), source_name(options, i), options.expressions[i]);
    else names.insert(names.end(), listed->begin(), listed->end());
  }
  if (!options.exclude.empty()) std::erase_if(names, [&](const std::string& name) { return !kept.contains(name); });
  return names;
}

json::Value to_json(const NodesetResult& result) {
  json::Array nodes, parts;
  for (const auto& node : result.nodes) nodes.push_back(json::Object{{"node", node}});
  for (const auto& part : result.parts) parts.push_back(json::Object{{"count", part.size()}, {"folded", part.fold()}});
  return json::Object{{"action", word_of(result.action)},
                      {"count", result.count},
                      {"folded", result.folded},
                      {"nodes", std::move(nodes)},
                      {"parts", std::move(parts)}};
}

void render(const NodesetResult& result, term::Writer& out) {
  switch (result.action) {
    case NodesetAction::expand:
      if (!result.nodes.empty()) out.line(join(result.nodes, result.separator));
      return;
    case NodesetAction::fold:
    case NodesetAction::slice:
      if (result.count > 0) out.line(result.folded);
      return;
    case NodesetAction::count: out.line(std::to_string(result.count)); return;
    case NodesetAction::split:
      for (const auto& part : result.parts) out.line(part.fold());
      return;
  }
}

std::string without_final_comma(std::string_view text) {
  text = trim(text);
  if (text.ends_with(',')) text.remove_suffix(1);
  return std::string(trim(text));
}

}  // namespace

std::optional<NodesetAction> parse_nodeset_action(std::string_view word) {
  const auto found = std::find(action_words.begin(), action_words.end(), word);
  if (found == action_words.end()) return std::nullopt;
  return static_cast<NodesetAction>(found - action_words.begin());
}

NodesetResult run_nodeset(const NodesetOptions& options, const nodeset::GroupSource* groups) {
  NodesetResult result;
  result.action = options.action;
  result.separator = options.separator;
  if (options.expressions.empty()) {
    result.diagnostics.push_back(error(code::nodeset_syntax, "no node set expression is given"));
    return result;
  }
  nodeset::NodeSet set = unite(options, groups, result);
  if (options.action == NodesetAction::split && options.parts == 0)
    result.diagnostics.push_back(error(code::nodeset_syntax, "a set can be split into 1 part or more, not into 0"));
  if (options.action == NodesetAction::slice && !has_errors(result.diagnostics)) {
    auto sliced = set.slice(options.positions);
    if (!sliced) add_fault(result, std::move(sliced).error(), "positions", options.positions);
    else set = std::move(sliced).value();
  }
  if (!has_errors(result.diagnostics)) {
    const bool ordered = options.keep_order && options.action == NodesetAction::expand;
    result.nodes = ordered ? in_order(options, groups, set, result) : set.names();
    result.folded = set.fold();
    result.count = result.nodes.size();
    if (options.action == NodesetAction::split) result.parts = set.split(options.parts);
  }
  return result;
}

CommandOutput to_output(NodesetResult result) {
  if (has_errors(result.diagnostics)) return not_started(std::move(result.diagnostics), std::move(result.sources));
  CommandOutput out;
  out.schema = "kfab.nodeset/1.0";
  out.data = to_json(result);
  out.render = [kept = std::move(result)](term::Writer& writer) { render(kept, writer); };
  return out;
}

CommandOutput run_nodeset(const NodesetOptions& options, Env& env) {
  NodesetOptions wanted = options;
  for (auto& expression : wanted.expressions) {
    if (expression != "-") continue;
    auto text = env.read_stdin();
    if (!text) return not_started(std::move(text).error());
    expression = without_final_comma(*text);
  }
  if (wanted.manifest.empty()) return to_output(run_nodeset(wanted, nullptr));
  const auto loaded = load_manifest(wanted.manifest, env);
  if (has_errors(loaded.diagnostics)) return not_started(loaded.diagnostics, loaded.sources);
  nodeset::Groups groups("group");
  if (loaded.site() != nullptr) groups = groups_of(*loaded.site());
  CommandOutput out = to_output(run_nodeset(wanted, &groups));
  if (loaded.site() != nullptr) out.site = {loaded.site()->metadata.name, loaded.sha256};
  return out;
}

}  // namespace kfab::commands

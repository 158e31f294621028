#include "commands/host_key_list.hpp"

#include <algorithm>
#include <map>
#include <unordered_set>

#include <fmt/format.h>

#include "base/codes/ssh.hpp"
#include "base/text.hpp"
#include "commands/host_key_review.hpp"
#include "commands/site_session.hpp"
#include "ssh/codec.hpp"
#include "ssh/host_keys.hpp"
#include "ssh/transport.hpp"

namespace kfab::commands {
namespace {

using Line = ssh::HostKeys::Line;
using Marker = ssh::KnownHost::Marker;
constexpr std::size_t most_rows = 200;

struct ListedNode {
  const ssh::Target* target = nullptr;
  std::vector<Line> lines;
};

std::string_view word(Marker marker) {
  return marker == Marker::revoked ? "revoked" : marker == Marker::cert_authority ? "authority" : "known";
}

// Whether some line can make the node trusted.
bool known(const ListedNode& node) {
  return std::any_of(node.lines.begin(), node.lines.end(), [](const Line& line) { return line.marker != Marker::revoked; });
}

std::vector<Duplicate> duplicates_of(const std::vector<ListedNode>& nodes) {
  std::map<std::string, std::vector<std::string>> by_key;
  for (const ListedNode& node : nodes) {
    for (const Line& line : node.lines) {
      if (line.marker != Marker::none) continue;
      auto& names = by_key[line.blob];
      if (names.empty() || names.back() != node.target->node) names.push_back(node.target->node);
    }
  }
  std::map<std::vector<std::string>, Duplicate> by_nodes;
  for (const auto& [blob, names] : by_key) {
    if (names.size() < 2) continue;
    Duplicate& duplicate = by_nodes[names];
    duplicate.nodes = names;
    duplicate.types.push_back(one_line(ssh::key_type(blob)));
    duplicate.fingerprints.push_back(ssh::fingerprint(blob));
  }
  std::vector<Duplicate> duplicates;
  for (auto& [names, duplicate] : by_nodes) duplicates.push_back(std::move(duplicate));
  return duplicates;
}

json::Value to_json(const std::vector<ListedNode>& nodes, const std::vector<Duplicate>& duplicates, const std::string& store) {
  json::Array rows;
  std::unordered_set<std::string_view> duplicated_nodes;
  for (const Duplicate& duplicate : duplicates) duplicated_nodes.insert(duplicate.nodes.begin(), duplicate.nodes.end());
  long long known_nodes = 0, duplicated = 0;
  for (const ListedNode& node : nodes) {
    json::Array keys;
    for (const Line& line : node.lines) {
      keys.emplace_back(json::Object{{"type", line.type}, {"fingerprint", ssh::fingerprint(line.blob)}, {"public_key", ssh::base64_encode(line.blob)}, {"state", word(line.marker)},
                                     {"source", fmt::format("{}:{}", line.file, line.line)}, {"known_by", json::Array{}}, {"stored", line.in_store}});
    }
    const bool twice = duplicated_nodes.contains(node.target->node);
    known_nodes += known(node) ? 1 : 0;
    duplicated += twice ? 1 : 0;
    json::Object row{{"node", node.target->node}, {"address", node.target->address}, {"port", static_cast<int>(node.target->port)}, {"state", known(node) ? "known" : "unknown"}};
    for (const char* of_a_scan : {"decision", "outcome", "phase", "reason", "code", "certificate"}) row.set(of_a_scan, nullptr);
    row.set("duplicated", twice).set("keys", std::move(keys));
    rows.emplace_back(std::move(row));
  }
  json::Object counts{{"nodes", static_cast<long long>(nodes.size())}, {"known", known_nodes}, {"unknown", static_cast<long long>(nodes.size()) - known_nodes}, {"duplicated", duplicated}};
  return json::Object{{"action", "list"}, {"store", store}, {"counts", std::move(counts)}, {"stored_keys", 0}, {"stored_nodes", 0}, {"types", json::Array{}},
                      {"nodes", std::move(rows)}, {"duplicates", duplicates_json(duplicates)}, {"replaced", json::Array{}}};
}

void render(const std::vector<ListedNode>& nodes, const std::vector<Duplicate>& duplicates, bool all, term::Writer& out) {
  term::Table table({{"node"}, {"key"}, {"is"}, {"from"}});
  std::vector<std::string> known_nodes, unknown_nodes;
  std::size_t left_out = 0;
  for (const ListedNode& node : nodes) {
    (known(node) ? known_nodes : unknown_nodes).push_back(node.target->node);
    for (const Line& line : node.lines) {
      if (!all && table.size() >= most_rows) ++left_out;
      else table.row({node.target->node, fmt::format("{} {}", line.type, ssh::fingerprint(line.blob)),
                      {std::string(word(line.marker)), line.marker == Marker::revoked ? term::Style::bad : term::Style::plain}, fmt::format("{}:{}", line.file, line.line)});
    }
  }
  if (!table.empty()) out.table(table);
  if (left_out > 0) out.line(term::Style::faint, fmt::format("... and {} more lines: -v shows all", with_thousands(static_cast<long long>(left_out))));
  render(duplicates, out);
  if (!unknown_nodes.empty()) out.line(term::Style::warning, "Nothing is known of " + folded(unknown_nodes));
  if (!known_nodes.empty()) out.line("Known: " + folded(known_nodes));
}

}  // namespace

void list_host_keys(const std::vector<ssh::Target>& targets, const std::string& store, bool all, Env& env, CommandOutput& output) {
  ssh::HostKeys keys(ssh::options_from_environment().home);
  std::vector<ListedNode> nodes;
  const auto give_up = [&](Diagnostic why) {
    Diagnostics diagnostics = std::move(output.diagnostics);
    diagnostics.push_back(std::move(why));
    output = not_started(std::move(diagnostics), std::move(output.sources));
  };
  constexpr std::uint64_t most_tries = 100'000'000;   // about ten seconds
  const auto tries_left = keys.sweep(targets);
  if (!tries_left) return give_up(tries_left.error());
  const bool try_hashed = *tries_left <= most_tries;
  if (!try_hashed) output.diagnostics.push_back(make_diagnostic(code::host_key_lines_not_tried, "hashed known_hosts lines are left of which it is not known whose they are"));
  for (const ssh::Target& target : targets) {
    auto lines = keys.lines_of(target, try_hashed);
    if (!lines) return give_up(std::move(lines).error());
    nodes.push_back({&target, std::move(*lines)});
  }
  const auto duplicates = duplicates_of(nodes);
  const bool no = !duplicates.empty() || !std::all_of(nodes.begin(), nodes.end(), known);
  output.outcome = overall(env, false, no);
  output.signal = env.cancel.signal();
  output.data = to_json(nodes, duplicates, store);
  // The nodes point into `targets`, which do not outlive this call.
  output.render = [targets, nodes = std::move(nodes), duplicates, all](term::Writer& out) mutable {
    for (std::size_t i = 0; i < nodes.size(); ++i) nodes[i].target = &targets[i];
    render(nodes, duplicates, all, out);
  };
}

}  // namespace kfab::commands

#include "readiness/blockers.hpp"

#include <algorithm>
#include <array>
#include <map>

#include <fmt/format.h>

#include "base/codes.hpp"
#include "base/codes/manifest.hpp"
#include "base/codes/readiness.hpp"
#include "base/codes/reboot.hpp"
#include "base/codes/validation.hpp"
#include "base/shell_word.hpp"
#include "base/text.hpp"
#include "nodeset/nodeset.hpp"
#include "readiness/words.hpp"

namespace kfab::readiness {
namespace {

constexpr std::size_t most_characters_of_nodes = 400;
constexpr std::size_t most_characters_in_message = 80;

struct GateCodes { std::string_view gate; Code failed, open; };
constexpr std::array gate_codes{
    GateCodes{"accepted", code::target_out_of_reach, code::evidence_missing},
    GateCodes{"contiguous", code::blocks_broken, code::evidence_missing},
    GateCodes{"spares", code::spares_short, code::spares_short},
    GateCodes{"power", code::power_exceeded, code::power_not_judged},
    GateCodes{"fabric", code::fabric_broken, code::fabric_not_tested},
    GateCodes{"facility", code::facility_gate_open, code::facility_gate_open},
    GateCodes{"findings", code::node_failed_validation, code::evidence_missing},
    GateCodes{"allocations", code::allocations_uncovered, code::allocations_uncovered},
    GateCodes{"signatures", code::signature_missing, code::signature_missing},
    GateCodes{"fresh", code::evidence_stale, code::evidence_missing},
    GateCodes{"deliveries", code::delivery_missing, code::delivery_missing},
    GateCodes{"depends_on", code::dependency_not_ready, code::dependency_not_ready},
};

Code code_of(const TrancheStatus& tranche, const Gate& gate) {
  // Without a target the count is held against what is declared, which is the weaker question.
  const bool no_target = std::none_of(tranche.targets.begin(), tranche.targets.end(), [](const auto& target) { return target.required.has_value(); });
  const bool about_nodes = gate.id == "accepted" || gate.id == "contiguous" || gate.id == "spares" || gate.id == "fresh";
  if (about_nodes && tranche.counts.declared == 0 && gate.verdict == Verdict::not_judged) return no_target ? code::target_unknown : code::nodes_undeclared;
  const auto row = std::find_if(gate_codes.begin(), gate_codes.end(), [&](const auto& codes) { return codes.gate == gate.id; });
  if (row == gate_codes.end()) return code::evidence_missing;
  return gate.verdict == Verdict::fail ? row->failed : row->open;
}

std::string shortened(const std::vector<std::string>& names) { return one_line(nodeset::fold_names(names), most_characters_of_nodes); }

// The reason without what differs from node to node (after the first colon stands what one node said).
std::string kind_of(const NodeStatus& node) { return node.reason.substr(0, node.reason.find(':')); }

int order_of(NodeState state) {
  if (state == NodeState::failed) return 0;
  return state == NodeState::revoked ? 1 : 2;
}

// What to do about nodes that share a finding: that of the code, or the very command where it is known which.
std::string next_step_of(Code code, const TrancheStatus& tranche, const std::vector<std::string>& names) {
  if (code == code::unknown_fact) return "correct the name in the profile's `expect` (`kfab lint` suggests one), then run `kfab inventory` on these nodes again";
  if (code != code::reboot_awaited) return std::string(info(code).next_step);
  const std::string folded = nodeset::fold_names(names);
  const std::string which = folded.size() <= most_characters_of_nodes ? "-w " + shell_word(folded) : "-t " + shell_word(tranche.name);
  return fmt::format("kfab reboot MANIFEST {} --needed; it tells the command that goes on from there", which);
}

}  // namespace

std::vector<Blocker> blockers_of(const TrancheStatus& tranche, const NodeRefs& nodes) {
  std::vector<Blocker> rows;
  const auto is_open = [](const NodeStatus* node) { return node->state != NodeState::accepted; };
  const bool cut_short = std::any_of(nodes.begin(), nodes.end(), is_open) &&
                         std::all_of(nodes.begin(), nodes.end(), [&](const NodeStatus* node) { return !is_open(node) || node->code == code::tests_cut_short; });
  for (const auto& gate : tranche.gates) {
    if (gate.verdict == Verdict::pass || gate.verdict == Verdict::degraded) continue;
    // The nodes themselves are told below, by reason.
    if (gate.id == "findings" || (gate.id == "fresh" && gate.verdict == Verdict::not_judged)) continue;
    Code code = code_of(tranche, gate);
    // Where nothing but the rest of their tests is missing on all of them, that is what to do, and not all steps again.
    if (code == code::evidence_missing && cut_short) code = code::tests_cut_short;
    rows.push_back({code, gate.id, gate.detail, std::string(info(code).next_step), 0, {}});
  }

  struct Group { const NodeStatus* first; std::vector<std::string> names; };
  std::map<std::tuple<int, Code, std::string>, Group> groups;
  for (const auto* node : nodes) {
    if (node->state == NodeState::accepted) continue;
    auto& group = groups.try_emplace({order_of(node->state), node->code, kind_of(*node)}, Group{node, {}}).first->second;
    group.names.push_back(node->name);
  }
  // A failure of a single node is told in full; of several, the first one's words stand for all.
  for (const auto& [key, group] : groups) {
    const auto count = static_cast<std::int64_t>(group.names.size());
    const std::string folded = shortened(group.names);
    const bool same = std::get<2>(key) == group.first->reason;
    std::string message = count == 1 ? fmt::format("{}: {}", folded, group.first->reason)
                                     : fmt::format("{} ({}): {}{}", count_text(count, "node"), one_line(folded, most_characters_in_message),
                                                   same ? "" : "for example ", group.first->reason);
    rows.push_back({std::get<1>(key), std::get<0>(key) == 0 ? "findings" : "accepted", std::move(message),
                    next_step_of(std::get<1>(key), tranche, group.names), count, folded});
  }
  return rows;
}

std::vector<NotTested> not_tested_in(const TrancheStatus& tranche, const NodeRefs& nodes) {
  std::vector<NotTested> rows;
  for (const auto& gate : tranche.gates)
    if (gate.id == "fabric" && gate.verdict == Verdict::not_judged) rows.push_back({"fabric", gate.detail});
  std::vector<std::string> silent;
  for (const auto* node : nodes)
    if (node->verdict == Verdict::not_judged) silent.push_back(node->name);
  if (!silent.empty())
    rows.push_back({fmt::format("{} without a verdict", count_text(static_cast<std::int64_t>(silent.size()), "node")), shortened(silent)});
  if (nodes.empty()) rows.push_back({"nodes", "none is declared yet"});
  if (tranche.power.envelope_kw && !tranche.power.measured_kw)
    rows.push_back({"power under load", tranche.power.measured_accelerators_kw
                                            ? fmt::format("only the accelerators' own sensors were read: {}", power_text(*tranche.power.measured_accelerators_kw))
                                            : "no node power was measured; the envelope was checked on paper"});
  for (const auto& gate : tranche.not_required)
    if (gate.id == "fabric") rows.push_back({"fabric", gate.reason});
  if (nodes.size() > 1) rows.push_back({"the network between nodes", "kfab sends no traffic from node to node; a result from elsewhere is entered as a facility gate with its evidence"});
  return rows;
}

}  // namespace kfab::readiness

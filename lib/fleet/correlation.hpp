#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/words.hpp"

// What the failures of a run have in common. Pure functions over how its nodes ended.
namespace kfab::fleet {

// How one node ended, with what it may share with others. Empty texts: not known, or none.
struct NodeEnd {
  std::string node{}, rack{}, address{};
  std::string via{};                   // its jump hosts, as one text
  NodeOutcome outcome = NodeOutcome::unreachable;
  bool well = false;                   // as budgets count it; false with outcome ok: what was found on the node is bad
  bool started = true;                 // false: the run was stopped before its turn, which is no failure of the node
  std::string code{}, phase{};
  std::string message{};               // why it did not end well, as it was said; empty when it did
  std::string reason{};                // the same without the node's name (impersonal), so that equal reasons are equal
  std::optional<int> exit_status{};
  std::string signal{};
  std::vector<std::string> help{};     // what else was said of it, as it was said
};

// Failures that are the same: outcome, code, phase, exit status or signal, and reason. Where the reasons are many, one
// group holds them all and its reason is the first one.
struct FailureGroup {
  NodeOutcome outcome = NodeOutcome::unreachable;
  std::string code, phase, reason;
  std::string message;                 // of its first node
  std::optional<int> exit_status{};
  std::string signal{};
  bool many_reasons = false;
  std::vector<std::string> nodes;      // in the order of the run
  std::vector<std::string> help{};     // what else was said of them, each once, at most most_help; of several nodes only
                                       // what names none of them, because it would be wrong of the others
  static constexpr std::size_t most_help = 5;
};

// Something that failed nodes share more often than chance would have it.
struct SharedTrait {
  std::string kind;                    // "rack", "jump_host", "address_prefix"
  std::string name;                    // "r07", "bastion1", "10.1.7.0/24"
  std::size_t failures = 0;            // failed nodes that have it
  std::size_t of_failures = 0;         // failed nodes in all
  std::size_t of_nodes = 0;            // selected nodes that have it
  std::size_t of_started = 0;          // those of them that were started: what chance is reckoned with
  std::vector<std::string> nodes;      // the failed ones
};

struct FailureSummary {
  std::size_t nodes = 0;               // that were selected
  std::vector<std::string> failed, not_started;
  std::vector<FailureGroup> groups;    // the largest first
  std::vector<SharedTrait> shared;     // the most telling first, at most five
};

// A trait is told of only when it is telling: at least three failures have it, some node has it not, it holds a tenth of
// the failures or half of its nodes failed, and so many falling on it by chance is less likely than 1 in 20 for any of
// the traits of its kind (hypergeometric tail, times their number). Of two kinds that name the same nodes the first
// stands: rack, jump host, address prefix (/24, or /64 of IPv6).
FailureSummary summarize_failures(const std::vector<NodeEnd>&);

// "14 of 16 failures share rack r07 (14 of its 32 nodes)"
std::string to_text(const SharedTrait&);

// The reason without the node's own name before it, and with "its address" where the address stands.
std::string impersonal(std::string_view reason, std::string_view node, std::string_view address);

// P(X >= marked) when `drawn` of `all` are drawn and `kind` of `all` are of the kind in question.
double chance_of_at_least(std::size_t marked, std::size_t all, std::size_t kind, std::size_t drawn);

}  // namespace kfab::fleet

#include "base/words.hpp"

#include <algorithm>

namespace kfab {
namespace {

constexpr std::array<std::string_view, 4> verdict_words{"pass", "degraded", "fail", "not_judged"};
constexpr std::array<std::string_view, 5> node_outcome_words{"ok", "failed", "timed_out", "refused", "unreachable"};
constexpr std::array<std::string_view, 6> outcome_words{"yes", "no", "invalid", "incomplete", "bug", "cancelled"};
constexpr std::array<std::string_view, 10> node_state_words{"declared", "reachable",   "inventoried", "provisioned",
                                                            "validated", "accepted",   "failed",      "quarantined",
                                                            "in_rma",    "revoked"};

constexpr std::array exit_codes{
    ExitCodeRow{0, "yes", "done, and the answer is yes", "go on"},
    ExitCodeRow{1, "no", "done, and the answer is no", "look at the findings"},
    ExitCodeRow{2, "invalid", "not started: usage, a bad manifest, or a confirmation is missing",
                "fix the input; nothing was touched"},
    ExitCodeRow{3, "incomplete", "some selected node has no verdict", "look at those nodes and run again"},
    ExitCodeRow{4, "bug", "a bug in kfab", "report it"},
    ExitCodeRow{130, "cancelled", "stopped by SIGINT (^C) after an orderly shutdown", "run again to go on"},
    ExitCodeRow{143, "cancelled", "stopped by SIGTERM after an orderly shutdown", "run again to go on"},
};

template <class Enum, std::size_t N>
std::optional<Enum> parse_word(const std::array<std::string_view, N>& words, std::string_view text) {
  const auto found = std::find(words.begin(), words.end(), text);
  if (found == words.end()) return std::nullopt;
  return static_cast<Enum>(found - words.begin());
}

int rank(Verdict verdict) {
  switch (verdict) {
    case Verdict::pass: return 0;
    case Verdict::degraded: return 1;
    case Verdict::not_judged: return 2;
    case Verdict::fail: return 3;
  }
  return 3;
}

}  // namespace

std::string_view to_string(Verdict v) { return verdict_words[static_cast<std::size_t>(v)]; }
std::optional<Verdict> parse_verdict(std::string_view text) { return parse_word<Verdict>(verdict_words, text); }
Verdict worse(Verdict a, Verdict b) { return rank(a) >= rank(b) ? a : b; }

std::string_view to_string(NodeOutcome o) { return node_outcome_words[static_cast<std::size_t>(o)]; }
std::string_view to_string(Outcome o) { return outcome_words[static_cast<std::size_t>(o)]; }

int exit_code(Outcome outcome, int signal) {
  switch (outcome) {
    case Outcome::yes: return 0;
    case Outcome::no: return 1;
    case Outcome::invalid: return 2;
    case Outcome::incomplete: return 3;
    case Outcome::bug: return 4;
    case Outcome::cancelled: return 128 + (signal > 0 ? signal : 2);
  }
  return 4;
}

std::span<const ExitCodeRow> exit_code_table() { return exit_codes; }

std::string_view to_string(NodeState s) { return node_state_words[static_cast<std::size_t>(s)]; }
std::optional<NodeState> parse_node_state(std::string_view text) {
  return parse_word<NodeState>(node_state_words, text);
}

}  // namespace kfab

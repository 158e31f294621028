#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace kfab {

// What was found about a thing that was tested. A missing measurement is never `pass`.
enum class Verdict : std::uint8_t { pass, degraded, fail, not_judged };
std::string_view to_string(Verdict);
std::optional<Verdict> parse_verdict(std::string_view);
// The verdict of a whole from its parts: fail over not_judged over degraded over pass; of nothing, not_judged.
Verdict worse(Verdict a, Verdict b);

// How one command on one node ended. Never one code for four different things.
enum class NodeOutcome : std::uint8_t { ok, failed, timed_out, refused, unreachable };
inline constexpr std::array all_node_outcomes{NodeOutcome::ok, NodeOutcome::failed, NodeOutcome::timed_out,
                                              NodeOutcome::refused, NodeOutcome::unreachable};
std::string_view to_string(NodeOutcome);

// How a whole run ended, and the exit code that says so. This is the only place that maps one to the other.
enum class Outcome : std::uint8_t { yes, no, invalid, incomplete, bug, cancelled };
std::string_view to_string(Outcome);
// 0 yes, 1 no, 2 invalid (not started), 3 incomplete (some selected node has no verdict), 4 a bug in kfab;
// cancelled is 128 + the signal, 130 for SIGINT when none is known.
int exit_code(Outcome, int signal = 0);
struct ExitCodeRow { int code; std::string_view outcome; std::string_view meaning; std::string_view next_move; };
std::span<const ExitCodeRow> exit_code_table();

// Node states are derived from evidence, never set by hand.
enum class NodeState : std::uint8_t {
  declared, reachable, inventoried, provisioned, validated, accepted, failed, quarantined, in_rma, revoked
};
std::string_view to_string(NodeState);
std::optional<NodeState> parse_node_state(std::string_view);

}  // namespace kfab

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "commands/validate.hpp"
#include "commands/validate_nodes.hpp"

// `kfab burnin --start-together`: all nodes begin their load at the same instant, for tests of a room's power.
namespace kfab::commands {

// A node that does not take part, and why.
struct LeftOut {
  std::size_t index = 0;              // into SiteSession::nodes
  AgentRun run;
  std::string why;
  Code code{};                        // clock_too_far_off; 0: the session's own
};

// What was agreed before the load: each node has the agent, and its clock was compared with this host's.
struct CommonStart {
  LoadStart start;                    // as it is told
  std::vector<std::size_t> ready;     // into SiteSession::nodes, in their order
  std::vector<LeftOut> left_out;
};

// How far a node's clock may be from this host's: half a second, and less where the load changes faster.
double start_tolerance_s(const validation::LoadOptions&);

// Why a clock that was found so far off, give or take `uncertainty_s`, cannot keep to a start; empty where it can. Absent
// figures are a clock that nobody could tell.
std::string why_not_together(std::optional<double> offset_s, std::optional<double> uncertainty_s, double tolerance_s);

// Error: start_not_together, where batches or a window keep nodes from running at the same time.
Status may_start_together(const ValidateOptions&, std::size_t nodes, bool detach);

// Sends the agent where it is missing, compares the clocks, and chooses an instant that leaves the nodes time to get ready.
CommonStart agree_on_start(SiteSession&, const std::vector<NodeTest>&, const ValidateOptions&, Env&, Recorder&);

// The tests of those that are ready, with the instant in their requests.
std::vector<NodeTest> tests_of_ready(const CommonStart&, const std::vector<NodeTest>&, const Env&);

// The result of those that were ready as one of all nodes: the others say why they did not take part.
ValidateResult with_left_out(ValidateResult of_ready, CommonStart, const SiteSession& all, const std::vector<NodeTest>&, const Env&);

}  // namespace kfab::commands

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "commands/agent_runs.hpp"
#include "validation/catalogue.hpp"
#include "validation/judge.hpp"

// `kfab validate`, and `burnin` and `bandwidth`, which are one family of it: tests on the nodes, verdicts here.
namespace kfab::commands {

struct ValidateOptions {
  SiteOptions site;
  std::string command = "validate";             // under which the run is recorded
  std::vector<std::string> families;            // empty: all
  std::optional<validation::Level> level;       // absent: what each node's tranche asks for
  std::optional<double> duration_s;             // of the tests on one accelerator
  int threads = 0;
  std::optional<int> memory_cap_mib;
};

struct ValidatedNode {
  json::Object row;                             // node, outcome, phase, code, reason, duration_s
  std::string name, profile, device, level, criteria;
  NodeOutcome outcome = NodeOutcome::unreachable;
  std::string reason;                           // why the session was not ok, without the node's name
  validation::NodeJudgement judgement;
  validation::TestReport report;
};

struct ValidateResult {
  std::vector<std::string> families;
  std::vector<ValidatedNode> nodes;
  OutcomeCounts counts;
  FleetSummary summary;
};

// families[], counts{}, failures{}, cost{}, verdicts{pass, degraded, fail, not_judged}, nodes[]: the row's keys, profile, device, level,
// criteria, verdict, accelerators[], criteria_verdicts[], tests[], mismatches[].
json::Value to_json(const ValidateResult&);
void render(const ValidateResult&, term::Writer&);

CommandOutput run_validate(const ValidateOptions&, Env&);

}  // namespace kfab::commands

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "commands/agent_runs.hpp"
#include "commands/resumable.hpp"
#include "validation/plan.hpp"
#include "validation/fleet_relative.hpp"
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
  // Whether the tests go on by themselves on the nodes (detached.hpp). Absent: where a node is to have a soak.
  std::optional<bool> detach;
  validation::LoadOptions load{};               // of the burn-in
  bool start_together = false;                  // all nodes begin it at the same instant (common_start.hpp); of the burn-in alone
  bool dry_run = false;                         // say what would be done and how long it takes; reach nobody
  std::optional<Resumable> resumed{};           // what this run goes on with: only what that left (resume.hpp)
};

// Tests that go on by themselves on a node, as the node tells.
struct NodeJob {
  std::string id, state;                        // running | done | lost | restarted | unknown; empty: the node did not say
  std::optional<double> elapsed_s, left_s;
  std::vector<std::string> progress;            // "burnin 12 %: ...", at most a few
  std::optional<double> ended_s_ago{};          // when the node told of it
};

class Shelf;
// Where a node's report and judgement are put away (report_shelf.hpp), by their numbers.
struct Shelved {
  std::shared_ptr<Shelf> shelf;
  std::size_t report = 0, judgement = 0;
};

struct ValidatedNode {
  json::Object row;                             // node, outcome, phase, code, reason, duration_s
  std::string name, profile, device, level, criteria;
  NodeOutcome outcome = NodeOutcome::unreachable;
  std::string reason;                           // why the session was not ok, without the node's name
  validation::NodeJudgement judgement;          // once put away: the verdicts, each with one reason
  validation::TestReport report;                // once put away: without figures, statuses and mismatches
  std::optional<Shelved> shelved{};             // where they are whole; nothing: here
  std::optional<NodeJob> job;                   // of tests that go on, or went on, by themselves
  std::string board_serial;                     // that its agent told
  std::optional<Timestamp> measured_at{};       // absent: now, while it was watched
  std::string cut;                              // why the report is not whole; empty: it is
  bool cut_fails = false;                       // and is a failure by itself
  // Of a node that an earlier run tested, which this one goes on with: which run, and the verdict that is on record.
  std::string evidence_run{};
  std::optional<Verdict> recorded{};
};

// What nodes of one profile and level are given to do, with the time that each part is predicted to take on one node.
struct PlannedTests {
  std::string profile, device, level, criteria;
  std::size_t nodes = 0;
  double predicted_s = 0;
  std::vector<std::pair<std::string, double>> families;   // with seconds
};

// What was found of a node's clock before a common start: how far it is ahead of this host's, and within what that is known.
struct NodeClock {
  std::string node;
  double offset_s = 0, uncertainty_s = 0;
};

// The instant at which all nodes began, by this host's clock.
struct LoadStart {
  Timestamp at{};
  double tolerance_s = 0;                       // by which a clock might be off, and an accelerator late
  std::vector<NodeClock> clocks;                // of the nodes that told theirs, in the order of the run
};

struct ValidateResult {
  std::vector<std::string> families;
  std::vector<ValidatedNode> nodes;
  OutcomeCounts counts;
  FleetSummary summary;
  std::string detached_run;                     // whose tests still go on: what `kfab resume` is to be given; empty: none
  std::vector<PlannedTests> plans;              // what was to be done, and how long it was to take
  double predicted_s = 0;                       // of the whole run
  validation::LoadOptions load{};               // of the burn-in, where it is one of the families
  std::optional<LoadStart> start;               // with --start-together
  bool only_planned = false;                    // --dry-run: nothing was started
  validation::FleetFindings fleet;              // accelerators beside their peers of this run
};

// load{kind, period_s|null, duty_pct|null, start{at, tolerance_s, clocks[]}|null}|null without a burn-in, predicted_s, plans[]{profile, device, level, criteria|null, nodes, predicted_s, families[]{family, predicted_s}}, fleet{} (judge.hpp),
// families[], counts{}, failures{}, cost{}, verdicts{pass, degraded, fail, not_judged}, nodes[]: the row's keys, profile, device, level,
// criteria, verdict, job{id, state, elapsed_s, left_s, progress[]}|null, accelerators[], criteria_verdicts[], tests[], mismatches[].
// The array nodes[] is empty there: its elements are made one at a time, because of a site they fill gigabytes.
json::Value to_json(const ValidateResult&);
json::Rows rows_of_nodes(std::shared_ptr<const ValidateResult>);
void render(const ValidateResult&, term::Writer&);

// The output of a command whose result this is: counts, what has no criteria, the outcome.
CommandOutput conclude(ValidateResult, CommandOutput, const Env&);

CommandOutput run_validate(const ValidateOptions&, Env&);

}  // namespace kfab::commands

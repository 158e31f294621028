#pragma once

#include <optional>
#include <string>
#include <vector>

#include "commands/command.hpp"
#include "commands/env.hpp"
#include "commands/selection.hpp"
#include "store/records.hpp"
#include "validation/fleet_relative.hpp"
#include "validation/judge.hpp"

// `kfab judge`: what was measured is judged again, by other criteria or by those that the manifest names now. No node is asked.
namespace kfab::commands {

struct JudgeOptions {
  std::string manifest;
  Selection selection;
  std::string run;              // the run whose measurements are judged; empty: the newest of each node
  std::string criteria;         // a file, a set of the manifest, or a built-in one; empty: each profile's own
  bool dry_run = false;         // keep nothing
};

struct RejudgedAccelerator {
  std::string id, model;
  int index = 0;
  Verdict was = Verdict::not_judged, verdict = Verdict::not_judged;
  std::vector<std::string> reasons;
};

// A node that is judged again. Its evidence stays what it was: the new verdict is a record of its own, which names the run that
// measured and keeps the time of the measurement. A verdict by other criteria than those that the manifest gives the profile is
// kept as step "judged" of the node alone: it takes no evidence's place, neither of a pass nor of a failure. What the node measured is
// not held here: of a whole site that is gigabytes.
struct RejudgedNode {
  std::string name, rack, tranche, profile, device, level;
  std::string evidence_run, was_criteria, criteria, criteria_sha256;
  std::string record_run;                          // whose record was read: evidence_run, or a run that judged again
  std::optional<Timestamp> measured_at;            // absent: there is nothing that could be judged, and `why_not` says why
  std::string why_not;
  Verdict was = Verdict::not_judged, verdict = Verdict::not_judged;
  std::vector<std::string> reasons;
  std::vector<RejudgedAccelerator> accelerators;
  bool changed() const { return measured_at && was != verdict; }
};

struct JudgeResult {
  std::vector<RejudgedNode> nodes;
  validation::FleetFindings fleet;
  bool kept = false;
};

// run|null, kept, counts{judged, changed, without_report}, verdicts{}, fleet{}, nodes[]{node, profile, device, level,
// evidence_run|null, measured_at|null, was{verdict, criteria|null}, verdict, criteria|null, criteria_sha256|null, changed,
// reasons[], accelerators[]{id, index, model, was, verdict, changed, reasons[]}}.
json::Value to_json(const JudgeResult&);
void render(const JudgeResult&, term::Writer&);

CommandOutput run_judge(const JudgeOptions&, Env&);

// What a run keeps of a node so that it can be judged again: the keys report[], families[], cut and verdicts[] of the detail of
// its "validate" record.
void add_report(json::Object& detail, const validation::TestReport&, const validation::NodeJudgement&, const std::vector<std::string>& families,
                const std::string& cut, bool cut_fails, const std::string& profile_sha256);

// populations[], outliers[], outliers_in_all, positions[], shared[], dissents[].
json::Value to_json(const validation::FleetFindings&);
// The slow ones with what they share; nothing where there are none.
void render(const validation::FleetFindings&, term::Writer&);

}  // namespace kfab::commands

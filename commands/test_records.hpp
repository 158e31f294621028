#pragma once

#include <string>
#include <vector>

#include "store/store.hpp"
#include "validation/judge.hpp"

// How verdicts and figures of tests stand in the store, whether the node has just told them or an old run is judged again.
namespace kfab::commands {

// What every record of one node in one run has. `at` is the time of the measurement, not of the judgement.
struct RecordKey {
  std::string run_id, node;
  Timestamp at{};
};

// By what an accelerator was judged.
struct JudgedBy {
  std::string level;             // "standard", or with the families that ran: level_of()
  std::string criteria, criteria_sha256, profile_sha256;
};

// What the run counts as for its accelerators: the level where all families ran, "burnin at quick" where only some did; both
// may be "(shortened)".
std::string level_of(const std::string& level, const std::vector<std::string>& families);
// "name@version"; empty for none.
std::string criteria_name(const manifest::CriteriaSet*);

store::MeasurementRecord record_of(const RecordKey&, const validation::CriterionVerdict&);
store::AcceleratorRecord record_of(const RecordKey&, const JudgedBy&, const validation::AcceleratorVerdict&);

// Adds the figures of the report that no record in `found` holds yet, so that later criteria can judge them.
void add_other_figures(store::Findings& found, const RecordKey&, const validation::TestReport&);

// A report that is not whole may fail a node, and cannot pass it: `why` goes first among the reasons. Empty: it is whole. An accelerator
// whose tests had all come to their end before the cut keeps its verdict, unless the cut itself is a failure: one that hangs until
// the run's deadline costs no other its verdict.
void hold_to_cut(validation::NodeJudgement&, const validation::TestReport&, const std::string& why, bool fails);

}  // namespace kfab::commands

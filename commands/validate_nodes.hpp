#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "commands/agent_runs.hpp"
#include "commands/recorder.hpp"
#include "commands/validate.hpp"
#include "store/store.hpp"
#include "validation/plan.hpp"

// One node of a run of tests: what it is to be tested by, and what becomes of what its agent said. For tests that are
// watched and for those that go on by themselves alike.
namespace kfab::commands {

// What one node is to be tested by, and judged by.
struct NodeTest {
  const manifest::Profile* profile = nullptr;
  const manifest::CriteriaSet* criteria = nullptr;   // null: figures are recorded, nothing is judged
  std::shared_ptr<const manifest::CriteriaSet> own;  // holds it where no manifest does (manifest::criteria_of)
  validation::TestPlan plan;
  bool shortened = false;                            // less than the level asks for: does not stand for the level
};

// What the run counts as: a level, or that level cut short by --duration or --memory-cap, or with a load in steps or pulses,
// which readiness does not take for it.
std::string level_word(const NodeTest&);

// The tests of the session's nodes, in their order. Errors: unknown_reference for a node without a profile, and those of
// validation::plan_tests.
Result<std::vector<NodeTest>> plan_nodes(const SiteSession&, const ValidateOptions&);

// How many names of the session are of one machine (identity: name), of which each is tested with its part.
int names_sharing(const SiteSession&);

// By how many names, up to `most`, a machine must be shared for the tests of that node to have this digest; nothing where by no number,
// so that something else is different.
std::optional<int> share_of_digest(const SiteSession&, std::size_t at, const NodeTest&, const ValidateOptions&, const std::string& digest, int most);

// Why a report is not the whole of what was to be tested: it may still fail the node, but can no longer pass it.
struct Cut {
  std::string why;
  bool fails = false;   // and is a failure by itself: the node fell over under the tests
};

// In what is kept of a node: its tests were ended early, so that they came to no end. A fact that is read without the whole document.
inline constexpr std::string_view cut_short_mark = "cut_short";

// Of what the node is asked to do: equal tests have equal digests.
std::string digest_of(const NodeTest&);

// What a run has kept of a node that it tested ("validate", with the whole document), judged again as part of this one.
ValidatedNode kept_node(const NodeTest&, const store::NodeRecord&);

// Reads the reports of a run's nodes as they come, because the messages take several times what the report does.
class ReportReaders {
 public:
  explicit ReportReaders(std::size_t nodes) : readers_(nodes) {}
  std::function<bool(std::size_t index, const json::Value& message)> take() {
    return [this](std::size_t index, const json::Value& message) { return readers_[index].take(message); };
  }
  validation::TestReport finish(std::size_t index) { return std::exchange(readers_[index], validation::ReportReader()).finish(); }

 private:
  std::vector<validation::ReportReader> readers_;
};

// The verdict on what an agent said. A session that did not end well is a cut by itself.
ValidatedNode judged(const NodeTest&, const AgentRun&, validation::TestReport, std::optional<Cut> cut = {});
ValidatedNode judged(const NodeTest&, const AgentRun&, std::optional<Cut> cut = {});   // whose messages hold the report

// How long all of them take, with what each profile and level is given to do: batch by batch and window by window.
std::vector<PlannedTests> planned(const std::vector<NodeTest>&);
double predicted_total_s(const ReachOptions&, std::size_t nodes, double per_node_s);

// Judges again those nodes whose criteria compare them with their peers, once all figures of the run are there, and keeps what
// became of it. Digests are voted on. Reports that were put away are fetched one at a time.
// `places` are the manifest's nodes, in the same order.
validation::FleetFindings judge_beside_peers(std::vector<ValidatedNode>&, const std::vector<NodeTest>&, const std::vector<const manifest::Node*>& places, const std::string& run_id,
                                             const Env&, Recorder&);

// A node of this profile without a plan: by what it is judged.
NodeTest criteria_of(const manifest::Site&, const manifest::Profile*);

// What a run has kept of a node, with the verdicts of then: to be held beside those that come later.
ValidatedNode node_of_record(const NodeTest&, const store::NodeRecord&);

// What is kept of it: that the node was reached, its verdict, its accelerators', all figures, dated when they were measured.
// `run_id` is the run that is told of: the one that started the tests.
store::Findings findings_of(const Env&, const std::string& run_id, const NodeTest&, const AgentRun&, const ValidatedNode&);

}  // namespace kfab::commands

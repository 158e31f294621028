#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/words.hpp"
#include "json/value.hpp"
#include "manifest/model.hpp"
#include "validation/measurement.hpp"

// Verdicts: pure functions over what was measured, so that an old run can be judged again by new criteria.
namespace kfab::validation {

// One criterion held against one figure of one accelerator (or against the absence of it: `value` is absent).
struct CriterionVerdict {
  std::string criterion, metric, unit, test;
  std::string accelerator, device, link;
  std::optional<double> value, limit;
  manifest::Direction direction = manifest::Direction::min;   // on which side of the limit the good ones are
  Verdict verdict = Verdict::not_judged;
  bool beside_peers = false;   // of basis fleet_relative: known only when the peers are; the limit is in robust deviations
  bool counts = true;      // false: outside this run's families, or record_only; shown, not part of the whole
  std::string reason;      // why it is not pass, in words with numbers and the criterion's id; empty when pass
};

struct AcceleratorVerdict {
  std::string id, device, model;
  int index = 0;
  Verdict verdict = Verdict::not_judged;
  std::vector<std::string> reasons;       // why it is not pass, worst first
  std::string reason() const;             // the first, and how many more
};

// Everything about one node. `verdict` is the worst of its accelerators and of what concerns the node as a whole.
struct NodeJudgement {
  Verdict verdict = Verdict::not_judged;
  std::vector<std::string> reasons;
  std::vector<std::string> of_node;       // those of the reasons that are of no accelerator: one is missing, the report was cut
  Verdict of_node_verdict = Verdict::pass;   // by these alone
  std::vector<AcceleratorVerdict> accelerators;
  std::vector<CriterionVerdict> criteria;
  std::string reason() const;
};

// Median and median absolute deviation; absent for an empty sample.
struct Robust { double median, mad; };
std::optional<Robust> robust(std::vector<double> values);
// One robust standard deviation: 1.4826 MAD, and at least a sixtieth of the median, so that identical peers do not make noise
// a finding and three deviations are at least five percent (sound GPUs of a model differ by as much).
double spread_of(const Robust&);
// So many others of its model an accelerator needs beside it before it is compared with them.
inline constexpr std::size_t fewest_peers = 5;

// The figures of one metric over all accelerators of a model, itself among them: of six or more it cannot move the median far.
struct PeerFigures {
  Robust robust{};
  std::size_t accelerators = 0;
};
using Peers = std::map<std::string, PeerFigures>;      // by metric, for criteria of basis fleet_relative

struct JudgeInput {
  const manifest::Profile* profile = nullptr;          // null: nothing is expected and no nominal figure known
  const manifest::CriteriaSet* criteria = nullptr;     // null or empty: everything is not_judged, recorded only
  std::vector<std::string> families;                   // that were asked for; criteria on others do not count
  std::string device;                                  // that was asked for: "cpu" | "cuda"
  const Peers* peers = nullptr;        // null: not known yet, or not asked for
  const std::map<std::string, const Peers*>* peers_by_model = nullptr;   // takes the place of `peers`: of each accelerator's own model
};
// Rules beyond the criteria: a wrong bit is a fail whatever they say; a test that broke is a fail; one that did not
// run, whose checker was not proven, or that made no iteration is not_judged; fewer accelerators than
// profile.per_node is a fail of the node (not for device cpu); a truncated report, and one of which something was refused, is
// not_judged at best; figures of another device than the criterion's are never compared. Of a figure that each link or each
// family's tests have, one that is missing is not made good by the others. Rates of a burn-in whose load
// came in steps or pulses are held against no criterion, because those are meant for a steady load.
NodeJudgement judge(const JudgeInput&, const TestReport&);

// Profile::expect against a facts document, by dotted path: {"memory.total_gib": {"min": 64}, "cpu.architecture": {"equal":
// "x86_64"}}; min, max, equal, one_of. A fact that is missing or of another kind is not_judged. No expectation: pass
// with nothing to show would be a lie, so not_judged. Beside them, as "accelerators": how many of the profile's vendor are
// there, held against Profile::per_node.
struct FactVerdict {
  std::string path, expected, found;
  Verdict verdict = Verdict::not_judged;
  std::string reason;
};
struct InventoryJudgement {
  Verdict verdict = Verdict::not_judged;
  std::vector<FactVerdict> facts;
  std::string reason() const;
};
InventoryJudgement judge_inventory(const manifest::Profile&, const json::Value& facts);

}  // namespace kfab::validation

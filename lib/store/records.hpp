#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/words.hpp"
#include "json/value.hpp"

// What the store keeps, as plain values: readiness and reports read these and never the database.
namespace kfab::store {

struct RunRecord {
  std::string id, command;
  std::vector<std::string> argv;
  std::string site, manifest_sha256;
  std::string who;                            // user@host that ran it
  std::string kfab_version;
  Timestamp started_at{};
  std::optional<Timestamp> finished_at;       // absent: still running, or killed
  std::optional<Outcome> outcome;
};

// What one run found about one node in one step. `detail` is the step's own document: facts, plan, findings.
struct NodeRecord {
  std::string run_id, node;
  std::string board_serial;                   // empty when the node tells none
  std::string step;                           // "reach" "inventory" "provision" "validate"
  Timestamp at{};
  NodeOutcome outcome = NodeOutcome::unreachable;
  Verdict verdict = Verdict::not_judged;
  std::string reason;                         // why it is not pass, one line; empty when pass
  json::Value detail;
};

// The verdict on one accelerator (or on the CPU device of a node, which is never counted as an accelerator of
// another vendor).
struct AcceleratorRecord {
  std::string run_id, node;
  std::string id;                             // uuid or serial; for device cpu "cpu-<board serial or node>"
  std::string device;                         // cuda | cpu | vendor
  std::string model;
  int index = 0;
  Timestamp at{};
  Verdict verdict = Verdict::not_judged;
  std::string reason;
  std::string level;                          // quick standard soak, "memory+burnin at quick" of some families; with " (shortened)" where it was cut
  std::string criteria;                       // name@version
  std::string criteria_sha256;
  std::string profile_sha256;
};

// One figure as it was measured, and what was held against it.
struct MeasurementRecord {
  std::string run_id, node, accelerator_id, device;
  std::string test, metric, unit;             // "gemm_fp32", "burnin.gemm_fp32.tflops", "tflops"
  std::optional<double> value;                // absent: the test yielded none, and `detail` says why
  Timestamp at{};
  Verdict verdict = Verdict::not_judged;
  std::string criterion;                      // id; empty when only recorded
  std::optional<double> limit;
  std::string detail;
};

// What one run measured about an accelerator's links to others. Figures: health.nvlinks_active and its kin, absent where the
// accelerator did not tell; copies: those to and from its peers that a criterion judged.
struct LinkRecord {
  std::string run_id, node, accelerator_id;
  Timestamp at{};
  bool looked_at = false;                     // the run asked for the links' state
  std::optional<double> active, down, fabric_incomplete, fabric_unhealthy;
  int copies_judged = 0, copies_short = 0;    // short: of any verdict but pass
};

// The newest evidence about a site: per node and step the newest record, per accelerator the newest verdict with its
// measurements, and what its links were in the runs of these verdicts.
struct Evidence {
  std::vector<NodeRecord> nodes;
  std::vector<AcceleratorRecord> accelerators;
  std::vector<MeasurementRecord> measurements;
  std::vector<LinkRecord> links{};
};

}  // namespace kfab::store

#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "commands/agent_runs.hpp"
#include "commands/resumable.hpp"
#include "provision/node_plan.hpp"
#include "provision/reboot_proof.hpp"

// `kfab reboot`: nodes restarted in batches, each one proven by what answers afterwards and checked against its roles.
namespace kfab::commands {

struct RebootOptions {
  SiteOptions site;
  double timeout_s = 1800;   // from the order until the node has answered, settled
  bool check = true;         // afterwards hold the node against its declared state
  bool needed = false;       // only nodes that, asked now, say that a reboot is due
  std::optional<Resumable> resumed{};   // what this run goes on with: only what that left (resume.hpp)
  std::map<std::string, std::set<std::string>> to_apply{};   // of nodes, the resources that were not as declared before the reboot
};

struct RebootedNode {
  std::string name;
  Verdict verdict = Verdict::not_judged;        // pass: proven, and nothing would change; degraded: units have failed
  NodeOutcome outcome = NodeOutcome::unreachable;   // of the last session
  std::string phase, code, reason;              // empty when the verdict is pass
  bool ordered = false;                         // it was told to reboot, or may have been
  std::optional<provision::Boot> before{}, after{};
  provision::RebootProof proof{};
  std::optional<double> back_after_s{};         // from the order until the proof; absent without one
  std::optional<provision::NodePlan> check{};   // absent when it was not made
  int to_apply = 0;                             // of its resources that differ: those that did so before the reboot
};

struct RebootResult {
  std::vector<RebootedNode> nodes;   // in the order of the manifest; those of which it was not to be learned whether a
                                     // reboot is due come last
  FleetSummary summary;
  std::size_t not_needed = 0;        // nodes that were left alone, because no reboot is due there
  std::map<std::string, std::string> next{};   // by node, the run that stopped for the reboot and is to be resumed; empty: none did
  std::string manifest{}, selection{};         // as they are typed in commands that go on from here
};

// counts{pass, degraded, fail, not_judged}, failures{}, cost{}, not_needed, nodes[]: node, verdict, outcome, phase, code, reason,
// ordered, boot_id_before, boot_id_after, back_after_s, proofs{boot_id_changed, started_after_order, same_machine,
// same_host_key}, system_state, failed_units[], check{complete, changes, failed, to_apply, resources} or null.
json::Value to_json(const RebootResult&);
void render(const RebootResult&, term::Writer&);

// Asks first. One node, then 2, 4, 8, ... unless the options say otherwise: the next batch begins when every node of the
// one before is back and checked. This machine (`transport: local`) is never rebooted. Before a node is told to reboot it is
// kept which boot it ran, so that a run that was cut is gone on with and reboots no node a second time.
CommandOutput run_reboot(const RebootOptions&, Env&);

}  // namespace kfab::commands

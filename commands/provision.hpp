#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "commands/agent_runs.hpp"
#include "commands/reboot.hpp"
#include "commands/resumable.hpp"
#include "provision/node_plan.hpp"

// `kfab plan` and `kfab provision`: the same request in two modes, so that what is applied is what was shown.
namespace kfab::commands {

struct ProvisionOptions {
  SiteOptions site;              // its manifest may be a plan file (provision/plan_file.hpp)
  provision::Mode mode = provision::Mode::plan;
  bool exit_code = false;        // plan: drift is the answer no (exit 1), for cron and CI
  double timeout_s = 3600;       // of one node
  std::string out_file{};        // plan: where the plan is saved
  std::string manifest{};        // with a plan file: the manifest it was made from, where that has moved
  bool unattended = false;       // provision: apply without a review (--yes); a plan file was reviewed before
  bool reboot = false;           // provision: reboot nodes where a role asks for it, and go on behind it (provision_reboots.hpp)
  double reboot_timeout_s = 1800;   // of one reboot, from the order until the node has answered, settled
  bool show_review = false;      // write the plan to `out` before asking: the output is for people
  std::optional<Resumable> resumed{};   // what this run goes on with: only what that left (resume.hpp)
};

// A reboot in the middle of a run: for which resource, null where a run before this one knew, and what came of it.
struct NodeReboot {
  std::string resource;
  RebootedNode result;
};

struct ProvisionedNode {
  json::Object row;              // node, outcome, phase, code, reason, duration_s: how the session ended
  std::string name;
  NodeOutcome outcome = NodeOutcome::unreachable;
  std::string reason;            // why the session was not ok, without the node's name; empty when it was
  provision::NodePlan plan;      // of a node that never answered: nothing reported
  std::vector<NodeReboot> reboots{};
};

struct ProvisionResult {
  provision::Mode mode = provision::Mode::plan;
  std::vector<ProvisionedNode> nodes;   // in the order of the manifest
  OutcomeCounts counts;
  FleetSummary summary;
  int changes = 0;               // resources that would change, or were changed, over all nodes
  std::map<std::string, std::size_t> turns{};   // what only so many nodes do at the same time (provision::Turn)
  std::vector<std::string> undone_roles{};   // of `kfab undo`: what was taken back; changes lead back then, and there are no turns
  std::string saved{};           // where the plan was saved; empty: nowhere
  std::string manifest{}, selection{}, run_id{};   // as they are typed in commands that go on from here
};

// mode, changes, counts{}, failures{}, cost{}, turns[]{name, limit}, nodes[]: the row's keys, the plan's (provision/node_plan.hpp), and
// reboots[]{resource, verdict, code, reason, boot_id_before, boot_id_after, back_after_s}.
json::Value to_json(const ProvisionResult&);
void render(const ProvisionResult&, term::Writer&);   // nodes with the same changes once, with their diffs
// "128 nodes: the same 14 changes", of a plan.
std::string folded_changes(const ProvisionResult&);

// A manifest is planned; for provision the plan is shown, and applied as it was shown once that is agreed to. Unattended
// the nodes are brought into the declared state in one go, each over one connection. Of a plan file, plan shows what it
// holds and reaches nobody; provision applies it, and refuses each node that has drifted since.
CommandOutput run_provision(const ProvisionOptions&, Env&);

}  // namespace kfab::commands

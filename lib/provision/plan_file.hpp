#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.hpp"
#include "base/result.hpp"
#include "json/value.hpp"
#include "provision/desired_state.hpp"
#include "provision/node_plan.hpp"
#include "provision/secrets.hpp"

// A plan as it is saved, reviewed and applied. A file of JSON lines: the header, the desired states and what was found
// (each once, however many nodes have it), one line per node, and as the last the SHA-256 of all bytes before it.
namespace kfab::provision {

// One node of a plan. `desired` and `found` are digests of states and findings in the file.
struct PlannedNode {
  std::string node;
  std::string outcome, phase, code, reason;   // how planning ended there; code and reason empty when all went well
  std::string desired;
  std::string found;                          // empty: it was not planned to its end, and is not applied
  json::Value board_serial, machine_id;       // of the machine that answered; null where it has none
};

struct PlanFile {
  std::string kfab_version, created_by, run_id;
  Timestamp created_at{};
  std::string site, manifest, manifest_sha256;   // manifest: its absolute path; empty when it came from standard input
  std::map<std::string, DesiredState> states;    // by sha256; `node` is not set
  std::map<std::string, std::vector<ResourceRecord>> found;
  std::map<std::string, std::string> secrets;    // secret_digest(run_id, value) of those that stand in the states, by id
  std::vector<PlannedNode> nodes;
  std::map<std::string, std::size_t, std::less<>> places;   // of nodes, by name
  std::string sha256;                            // of the file, when it was read or written

  const PlannedNode* find(std::string_view node) const;
  // The judged plan of one of its nodes, as it was when the file was made.
  NodePlan plan_of(const PlannedNode&) const;
};

// Adds what planning a node came to. A plan that is not complete leaves the node without a found state.
void add_node(PlanFile&, const DesiredState&, const NodePlan&, PlannedNode how_it_ended);

// Whether the secrets are those of the plan; secret_changed otherwise, naming the variable.
Status check_secrets(const PlanFile&, const SecretSources&, const SecretValues&);

// What the agent holds the node against before it applies the plan (agent/provision_task.hpp, "expect").
json::Value expectation(const PlanFile&, const PlannedNode&);

// The digest over what one node's plan rests on: its identity and everything that was found there.
std::string facts_sha256(const PlannedNode&);

// The whole file; sets `sha256`.
std::string to_text(PlanFile&);

// Errors: plan_file_damaged (not whole, changed, or no plan at all), plan_file_newer.
Result<PlanFile> read_plan_file(std::string_view text, std::string_view name);

// Whether a text is meant to be a plan file, by its first line. A manifest never is.
bool is_plan_file(std::string_view text);

}  // namespace kfab::provision

#pragma once

#include <string>
#include <vector>

#include "json/value.hpp"
#include "provision/node_plan.hpp"

// Taking back what roles did on a node: what is asked of the agent (agent/undo_task.hpp), and what its answer means.
namespace kfab::provision {

// In whose name a node is provisioned, and undone: machines that several names stand for keep them apart.
std::string owner_of(const std::string& site, const std::string& node);

// The members of the agent's request for task "undo" beside those of agent::request_header.
json::Object undo_request(const std::vector<std::string>& roles, const std::string& owner, Mode);

// Tells runs that undo the same apart from others: a digest of the roles, in any order.
std::string undo_sha256(std::vector<std::string> roles);

// As judge() of node_plan.hpp; the resources are those that the agent names first. Verdict: fail when any could not be put back
// or is not as kfab left it; not_judged when the answer is not whole, or something would change; else pass. What can never be
// taken back (skipped, undo_impossible) is told and is no failure.
NodePlan judge_undo(const std::string& node, const std::vector<std::string>& roles, Mode, const std::vector<json::Value>& messages);

// How many resources of a node can never be taken back.
int impossible(const NodePlan&);

}  // namespace kfab::provision

#include "fleet/relay_plan.hpp"

#include <algorithm>
#include <cctype>
#include <map>
#include <utility>

namespace kfab::fleet {

RelayPlan::RelayPlan(const std::vector<ssh::Target>& targets) : rack_of_(targets.size(), no_rack), machine_of_(targets.size()) {
  std::map<std::string, std::vector<std::size_t>> members;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (!targets[i].rack.empty() && is_plain_host(targets[i].address)) members[targets[i].rack].push_back(i);
  }
  std::size_t racks = no_rack;
  for (const auto& [name, nodes] : members) {
    if (nodes.size() < smallest_rack) continue;
    ++racks;
    for (const std::size_t node : nodes) rack_of_[node] = racks;
  }
}

RelayPlan::Way RelayPlan::ask(std::size_t node, const std::string& machine) {
  if (rack_of_[node] == no_rack) return Way::direct;
  machine_of_[node] = machine;
  Rack& its = rack(node);
  switch (its.state) {
    case State::idle:
      its.state = State::leading;
      its.leader = node;
      return Way::direct;
    case State::leading:
    case State::starting: its.waiting.push_back(node); return Way::wait;
    case State::serving: return Way::relay;
    case State::off: break;
  }
  return Way::direct;
}

const RelayEndpoint& RelayPlan::endpoint(std::size_t node) const { return racks_.at({rack_of_[node], machine_of_[node]}).endpoint; }

bool RelayPlan::stored(std::size_t node) {
  Rack& its = rack(node);
  if (its.state != State::leading || its.leader != node) return false;
  its.state = State::starting;
  return true;
}

void RelayPlan::serving(std::size_t node, RelayEndpoint endpoint) {
  Rack& its = rack(node);
  if (its.state != State::starting || its.leader != node) return;
  its.state = State::serving;
  its.endpoint = std::move(endpoint);
  release(its);
}

void RelayPlan::failed(std::size_t node) {
  Rack& its = rack(node);
  its.state = State::off;
  release(its);
}

void RelayPlan::gone(std::size_t node) {
  Rack& its = rack(node);
  if (its.state != State::leading || its.leader != node) return;
  its.state = State::idle;
  release(its);
}

void RelayPlan::release(Rack& its) {
  released_.insert(released_.end(), its.waiting.begin(), its.waiting.end());
  its.waiting.clear();
}

std::vector<std::size_t> RelayPlan::take_released() { return std::exchange(released_, {}); }

bool is_plain_host(const std::string& host) {
  constexpr std::size_t longest = 255;
  return !host.empty() && host.size() <= longest && host.front() != '-' &&
         std::all_of(host.begin(), host.end(), [](unsigned char c) { return std::isalnum(c) != 0 || c == '.' || c == ':' || c == '-' || c == '_'; });
}

}  // namespace kfab::fleet

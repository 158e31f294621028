#include "fleet/admission.hpp"

#include <algorithm>
#include <limits>

namespace kfab::fleet {

Admission::Admission(const std::vector<ssh::Target>& targets, std::size_t most)
    : most_(std::max<std::size_t>(most, 1)), window_(static_cast<double>(std::min(most_, first_window))), nodes_(targets.size()), groups_(1) {
  // Only what several nodes share is a group: a limit of ten for one node says nothing.
  std::unordered_map<std::string, std::vector<std::size_t>> by_server, by_jump;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const ssh::Target& target = targets[i];
    if (target.transport == ssh::TransportKind::local) {
      nodes_[i].local = true;
      continue;
    }
    std::string way;
    for (const auto& hop : target.via) way += hop->address + ":" + std::to_string(hop->port) + ">";
    if (!way.empty()) by_jump[way].push_back(i);
    by_server[way + target.address + ":" + std::to_string(target.port)].push_back(i);
  }
  const auto number = [this](const auto& shared, int slot, double limit) {
    for (const auto& [name, members] : shared) {
      if (members.size() < 2) continue;
      groups_.push_back({});
      groups_.back().limit = limit;
      for (const std::size_t member : members) nodes_[member].groups[slot] = static_cast<std::uint32_t>(groups_.size() - 1);
    }
  };
  number(by_server, 0, first_group_limit);
  // A jump host itself is logged in to once for all; what it limits is how much it forwards.
  number(by_jump, 1, static_cast<double>(first_window));
}

void Admission::look(Time now) {
  now_ = now;
  std::size_t gone = 0;
  for (; gone < entering_.size(); ++gone) {
    Node& node = nodes_[entering_[gone]];
    if (node.stage == Stage::entering && !node.slow && now - node.since < slow_after) break;
    if (node.stage != Stage::entering || node.slow) continue;
    node.slow = true;
    ++slow_;
  }
  entering_.erase(entering_.begin(), entering_.begin() + static_cast<std::ptrdiff_t>(gone));
}

bool Admission::room() const {
  const std::size_t excused = std::min(slow_, most_);
  return at_work_ - excused < window();
}

bool Admission::may_start(std::size_t index) const {
  if (!room()) return false;
  for (const std::uint32_t group : nodes_[index].groups) {
    if (group != 0 && static_cast<double>(groups_[group].entering) + 1 > std::max(1.0, groups_[group].limit)) return false;
  }
  return true;
}

void Admission::started(std::size_t index) {
  Node& node = nodes_[index];
  ++at_work_;
  if (node.local) {
    node.stage = Stage::logged_in;
    window_ = std::min(window_ + 1, static_cast<double>(most_));
    return;
  }
  node.stage = Stage::entering;
  node.since = now_;
  entering_.push_back(index);
  for (const std::uint32_t group : node.groups) {
    if (group != 0) ++groups_[group].entering;
  }
}

void Admission::entered(std::size_t index, ssh::Phase phase) {
  Node& node = nodes_[index];
  if (node.stage != Stage::entering || phase < ssh::Phase::channel) return;
  node.stage = Stage::logged_in;
  leave_slow_lane(node);
  window_ = std::min(window_ + 1, static_cast<double>(most_));
  for (const std::uint32_t number : node.groups) {
    if (number == 0) continue;
    Group& group = groups_[number];
    --group.entering;
    group.limit = std::min(group.limit + (group.halved ? 1 / std::max(1.0, group.limit) : 1.0), static_cast<double>(most_));
  }
}

void Admission::hung_up(std::size_t index) {
  for (const std::uint32_t number : nodes_[index].groups) {
    if (number == 0) continue;
    Group& group = groups_[number];
    if (group.halved && now_ - group.halved_at < one_halving_per) continue;
    group.halved = true;
    group.halved_at = now_;
    group.limit = std::max(1.0, std::min(group.limit, static_cast<double>(std::max<std::size_t>(group.entering, 1))) / 2);
  }
}

void Admission::ended(std::size_t index) {
  Node& node = nodes_[index];
  if (node.stage == Stage::entering) {
    for (const std::uint32_t number : node.groups) {
      if (number != 0) --groups_[number].entering;
    }
  }
  leave_slow_lane(node);
  node.stage = Stage::idle;
  --at_work_;
}

void Admission::leave_slow_lane(Node& node) {
  if (!node.slow) return;
  node.slow = false;
  --slow_;
}

double Admission::group_limit(std::size_t index) const {
  double limit = std::numeric_limits<double>::infinity();
  for (const std::uint32_t group : nodes_[index].groups) {
    if (group != 0) limit = std::min(limit, groups_[group].limit);
  }
  return limit;
}

}  // namespace kfab::fleet

#include "readiness/plan.hpp"

#include <algorithm>

#include "readiness/node_states.hpp"

namespace kfab::readiness {
namespace {

// Tranches in an order in which each comes after what it depends on; a circle is broken anywhere.
void visit(const Plan& plan, const manifest::Tranche& tranche, std::vector<const manifest::Tranche*>& done,
           std::vector<const manifest::Tranche*>& open) {
  const auto in = [&](const auto& list) { return std::find(list.begin(), list.end(), &tranche) != list.end(); };
  if (in(done) || in(open)) return;
  open.push_back(&tranche);
  for (const auto& name : tranche.depends_on)
    if (const auto* needed = plan.find(name)) visit(plan, *needed, done, open);
  done.push_back(&tranche);
}

}  // namespace

Plan::Plan(const std::vector<manifest::Tranche>& tranches, const std::map<std::string, manifest::Profile>& profiles,
           const std::vector<manifest::Node>& nodes)
    : tranches_(tranches), profiles_(profiles) {
  for (const auto& node : nodes) ++declared_[node.tranche][node.profile];
  std::vector<const manifest::Tranche*> order, open;
  for (const auto& tranche : tranches_) visit(*this, tranche, order, open);
  for (const auto* tranche : order) shares_[tranche->name] = compute(*tranche);
}

const manifest::Tranche* Plan::find(std::string_view name) const {
  const auto found = std::find_if(tranches_.begin(), tranches_.end(), [&](const auto& tranche) { return tranche.name == name; });
  return found == tranches_.end() ? nullptr : &*found;
}

const manifest::Profile* Plan::profile(std::string_view name) const {
  const auto found = profiles_.find(std::string(name));
  return found == profiles_.end() ? nullptr : &found->second;
}

std::vector<const manifest::Profile*> Plan::all_profiles() const {
  std::vector<const manifest::Profile*> all;
  for (const auto& [name, found] : profiles_) all.push_back(&found);
  return all;
}

const std::vector<Plan::Share>& Plan::shares(const manifest::Tranche& tranche) const {
  static const std::vector<Share> none;
  const auto found = shares_.find(tranche.name);
  return found == shares_.end() ? none : found->second;
}

std::vector<const manifest::Tranche*> Plan::with_dependencies(const manifest::Tranche& tranche) const {
  std::vector<const manifest::Tranche*> done, open;
  visit(*this, tranche, done, open);
  return done;
}

Plan::Amount Plan::amount(const manifest::Target& target) const {
  Amount amount{target.nodes.get(), target.accelerators.get()};
  const auto per_node = accelerators_of(profile(target.profile));
  if (per_node > 0) {
    if (!amount.nodes && amount.accelerators) amount.nodes = (*amount.accelerators + per_node - 1) / per_node;
    if (!amount.accelerators && amount.nodes) amount.accelerators = *amount.nodes * per_node;
  }
  return amount;
}

std::vector<Plan::Share> Plan::compute(const manifest::Tranche& tranche) {
  std::vector<Share> shares;
  const auto share_of = [&](const std::string& name) -> Share& {
    const auto found = std::find_if(shares.begin(), shares.end(), [&](const Share& share) { return share.profile == name; });
    return found == shares.end() ? shares.emplace_back(Share{name, {}, {}, 0}) : *found;
  };
  for (const auto& target : tranche.targets) {
    auto wanted = amount(target);
    if (target.cumulative) {
      for (const auto* earlier : with_dependencies(tranche)) {
        if (earlier == &tranche) continue;
        for (const auto& share : shares_[earlier->name]) {
          if (!target.profile.empty() && share.profile != target.profile) continue;   // a count without a chip is of all chips
          if (wanted.nodes) *wanted.nodes = std::max<std::int64_t>(0, *wanted.nodes - share.nodes.value_or(0));
          if (wanted.accelerators) *wanted.accelerators = std::max<std::int64_t>(0, *wanted.accelerators - share.accelerators.value_or(0));
        }
      }
    }
    Share& share = share_of(target.profile);
    if (wanted.nodes) share.nodes = share.nodes.value_or(0) + *wanted.nodes;
    if (wanted.accelerators) share.accelerators = share.accelerators.value_or(0) + *wanted.accelerators;
  }
  const auto declared = declared_.find(tranche.name);
  if (declared == declared_.end()) return shares;
  for (const auto& [name, count] : declared->second) {
    Share& share = share_of(std::string(name));
    share.declared_nodes = count;
    share.nodes = std::max(share.nodes.value_or(0), count);
    if (const auto per_node = accelerators_of(profile(name)); per_node > 0)
      share.accelerators = std::max(share.accelerators.value_or(0), count * per_node);
  }
  return shares;
}

}  // namespace kfab::readiness

#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "manifest/model.hpp"

namespace kfab::readiness {

// The tranches of one document with what they add, cumulative figures taken apart.
class Plan {
 public:
  Plan(const std::vector<manifest::Tranche>& tranches, const std::map<std::string, manifest::Profile>& profiles,
       const std::vector<manifest::Node>& nodes);

  // What a tranche adds of one profile. Absent: the document does not say.
  struct Share {
    std::string profile;                    // empty: counts without a chip
    std::optional<std::int64_t> nodes, accelerators;
    std::int64_t declared_nodes = 0;
  };
  // One row per profile of its targets and of its declared nodes. Nodes and accelerators are derived from each other by
  // per_node; where more nodes are declared than the target needs, those count.
  const std::vector<Share>& shares(const manifest::Tranche&) const;
  // The tranche and all that it depends on, directly or not. A circle ends where it began.
  std::vector<const manifest::Tranche*> with_dependencies(const manifest::Tranche&) const;

  const manifest::Tranche* find(std::string_view name) const;
  const manifest::Profile* profile(std::string_view name) const;
  std::vector<const manifest::Profile*> all_profiles() const;
  const std::vector<manifest::Tranche>& tranches() const { return tranches_; }

  // What a target asks for, in both units where per_node is known. Not taken apart: a cumulative one is the total.
  struct Amount { std::optional<std::int64_t> nodes, accelerators; };
  Amount amount(const manifest::Target&) const;

 private:
  std::vector<Share> compute(const manifest::Tranche&);
  const std::vector<manifest::Tranche>& tranches_;
  const std::map<std::string, manifest::Profile>& profiles_;
  std::map<std::string_view, std::map<std::string_view, std::int64_t>> declared_;   // tranche -> profile -> nodes
  std::map<std::string_view, std::vector<Share>> shares_;
};

}  // namespace kfab::readiness

#pragma once

#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "store/records.hpp"

namespace kfab::readiness {

// What is known of the links of one accelerator to the others of its node: the newest look at them, and the newest copies over
// them that were judged. Null where there was none.
struct LinkEvidence {
  const store::LinkRecord* looked = nullptr;
  const store::LinkRecord* copied = nullptr;
};

// The evidence about one node, by step. Pointers into the Evidence, null where there is none.
struct NodeEvidence {
  const store::NodeRecord* inventory = nullptr;
  const store::NodeRecord* provision = nullptr;
  const store::NodeRecord* validate = nullptr;
  const store::NodeRecord* newest = nullptr;              // of all steps
  std::vector<const store::AcceleratorRecord*> accelerators;
  std::unordered_map<std::string_view, LinkEvidence> links;   // by accelerator
  std::optional<double> measured_kw;                      // of the whole node
  std::optional<double> measured_accelerators_kw;
};

// Evidence by node name. Of several records about one step the newest counts, so that it does not matter whether the
// caller has filtered. An accelerator that was seen in two nodes counts in the one that reported it last; CPU devices
// are of their node, because several names may stand for one machine.
//
// Power is read from measurements in watts: of a node where the metric's last part is "node_power_w", of an
// accelerator where it is "power_w". Of several figures of one thing the largest counts.
class EvidenceIndex {
 public:
  explicit EvidenceIndex(const store::Evidence&);
  const NodeEvidence* find(std::string_view node) const;
  const std::unordered_map<std::string_view, NodeEvidence>& nodes() const { return nodes_; }

 private:
  std::unordered_map<std::string_view, NodeEvidence> nodes_;
};

}  // namespace kfab::readiness

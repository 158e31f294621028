#include "readiness/evidence_index.hpp"

#include <algorithm>
#include <map>
#include <utility>

namespace kfab::readiness {
namespace {

void keep_newer(const store::NodeRecord*& slot, const store::NodeRecord& record) {
  if (!slot || slot->at <= record.at) slot = &record;
}

std::string_view last_part(std::string_view metric) {
  const auto dot = metric.rfind('.');
  return dot == std::string_view::npos ? metric : metric.substr(dot + 1);
}

struct IdHash {
  std::size_t operator()(const std::pair<std::string_view, std::string_view>& key) const {
    return std::hash<std::string_view>{}(key.first) * 31 + std::hash<std::string_view>{}(key.second);
  }
};

}  // namespace

EvidenceIndex::EvidenceIndex(const store::Evidence& evidence) {
  nodes_.reserve(evidence.nodes.size() / 2 + 1);
  for (const auto& record : evidence.nodes) {
    NodeEvidence& node = nodes_[record.node];
    if (record.step == "inventory") keep_newer(node.inventory, record);
    if (record.step == "provision") keep_newer(node.provision, record);
    if (record.step == "validate") keep_newer(node.validate, record);
    keep_newer(node.newest, record);
  }

  // (node, id) for CPU devices, ("", id) for accelerators, which are one thing wherever they sit.
  std::unordered_map<std::pair<std::string_view, std::string_view>, const store::AcceleratorRecord*, IdHash> newest;
  newest.reserve(evidence.accelerators.size());
  for (const auto& record : evidence.accelerators) {
    const std::string_view scope = record.device == "cpu" ? std::string_view(record.node) : std::string_view();
    const auto [place, fresh] = newest.try_emplace({scope, record.id}, &record);
    if (!fresh && place->second->at <= record.at) place->second = &record;
  }
  for (const auto& record : evidence.accelerators) {
    const std::string_view scope = record.device == "cpu" ? std::string_view(record.node) : std::string_view();
    // Older records of the same accelerator in the same node stay: they may hold a higher level than the newest.
    if (newest.find({scope, record.id})->second->node == record.node) nodes_[record.node].accelerators.push_back(&record);
  }

  for (const auto& record : evidence.links) {
    LinkEvidence& links = nodes_[record.node].links[record.accelerator_id];
    if (record.looked_at && (!links.looked || links.looked->at <= record.at)) links.looked = &record;
    if (record.copies_judged > 0 && (!links.copied || links.copied->at <= record.at)) links.copied = &record;
  }

  std::map<std::pair<std::string_view, std::string_view>, double> watts;   // (node, accelerator)
  for (const auto& figure : evidence.measurements) {
    if (!figure.value || figure.unit != "w") continue;
    const std::string_view name = last_part(figure.metric);
    const bool whole_node = name == "node_power_w";
    if (!whole_node && (name != "power_w" || figure.accelerator_id.empty() || figure.device == "cpu")) continue;
    auto& most = watts[{figure.node, whole_node ? std::string_view() : std::string_view(figure.accelerator_id)}];
    most = std::max(most, *figure.value);
  }
  for (const auto& [key, value] : watts) {
    NodeEvidence& node = nodes_[key.first];
    auto& sum = key.second.empty() ? node.measured_kw : node.measured_accelerators_kw;
    sum = sum.value_or(0) + value / 1000;
  }
}

const NodeEvidence* EvidenceIndex::find(std::string_view node) const {
  const auto found = nodes_.find(node);
  return found == nodes_.end() ? nullptr : &found->second;
}

}  // namespace kfab::readiness

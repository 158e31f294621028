#pragma once

#include <string>
#include <vector>

#include <fmt/format.h>

#include "readiness/node_states.hpp"
#include "readiness/readiness.hpp"

// Small sites and evidence by hand: a site of one tranche with H200 nodes of eight, all of which passed everything
// yesterday, from which each test takes away or spoils what it is about.
namespace kfab::readiness::fixture {

template <class T>
manifest::Stated<T> known(T value, std::string source = {}) {
  manifest::Stated<T> stated;
  stated.state = manifest::Stated<T>::State::known;
  stated.value = value;
  stated.source = std::move(source);
  return stated;
}
template <class T>
manifest::Stated<T> unknown() {
  manifest::Stated<T> stated;
  stated.state = manifest::Stated<T>::State::unknown;
  return stated;
}
inline Date day(std::string_view text) { return *parse_date(text); }
inline Timestamp at(std::string_view text) { return *parse_rfc3339(text); }

inline const Timestamp now = at("2026-11-21T12:00:00Z");
inline const Timestamp yesterday = at("2026-11-20T12:00:00Z");
inline Context context() { return Context{now, {}}; }

inline manifest::Profile profile(std::string name, std::string vendor, std::string accelerator, int per_node, double nameplate_kw) {
  manifest::Profile p;
  p.name = std::move(name);
  p.vendor = std::move(vendor);
  p.accelerator = std::move(accelerator);
  p.device = p.vendor == "nvidia" ? "cuda" : p.vendor == "cpu" ? "cpu" : "vendor";
  if (per_node > 0) p.per_node = known(per_node);
  if (nameplate_kw > 0) p.nameplate_kw = known(nameplate_kw);
  p.criteria = "c-" + p.name;
  p.roles = {"base"};
  p.expect = json::Object{{"os.arch", json::Object{{"equal", "x86_64"}}}};
  p.sha256 = "profile-" + p.name;
  return p;
}

inline void add_profile(manifest::Site& site, manifest::Profile p) {
  manifest::CriteriaSet criteria;
  criteria.name = p.criteria;
  criteria.version = "1";
  criteria.sha256 = "criteria-" + p.name;
  site.criteria[p.criteria] = criteria;
  site.profiles[p.name] = std::move(p);
}

inline void add_nodes(manifest::Site& site, const std::string& tranche, const std::string& profile_name, int count, const std::string& prefix) {
  manifest::NodeGroup group;
  group.name = prefix;
  group.profile = profile_name;
  group.tranche = tranche;
  for (int i = 1; i <= count; ++i) {
    manifest::Node node;
    node.name = fmt::format("{}{:05}", prefix, i);
    node.group = prefix;
    node.profile = profile_name;
    node.tranche = tranche;
    node.rack = fmt::format("r{:03}", (i - 1) / 4 + 1);
    site.nodes.push_back(node);
    group.node_names.push_back(node.name);
  }
  site.groups.push_back(std::move(group));
}

inline manifest::Tranche tranche(std::string name, std::string due = "2027-11-30") {
  manifest::Tranche t;
  t.name = std::move(name);
  if (!due.empty()) t.due = known(day(due));
  t.ready_when.level = "standard";
  return t;
}

inline manifest::Site site(int nodes) {
  manifest::Site s;
  s.metadata.name = "hall";
  s.metadata.as_of = "2026-11-01";
  s.sha256 = "site-sha";
  add_profile(s, profile("h200x8", "nvidia", "H200", 8, 10.2));
  s.tranches.push_back(tranche("p1"));
  add_nodes(s, "p1", "h200x8", nodes, "n");
  return s;
}

inline store::NodeRecord step(const manifest::Node& node, std::string name, Timestamp when = yesterday) {
  store::NodeRecord r;
  r.run_id = "run-1";
  r.node = node.name;
  r.board_serial = "board-" + node.name;
  r.step = std::move(name);
  r.at = when;
  r.outcome = NodeOutcome::ok;
  r.verdict = Verdict::pass;
  return r;
}

inline store::AcceleratorRecord accelerator(const manifest::Site& s, const manifest::Node& node, int index, Timestamp when = yesterday) {
  const auto& p = s.profiles.at(node.profile);
  store::AcceleratorRecord r;
  r.run_id = "run-1";
  r.node = node.name;
  r.id = fmt::format("GPU-{}-{}", node.name, index);
  r.device = p.device;
  r.model = "NVIDIA " + p.accelerator;
  r.index = index;
  r.at = when;
  r.verdict = Verdict::pass;
  r.level = "standard";
  r.criteria = p.criteria + "@1";
  r.criteria_sha256 = s.criteria.at(p.criteria).sha256;
  r.profile_sha256 = p.sha256;
  return r;
}

// Everything passed on every node.
inline store::Evidence evidence(const manifest::Site& s, Timestamp when = yesterday) {
  store::Evidence e;
  for (const auto& node : s.nodes) {
    for (const char* name : {"reach", "inventory", "provision", "validate"}) e.nodes.push_back(step(node, name, when));
    const auto& p = s.profiles.at(node.profile);
    for (int i = 0; i < (p.per_node ? *p.per_node : 1); ++i) e.accelerators.push_back(accelerator(s, node, i, when));
  }
  return e;
}

inline store::NodeRecord& record(store::Evidence& e, const std::string& node, std::string_view step_name) {
  for (auto& r : e.nodes)
    if (r.node == node && r.step == step_name) return r;
  return e.nodes.front();
}

inline const Gate* gate(const TrancheStatus& t, std::string_view id) {
  for (const auto& g : t.gates)
    if (g.id == id) return &g;
  return nullptr;
}
inline Verdict verdict_of(const TrancheStatus& t, std::string_view id) {
  const auto* g = gate(t, id);
  return g ? g->verdict : Verdict::not_judged;
}
// What becomes of the first node.
inline NodeStatus first(const manifest::Site& s, const store::Evidence& e, const Context& c = context()) {
  const EvidenceIndex index(e);
  return judge_nodes(s, index, c).front();
}
inline bool has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

}  // namespace kfab::readiness::fixture

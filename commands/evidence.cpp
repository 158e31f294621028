#include "commands/evidence.hpp"

#include <system_error>
#include <unordered_map>

#include <fmt/format.h>

#include "base/codes/commands.hpp"
#include "base/codes/store.hpp"
#include "base/result.hpp"
#include "base/text.hpp"
#include "commands/kept_records.hpp"
#include "commands/left_work.hpp"
#include "commands/site_session.hpp"
#include "provision/desired_state.hpp"

namespace kfab::commands {
namespace {

std::vector<const manifest::Site*> sites_of(const manifest::Loaded& loaded) {
  std::vector<const manifest::Site*> sites;
  if (loaded.site() != nullptr) sites.push_back(loaded.site());
  if (loaded.program() != nullptr)
    for (const manifest::Site& site : loaded.program()->sites) sites.push_back(&site);
  return sites;
}

// The digest of what each provisioned node shall be today. A node whose state cannot be worked out gets one that no
// record has, because then nobody can say that it is provisioned.
void add_desired(const manifest::Site& site, const store::Evidence& evidence, const std::map<std::string, json::Value>& facts, std::map<std::string, std::string>& to) {
  std::unordered_map<std::string_view, const manifest::Node*> by_name;
  for (const manifest::Node& node : site.nodes) by_name.emplace(node.name, &node);
  for (const store::NodeRecord& record : evidence.nodes) {
    const auto node = record.step == "provision" ? by_name.find(record.node) : by_name.end();
    if (node == by_name.end()) continue;
    const auto known = facts.find(record.node);   // those that provision went by
    const provision::DesiredStateResult desired = provision::desired_state(site, *node->second, known == facts.end() ? json::Value() : known->second);
    to[record.node] = desired.state ? desired.state->sha256 : std::string("none");
  }
}

}  // namespace

std::map<std::string, json::Value> facts_of(store::Evidence evidence) {
  std::map<std::string, json::Value> facts;
  for (auto& record : evidence.nodes)
    if (record.step == "inventory") facts[record.node] = record.detail["facts"];
  return facts;
}

std::variant<Grounds, CommandOutput> read_grounds(const std::string& path, Env& env, store::EvidenceScope scope) {
  Grounds grounds;
  grounds.loaded = load_manifest(path, env);
  if (has_errors(grounds.loaded.diagnostics)) return not_started(grounds.loaded.diagnostics, grounds.loaded.sources);
  const auto sites = sites_of(grounds.loaded);
  if (grounds.loaded.site() == nullptr && grounds.loaded.program() == nullptr)
    return not_started(error(code::not_a_site, "readiness is of a Site or a Program, and '" + path + "' is neither"));
  grounds.context.now = env.clock.now();
  const auto there = has_records(env);
  if (!there) return not_started(there.error());
  if (!*there) {
    if (!env.state_dir.empty()) grounds.loaded.diagnostics.push_back(no_records(env));
    return grounds;
  }
  auto opened = store::Store::open(env.state_dir);
  if (!opened) return not_started(std::move(opened).error());
  const std::unique_ptr<store::Store> store = std::move(opened).value();
  for (const manifest::Site* site : sites) {
    auto evidence = store->evidence(site->metadata.name, {}, scope);
    if (!evidence) return not_started(std::move(evidence).error());
    std::map<std::string, json::Value> facts;
    if (provision::asks_for_facts(*site)) {
      auto told = store->evidence(site->metadata.name, {}, {.full_details = true, .figures = store::EvidenceScope::Figures::none});
      if (!told) return not_started(std::move(told).error());
      facts = facts_of(std::move(*told));
    }
    add_desired(*site, *evidence, facts, grounds.context.desired_sha256);
    auto left = tests_left_to_nodes(site->metadata.name, *store);
    if (!left) return not_started(std::move(left).error());
    grounds.context.tests_left.merge(*left);
    grounds.evidence.emplace(site->metadata.name, std::move(evidence).value());
  }
  return grounds;
}

}  // namespace kfab::commands

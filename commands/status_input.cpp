#include "commands/status_input.hpp"

#include <filesystem>
#include <unordered_set>

#include "commands/site_session.hpp"
#include "provision/desired_state.hpp"

namespace kfab::commands {
namespace {

std::vector<const manifest::Site*> sites_of(const manifest::Loaded& loaded) {
  if (loaded.site()) return {loaded.site()};
  std::vector<const manifest::Site*> sites;
  if (const auto* program = loaded.program())
    for (const manifest::Site& site : program->sites) sites.push_back(&site);
  return sites;
}

void add_desired_states(const manifest::Site& site, const store::Evidence& evidence, readiness::Context& context) {
  std::unordered_set<std::string> provisioned;
  for (const auto& record : evidence.nodes)
    if (record.step == "provision") provisioned.insert(record.node);
  for (const manifest::Node& node : site.nodes)
    if (provisioned.contains(node.name))
      if (auto desired = provision::desired_state(site, node); desired.state)
        context.desired_sha256[node.name] = desired.state->sha256;
}

}  // namespace

std::variant<StatusInput, CommandOutput> read_status(const std::string& manifest, Env& env, store::EvidenceScope scope) {
  StatusInput input;
  auto loaded = std::make_shared<manifest::Loaded>(load_manifest(manifest, env));
  if (has_errors(loaded->diagnostics)) return not_started(loaded->diagnostics, loaded->sources);
  input.loaded = loaded;
  input.context.now = env.clock.now();
  if (env.state_dir.empty() || !std::filesystem::exists(env.state_dir / "kfab.db")) return input;
  auto opened = store::Store::open(env.state_dir);
  if (!opened) return not_started(std::move(opened).error());
  for (const manifest::Site* site : sites_of(*loaded)) {
    auto evidence = (*opened)->evidence(site->metadata.name, {}, scope);
    if (!evidence) return not_started(std::move(evidence).error());
    add_desired_states(*site, *evidence, input.context);
    input.evidence.emplace(site->metadata.name, std::move(*evidence));
  }
  return input;
}

}  // namespace kfab::commands

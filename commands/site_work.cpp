#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "commands/evidence.hpp"
#include "commands/provision_pass.hpp"
#include "commands/secrets.hpp"
#include "store/store.hpp"

// What a manifest declares for the nodes of a session, with all that it needs of this machine: facts and secrets.
namespace kfab::commands {
namespace {

// The desired state of every node of the session, and everything that is wrong with them.
struct DesiredStates {
  std::vector<provision::DesiredState> states;
  Diagnostics diagnostics;
};

// What was last told of each node, where a role asks for it. A store that cannot be read knows nothing.
std::map<std::string, json::Value> known_facts(const SiteSession& session, const Env& env) {
  if (!provision::asks_for_facts(*session.site) || !std::filesystem::exists(env.state_dir / "kfab.db")) return {};
  const auto store = store::Store::open(env.state_dir, session.site->metadata.name);
  if (!store) return {};
  auto evidence = (*store)->evidence(session.site->metadata.name, {}, {.full_details = true, .figures = store::EvidenceScope::Figures::none});
  if (!evidence) return {};
  return facts_of(std::move(*evidence));
}

DesiredStates desired_states(const SiteSession& session, const Env& env) {
  DesiredStates out;
  const auto facts = known_facts(session, env);
  for (const manifest::Node* node : session.nodes) {
    const auto known = facts.find(node->name);
    auto desired = provision::desired_state(*session.site, *node, known == facts.end() ? json::Value() : known->second);
    // A mistake in a role is the same on every node; one telling is enough.
    for (auto& why : desired.diagnostics)
      if (out.diagnostics.size() < 20 && std::none_of(out.diagnostics.begin(), out.diagnostics.end(), [&](const Diagnostic& told) {
            return told.code == why.code && told.message == why.message && told.path == why.path;
          }))
        out.diagnostics.push_back(std::move(why));
    out.states.push_back(desired.state ? std::move(*desired.state) : provision::DesiredState{});
  }
  return out;
}

}  // namespace

std::variant<ProvisionWork, CommandOutput> work_of_site(SiteSession session, Env& env, Diagnostics& findings) {
  ProvisionWork work{std::move(session), {}, {}, {}, {}};
  auto desired = desired_states(work.session, env);
  if (has_errors(desired.diagnostics)) {
    CommandOutput output = not_started(std::move(desired.diagnostics), work.session.loaded->sources);
    output.site = work.session.ref();
    return output;
  }
  findings = std::move(desired.diagnostics);
  work.states = std::move(desired.states);
  std::set<std::string> ids;
  for (const auto& state : work.states) ids.insert(state.secrets.begin(), state.secrets.end());
  auto secrets = read_secrets(ids, *work.session.site, env);
  if (!secrets) {
    CommandOutput output = not_started(std::move(secrets).error());
    output.site = work.session.ref();
    return output;
  }
  work.secrets = std::move(*secrets);
  for (auto& state : work.states) provision::seal(state, work.secrets);
  return work;
}

}  // namespace kfab::commands

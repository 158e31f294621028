#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "base/codes/commands.hpp"
#include "base/codes/readiness.hpp"
#include "base/text.hpp"
#include "manifest/criteria_choice.hpp"
#include "nodeset/nodeset.hpp"
#include "readiness/blockers.hpp"
#include "readiness/forecast.hpp"
#include "readiness/gates.hpp"
#include "readiness/node_states.hpp"
#include "readiness/plan_checks.hpp"
#include "readiness/readiness.hpp"
#include "readiness/statements.hpp"
#include "readiness/words.hpp"

namespace kfab::readiness {
namespace {

template <class T>
void complete(manifest::Stated<T>& own, const manifest::Stated<T>& general) {
  if (own.state == manifest::Stated<T>::State::absent) own = general;
}

bool states_envelope(const manifest::Power& power) {
  using State = manifest::Stated<double>::State;
  return power.facility_kw.state != State::absent || power.it_kw.state != State::absent;
}

// What the site says of power holds where a tranche is silent.
manifest::Power completed(manifest::Power own, const manifest::Power& general) {
  if (!states_envelope(own)) {
    own.facility_kw = general.facility_kw;
    own.it_kw = general.it_kw;
    complete(own.available_from, general.available_from);
  }
  complete(own.pue, general.pue);
  complete(own.overhead_fraction, general.overhead_fraction);
  complete(own.rack_cap_kw, general.rack_cap_kw);
  complete(own.row_cap_kw, general.row_cap_kw);
  if (own.supply.empty()) own.supply = general.supply;
  return own;
}

void add(Counts& sum, const Counts& part) {
  sum.declared += part.declared;
  sum.reachable += part.reachable;
  sum.provisioned += part.provisioned;
  sum.validated += part.validated;
  sum.accepted += part.accepted;
  sum.failed += part.failed;
  sum.not_judged += part.not_judged;
}

// Builds the tranches of one document, in an order in which each comes after what it depends on.
struct TrancheBuilder {
  const Plan& plan;
  std::string site;
  const manifest::Power& general_power;
  std::map<std::string_view, NodeRefs> nodes_of;       // by tranche
  std::map<std::string_view, std::string_view> fabric_of_group;
  const std::vector<manifest::Allocation>* allocations = nullptr;
  const std::vector<manifest::Tenant>* tenants = nullptr;
  const std::vector<manifest::FacilityGate>* facility_gates = nullptr;
  const std::unordered_set<std::string_view>* serials_seen = nullptr;
  const EvidenceIndex* evidence = nullptr;
  Timestamp now{};
  std::map<std::string, bool> ready{};

  NodeRefs nodes_in(const std::vector<const manifest::Tranche*>& tranches) const {
    NodeRefs all;
    for (const auto* tranche : tranches)
      if (const auto found = nodes_of.find(tranche->name); found != nodes_of.end()) all.insert(all.end(), found->second.begin(), found->second.end());
    return all;
  }

  // Which tranches draw on the envelope that holds for this one.
  std::vector<const manifest::Tranche*> sharing(const manifest::Tranche& tranche) const {
    if (states_envelope(tranche.power)) return tranche.power.cumulative ? plan.with_dependencies(tranche) : std::vector{&tranche};
    if (!states_envelope(general_power)) return {&tranche};
    std::vector<const manifest::Tranche*> all;
    for (const auto& other : plan.tranches())
      if (!states_envelope(other.power)) all.push_back(&other);
    return all;
  }

  TrancheStatus build(const manifest::Tranche& tranche) {
    TrancheStatus status;
    status.site = site;
    status.name = tranche.name;
    status.title = tranche.title;
    status.source = tranche.due.source.empty() ? tranche.source : tranche.due.source;
    if (tranche.due.known()) status.due = to_string(*tranche.due);
    status.due_unknown = tranche.due.unknown();
    status.due_kind = tranche.due_kind;
    status.due_owner = tranche.due_owner;

    const auto sharers = sharing(tranche);
    const auto before = plan.with_dependencies(tranche);
    TrancheScope scope{.tranche = tranche, .plan = plan, .site = site, .nodes = nodes_in({&tranche}),
                       .nodes_with_dependencies = nodes_in(before), .power = completed(tranche.power, general_power),
                       .power_nodes = nodes_in(sharers), .power_tranches = sharers, .fabric_of_group = fabric_of_group,
                       .allocations = allocations, .tenants = tenants, .facility_gates = facility_gates,
                       .serials_seen = serials_seen, .evidence = evidence, .dependency_ready = ready, .today = date_of(now)};
    scope.power.cumulative = sharers.size() > 1;
    status.counts = count_nodes(scope.nodes);
    status.accelerator_counts = count_accelerators(scope.nodes);
    judge_gates(scope, status);
    conclude(status);
    ready[tranche.name] = status.ready;
    status.blockers = blockers_of(status, scope.nodes);
    status.not_tested = not_tested_in(status, scope.nodes);
    status.forecast = forecast_of(tranche, status, scope);
    status.headline = headline(status);
    return status;
  }

  static void conclude(TrancheStatus& status) {
    std::optional<Verdict> all;
    for (const auto& gate : status.gates) all = all ? worse(*all, gate.verdict) : gate.verdict;
    status.verdict = all.value_or(Verdict::not_judged);
    status.ready = (status.verdict == Verdict::pass || status.verdict == Verdict::degraded) && status.counts.accepted > 0;
    // Nothing was ever accepted: whatever the gates say of it, it is not ready.
    if (!status.ready && status.verdict != Verdict::fail) status.verdict = Verdict::not_judged;
  }

  Forecast forecast_of(const manifest::Tranche& tranche, const TrancheStatus& status, const TrancheScope& scope) const {
    ForecastInput input;
    input.ready = status.ready;
    input.due = tranche.due.get();
    input.today = scope.today;
    for (const auto& target : status.targets) {
      if (!target.required) continue;
      const auto left = std::max<std::int64_t>(0, *target.required - target.accepted);
      const auto per_node = accelerators_of(plan.profile(target.profile));
      if (target.in_nodes) {
        input.remaining_nodes = input.remaining_nodes.value_or(0) + left;
      } else {
        input.remaining_accelerators = input.remaining_accelerators.value_or(0) + left;
        if (per_node > 0) input.remaining_nodes = input.remaining_nodes.value_or(0) + (left + per_node - 1) / per_node;
      }
    }
    for (const auto* node : scope.nodes)
      if (node->state == NodeState::accepted && node->evidence_at) input.history.push_back({date_of(*node->evidence_at), node->accelerators});
    return forecast(input);
  }

  static std::string headline(const TrancheStatus& status) {
    std::string text;
    if (status.counts.declared > 0)
      text = fmt::format("{} of {} accepted", with_thousands(status.counts.accepted), count_text(status.counts.declared, "node"));
    else
      text = "no node is declared";
    for (const auto& target : status.targets)
      if (target.accelerators)
        text += fmt::format("; {} of {} accelerators{}", with_thousands(target.in_nodes ? 0 : target.accepted), with_thousands(*target.accelerators),
                            target.profile.empty() ? "" : " (" + target.profile + ")");
    if (!status.due.empty()) {
      text += "; due " + status.due;
      if (status.forecast.days_to_due && *status.forecast.days_to_due < 0) text += fmt::format(", {} ago", count_text(-*status.forecast.days_to_due, "day"));
    } else {
      text += status.due_unknown ? "; when it is due, nobody has said" : "; no due date";
    }
    return text;
  }

  std::vector<TrancheStatus> build_all() {
    std::map<std::string_view, TrancheStatus> built;
    for (const auto& tranche : plan.tranches())
      for (const auto* next : plan.with_dependencies(tranche))
        if (!built.contains(next->name)) built.emplace(next->name, build(*next));
    std::vector<TrancheStatus> rows;
    for (const auto& tranche : plan.tranches())
      if (const auto found = built.find(tranche.name); found != built.end()) {
        rows.push_back(std::move(found->second));
        built.erase(found);
      }
    return rows;
  }
};

Diagnostics unknown_nodes(const manifest::Site& site, const EvidenceIndex& index) {
  std::unordered_set<std::string_view> declared;
  declared.reserve(site.nodes.size());
  for (const auto& node : site.nodes) declared.insert(node.name);
  std::set<std::string> strangers;
  for (const auto& [name, evidence] : index.nodes())
    if (!declared.contains(name)) strangers.insert(std::string(name));
  Diagnostics rows;
  for (const auto& name : strangers) {
    if (rows.size() == 20) {
      rows.push_back(make_diagnostic(code::evidence_of_unknown_node, fmt::format("and about {} more", strangers.size() - rows.size())));
      break;
    }
    rows.push_back(make_diagnostic(code::evidence_of_unknown_node, fmt::format("there is evidence about {}, which the manifest does not declare", one_line(name, 80))));
    rows.back().node = one_line(name, 80);
  }
  return rows;
}

// Names that were declared as those of one machine are judged one by one, and each counts with its accelerators: that is said. They
// are one where they tell of the same processor; a GPU counts under one of them anyway.
Diagnostics names_of_one_machine(const manifest::Site& site, const EvidenceIndex& index) {
  struct Names { std::vector<std::string> nodes; std::int64_t accelerators = 0; };
  std::map<std::string_view, Names> machines;
  for (const auto& node : site.nodes) {
    const NodeEvidence* evidence = node.identity_by_name ? index.find(node.name) : nullptr;
    if (!evidence) continue;
    for (const auto* record : evidence->accelerators) {
      Names& its = machines[record->id];
      its.nodes.push_back(node.name);
      its.accelerators += accelerators_of(site.find_profile(node.profile));
    }
  }
  Diagnostics rows;
  for (const auto& [id, names] : machines)
    if (names.nodes.size() > 1)
      rows.push_back(make_diagnostic(code::names_of_one_machine, fmt::format("{} tell of one and the same {}: a machine that counts as {} nodes with {}", nodeset::fold_names(names.nodes),
                                                                             one_line(id, 60), with_thousands(static_cast<long long>(names.nodes.size())), plural(names.accelerators, "accelerator"))));
  return rows;
}

std::unordered_set<std::string_view> serials_in(const store::Evidence& evidence) {
  std::unordered_set<std::string_view> serials;
  for (const auto& record : evidence.nodes)
    if (!record.board_serial.empty()) serials.insert(record.board_serial);
  for (const auto& record : evidence.accelerators) serials.insert(record.id);
  return serials;
}

void read_runs(const store::Evidence& evidence, Readiness& out) {
  std::set<std::string> runs(out.run_ids.begin(), out.run_ids.end());
  const std::string* last = nullptr;   // most rows are of one run
  for (const auto& record : evidence.nodes)
    if (!last || *last != record.run_id) runs.insert(*(last = &record.run_id));
  out.run_ids.assign(runs.begin(), runs.end());
}

void read_metadata(const manifest::Metadata& metadata, Readiness& out) {
  out.name = metadata.name;
  out.title = metadata.title;
  out.country = metadata.country;
  out.federation = metadata.federation;
  out.as_of = metadata.as_of;
}

std::int64_t accepted_in(const std::vector<TrancheStatus>& tranches, const std::vector<std::string>& names) {
  std::int64_t sum = 0;
  for (const auto& tranche : tranches)
    if (std::find(names.begin(), names.end(), tranche.name) != names.end()) sum += tranche.accelerator_counts.accepted;
  return sum;
}

void read_pools(const std::vector<manifest::Pool>& pools, const std::string& site, const std::vector<TrancheStatus>& tranches, Readiness& out) {
  for (const auto& pool : pools)
    out.pools.push_back({site, pool.name, pool.mode, pool.source, pool.tranches, pool.waiting_list, accepted_in(tranches, pool.tranches)});
}

void read_signatures(const std::vector<manifest::Tranche>& tranches, const std::string& site, Readiness& out) {
  for (const auto& tranche : tranches)
    for (const auto& party : tranche.ready_when.signatures) out.signatures.push_back({site, tranche.name, party, false});
}

void read_criteria(const std::map<std::string, manifest::Profile>& profiles, const std::map<std::string, manifest::CriteriaSet>& criteria, Readiness& out) {
  for (const auto& [name, profile] : profiles) {
    const auto found = manifest::criteria_of(criteria, profile);
    if (!found) continue;
    CriteriaInUse row{found->name, found->version, found->sha256, name};
    const bool known = std::any_of(out.criteria.begin(), out.criteria.end(), [&](const auto& other) { return other.sha256 == row.sha256 && other.profile == row.profile; });
    if (!known) out.criteria.push_back(std::move(row));
  }
}

void conclude(Readiness& out) {
  out.ready = !out.tranches.empty() && std::all_of(out.tranches.begin(), out.tranches.end(), [](const auto& tranche) { return tranche.ready; });
}

SiteSummary summary_of(const manifest::Site& site, const Readiness& r, const store::Evidence& evidence, Timestamp now) {
  SiteSummary summary{site.metadata.name, site.metadata.title, site.kind, site.metadata.country, site.sha256,
                      static_cast<std::int64_t>(r.tranches.size()), 0, r.counts, r.accelerator_counts, {}, {}};
  for (const auto& tranche : r.tranches) summary.tranches_ready += tranche.ready;
  for (const auto& record : evidence.nodes)
    if (!summary.evidence_at || *summary.evidence_at < record.at) summary.evidence_at = record.at;
  if (summary.evidence_at) {
    const std::chrono::duration<double, std::ratio<86400>> age = now - *summary.evidence_at;
    summary.evidence_age_days = std::max(0.0, age.count());
  }
  return summary;
}

}  // namespace

Readiness assess(const manifest::Site& site, const store::Evidence& evidence, const Context& context) {
  Readiness out;
  out.kind = "site";
  read_metadata(site.metadata, out);
  out.file = site.file;
  out.manifest_sha256 = site.sha256;
  out.now = context.now;
  out.sovereignty = site.sovereignty;

  const EvidenceIndex index(evidence);
  auto statuses = judge_nodes(site, index, context);
  const auto serials = serials_in(evidence);
  const Plan plan(site.tranches, site.profiles, site.nodes);
  TrancheBuilder builder{.plan = plan, .site = site.metadata.name, .general_power = site.power, .nodes_of = {},
                         .fabric_of_group = {}, .allocations = &site.allocations, .tenants = &site.tenants,
                         .facility_gates = &site.facility_gates, .serials_seen = &serials, .evidence = &index, .now = context.now};
  NodeRefs all;
  all.reserve(statuses.size());
  for (const auto& status : statuses) {
    all.push_back(&status);
    builder.nodes_of[status.tranche].push_back(&status);
  }
  for (const auto& group : site.groups)
    if (!group.fabric.empty()) builder.fabric_of_group[group.name] = group.fabric;
  out.counts = count_nodes(all);
  out.accelerator_counts = count_accelerators(all);
  out.tranches = builder.build_all();
  check_plan(site, plan, out);

  for (const auto& party : site.parties) out.parties.push_back({party.name, party.source, party.roles});
  for (const auto& gate : site.facility_gates)
    out.facility_gates.push_back({site.metadata.name, gate.id, gate.tranche, gate.status, gate.evidence, gate.source});
  read_pools(site.pools, site.metadata.name, out.tranches, out);
  read_signatures(site.tranches, site.metadata.name, out);
  read_criteria(site.profiles, site.criteria, out);
  read_statements(site, {}, out);
  read_runs(evidence, out);
  out.diagnostics = unknown_nodes(site, index);
  for (auto& why : names_of_one_machine(site, index)) out.diagnostics.push_back(std::move(why));
  conclude(out);
  out.sites.push_back(summary_of(site, out, evidence, context.now));

  // The nodes move last: until here everything points at them.
  std::map<std::string, std::vector<NodeStatus>> by_tranche;
  for (auto& status : statuses) by_tranche[status.tranche].push_back(std::move(status));
  for (auto& tranche : out.tranches)
    if (auto found = by_tranche.find(tranche.name); found != by_tranche.end()) {
      tranche.nodes = std::move(found->second);
      by_tranche.erase(found);
    }
  for (auto& [name, rest] : by_tranche)
    out.unassigned_nodes.insert(out.unassigned_nodes.end(), std::make_move_iterator(rest.begin()), std::make_move_iterator(rest.end()));
  return out;
}

Readiness assess(const manifest::Program& program, const EvidenceBySite& evidence, const Context& context) {
  Readiness out;
  out.kind = "program";
  read_metadata(program.metadata, out);
  out.file = program.file;
  out.manifest_sha256 = program.sha256;
  out.now = context.now;
  out.sovereignty = program.sovereignty;
  for (const auto& party : program.parties) out.parties.push_back({party.name, party.source, party.roles});
  read_statements(program, out);

  std::vector<TrancheStatus> of_sites;
  static const store::Evidence nothing;
  for (const auto& site : program.sites) {
    const auto found = evidence.find(site.metadata.name);
    const auto& records = found == evidence.end() ? nothing : found->second;
    Readiness part = assess(site, records, context);
    add(out.counts, part.counts);
    add(out.accelerator_counts, part.accelerator_counts);
    const std::string prefix = site.metadata.name + ": ";
    const auto take = [](auto& into, auto& from) { into.insert(into.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end())); };
    for (auto& check : part.plan_checks) check.detail = prefix + check.detail;
    for (auto& fact : part.facts) fact.subject = prefix + fact.subject;
    for (auto& row : part.unknowns) row.subject = prefix + row.subject;
    take(of_sites, part.tranches);
    take(out.sites, part.sites);
    take(out.plan_checks, part.plan_checks);
    take(out.facts, part.facts);
    take(out.unknowns, part.unknowns);
    take(out.signatures, part.signatures);
    take(out.pools, part.pools);
    take(out.facility_gates, part.facility_gates);
    take(out.unassigned_nodes, part.unassigned_nodes);
    take(out.diagnostics, part.diagnostics);
    for (auto& row : part.criteria) {
      const bool known = std::any_of(out.criteria.begin(), out.criteria.end(), [&](const auto& other) { return other.sha256 == row.sha256 && other.profile == row.profile; });
      if (!known) out.criteria.push_back(std::move(row));
    }
    std::set<std::string> runs(out.run_ids.begin(), out.run_ids.end());
    runs.insert(part.run_ids.begin(), part.run_ids.end());
    out.run_ids.assign(runs.begin(), runs.end());
    for (auto& party : part.parties) {
      const bool known = std::any_of(out.parties.begin(), out.parties.end(), [&](const auto& other) { return other.name == party.name && other.roles == party.roles; });
      if (!known) out.parties.push_back(std::move(party));
    }
  }

  const Plan plan(program.tranches, program.profiles, {});
  TrancheBuilder builder{.plan = plan, .site = {}, .general_power = program.power, .nodes_of = {}, .fabric_of_group = {},
                         .allocations = &program.allocations, .tenants = &program.tenants, .now = context.now};
  for (const auto& tranche : of_sites)
    for (const auto& node : tranche.nodes) builder.nodes_of[tranche.name].push_back(&node);
  out.tranches = builder.build_all();
  read_signatures(program.tranches, {}, out);
  out.tranches.insert(out.tranches.end(), std::make_move_iterator(of_sites.begin()), std::make_move_iterator(of_sites.end()));
  read_pools(program.pools, {}, out.tranches, out);
  read_criteria(program.profiles, program.criteria, out);
  check_plan(program, plan, out);
  conclude(out);
  return out;
}

Status select_tranches(Readiness& r, const std::vector<std::string>& names) {
  if (names.empty()) return ok();
  const auto full_name = [](const TrancheStatus& tranche) { return tranche.site.empty() ? tranche.name : tranche.site + "/" + tranche.name; };
  std::vector<std::string> known;
  for (const auto& tranche : r.tranches) {
    known.push_back(tranche.name);
    if (!tranche.site.empty() && r.kind == "program") known.push_back(full_name(tranche));
  }
  const auto is = [&](const TrancheStatus& tranche, const std::string& name) { return tranche.name == name || full_name(tranche) == name; };
  for (const auto& name : names) {
    if (std::any_of(r.tranches.begin(), r.tranches.end(), [&](const auto& tranche) { return is(tranche, name); })) continue;
    auto why = error(code::unknown_tranche, fmt::format("{} has no tranche {}", r.name.empty() ? "the manifest" : r.name, one_line(name, 80)));
    std::sort(known.begin(), known.end());
    known.erase(std::unique(known.begin(), known.end()), known.end());
    why.suggestions = nearest(name, known);
    if (why.suggestions.empty() && !known.empty()) why.help.push_back("tranches here: " + one_line(join(known, ", ")));
    return why;
  }
  std::erase_if(r.tranches, [&](const auto& tranche) { return std::none_of(names.begin(), names.end(), [&](const auto& name) { return is(tranche, name); }); });
  conclude(r);
  return ok();
}

}  // namespace kfab::readiness

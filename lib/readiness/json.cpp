#include "readiness/json.hpp"

#include "base/codes.hpp"

namespace kfab::readiness {
namespace {

using json::Array;
using json::Object;
using json::Value;

// Empty text is "nothing", which is null.
Value text(const std::string& value) { return value.empty() ? Value() : Value(value); }
Value time(const std::optional<Timestamp>& at) { return at ? Value(to_rfc3339(*at)) : Value(); }
Value word(Verdict verdict) { return to_string(verdict); }

template <class T, class Make>
Array list(const std::vector<T>& rows, Make make) {
  Array array;
  array.reserve(rows.size());
  for (const auto& row : rows) array.emplace_back(make(row));
  return array;
}
Array list(const std::vector<std::string>& words) {
  return list(words, [](const std::string& each) { return Value(each); });
}

Object counts(const Counts& c) {
  return {{"declared", c.declared}, {"reachable", c.reachable}, {"provisioned", c.provisioned}, {"validated", c.validated},
          {"accepted", c.accepted}, {"failed", c.failed},       {"not_judged", c.not_judged}};
}

Object power(const PowerStatus& p) {
  Object out{{"envelope_kw", p.envelope_kw}, {"nameplate_kw", p.nameplate_kw}, {"measured_kw", p.measured_kw}};
  out.set("envelope_at", text(p.envelope_at))
      .set("cumulative", p.cumulative)
      .set("it_envelope_kw", p.it_envelope_kw)
      .set("needed_it_kw", p.needed_it_kw)
      .set("facility_needed_kw", p.facility_needed_kw)
      .set("pue", p.pue)
      .set("overhead_fraction", p.overhead_fraction)
      .set("headroom_pct", p.headroom_pct)
      .set("facility_kw_per_accelerator", p.facility_kw_per_accelerator)
      .set("nameplate_w_per_accelerator", p.nameplate_w_per_accelerator)
      .set("fitting_w_per_accelerator", p.fitting_w_per_accelerator)
      .set("fitting_cap_w", p.fitting_cap_w)
      .set("fitting_is_upper_bound", p.fitting_is_upper_bound)
      .set("planned_nodes", p.planned_nodes)
      .set("planned_accelerators", p.planned_accelerators)
      .set("max_nodes_at_nameplate", p.max_nodes_at_nameplate)
      .set("max_concurrent_burnin_nodes", p.max_concurrent_burnin_nodes)
      .set("measured_nodes", p.measured_nodes)
      .set("measured_accelerators_kw", p.measured_accelerators_kw)
      .set("projected_kw", p.projected_kw)
      .set("capacity", list(p.capacity, [](const PowerCapacity& c) {
             return Object{{"profile", c.profile}, {"nodes", c.nodes}, {"accelerators", c.accelerators}, {"basis", text(c.basis)}};
           }))
      .set("supply", text(p.supply))
      .set("available_from", text(p.available_from));
  return out;
}

Object forecast(const Forecast& f) {
  return {{"status", f.status},
          {"reason", text(f.reason)},
          {"remaining_accelerators", f.remaining_accelerators},
          {"remaining_nodes", f.remaining_nodes},
          {"days_to_due", f.days_to_due},
          {"rate_needed_per_day", f.rate_needed_per_day},
          {"nodes_needed_per_day", f.nodes_needed_per_day},
          {"acceptances", f.acceptances},
          {"days_with_acceptances", f.days_with_acceptances},
          {"rate_observed_per_day", f.rate_observed_per_day}};
}

Object target(const TargetStatus& t) {
  return {{"profile", text(t.profile)}, {"accelerators", t.accelerators}, {"nodes", t.nodes},
          {"unit", t.in_nodes ? "nodes" : "accelerators"}, {"required", t.required}, {"accepted", t.accepted},
          {"spares_pct", t.spares_pct}, {"cumulative", t.cumulative}, {"unknown", t.stated_unknown},
          {"assumption", text(t.assumption)}, {"source", text(t.source)}};
}

Object allocation(const AllocationStatus& a) {
  return {{"tenant", a.tenant}, {"title", text(a.title)}, {"tranche", text(a.tranche)}, {"profile", text(a.profile)},
          {"entitled", a.entitled}, {"accepted", a.accepted}, {"shortfall", a.shortfall}, {"use", text(a.use)},
          {"mode", text(a.mode)}, {"from", text(a.from)}, {"source", text(a.source)}};
}

Object delivery(const DeliveryStatus& d) {
  return {{"id", d.id}, {"state", d.state}, {"profile", text(d.profile)}, {"expected", text(d.expected)},
          {"arrived", text(d.arrived)}, {"accelerators", d.accelerators}, {"nodes", d.nodes}, {"serials", d.serials},
          {"serials_seen", d.serials_seen}, {"source", text(d.source)}};
}

Object node(const NodeStatus& n) {
  return {{"node", n.name}, {"state", to_string(n.state)}, {"verdict", word(n.verdict)}, {"reason", text(n.reason)},
          {"code", n.reason.empty() ? Value() : Value(to_string(n.code))}, {"profile", text(n.profile)}, {"group", text(n.group)},
          {"rack", text(n.rack)}, {"slot", text(n.slot)}, {"accelerators", n.accelerators},
          {"accelerators_validated", n.accelerators_validated}, {"accelerators_failed", n.accelerators_failed},
          {"evidence_at", time(n.evidence_at)}};
}

Object blocker(const Blocker& b) {
  return {{"code", to_string(b.code)}, {"severity", to_string(info(b.code).severity)}, {"gate", b.gate}, {"message", b.message},
          {"next_step", b.next_step}, {"node_count", b.node_count}, {"nodes", text(b.nodes)}};
}

Object site(const SiteSummary& s) {
  return {{"name", s.name}, {"title", text(s.title)}, {"kind", text(s.kind)}, {"country", text(s.country)},
          {"manifest_sha256", text(s.manifest_sha256)}, {"tranches", s.tranches}, {"tranches_ready", s.tranches_ready},
          {"counts", counts(s.counts)}, {"accelerator_counts", counts(s.accelerator_counts)}, {"evidence_at", time(s.evidence_at)},
          {"evidence_age_days", s.evidence_age_days}};
}

Object sovereignty(const manifest::Sovereignty& s) {
  return {{"residency", text(s.residency)}, {"data_classes", list(s.data_classes)}, {"egress_allow", list(s.egress_allow)},
          {"operator_nationality", text(s.operator_nationality)}, {"remote_support", s.remote_support}};
}

}  // namespace

Object to_json(const TrancheStatus& t) {
  Object out{{"name", t.name}, {"due", text(t.due)}, {"ready", t.ready}, {"verdict", word(t.verdict)}, {"counts", counts(t.counts)},
             {"gates", list(t.gates, [](const Gate& g) { return Object{{"id", g.id}, {"verdict", word(g.verdict)}, {"detail", g.detail}}; })},
             {"power", power(t.power)},
             {"blockers", list(t.blockers, blocker)},
             {"forecast", forecast(t.forecast)}};
  out.set("site", text(t.site))
      .set("title", text(t.title))
      .set("headline", t.headline)
      .set("due_unknown", t.due_unknown)
      .set("due_kind", text(t.due_kind))
      .set("due_owner", text(t.due_owner))
      .set("source", text(t.source))
      .set("accelerator_counts", counts(t.accelerator_counts))
      .set("not_required", list(t.not_required, [](const NotRequired& n) { return Object{{"id", n.id}, {"reason", n.reason}}; }))
      .set("targets", list(t.targets, target))
      .set("allocations", list(t.allocations, allocation))
      .set("deliveries", list(t.deliveries, delivery))
      .set("not_tested", list(t.not_tested, [](const NotTested& n) { return Object{{"what", n.what}, {"why", n.why}}; }))
      .set("nodes", list(t.nodes, node));
  return out;
}

Object to_json(const Readiness& r) {
  Object out{{"kind", r.kind}, {"name", r.name}, {"title", text(r.title)}, {"country", text(r.country)},
             {"federation", text(r.federation)}, {"as_of", text(r.as_of)}, {"now", to_rfc3339(r.now)}, {"ready", r.ready},
             {"target_accelerators", r.target_accelerators}, {"counts", counts(r.counts)},
             {"accelerator_counts", counts(r.accelerator_counts)},
             {"tranches", list(r.tranches, [](const TrancheStatus& t) { return to_json(t); })}};
  out.set("sites", list(r.sites, site))
      .set("plan_checks", list(r.plan_checks, [](const PlanCheck& c) { return Object{{"id", c.id}, {"verdict", word(c.verdict)}, {"detail", c.detail}}; }))
      .set("allocations", list(r.allocations, allocation))
      .set("unassigned_nodes", list(r.unassigned_nodes, node))
      .set("facts", list(r.facts, [](const StatedFact& f) {
             return Object{{"subject", f.subject}, {"text", f.text}, {"value", text(f.value)}, {"number", f.number},
                           {"unit", text(f.unit)}, {"source", text(f.source)}, {"source_text", text(f.source_text)}, {"as_of", text(f.as_of)}};
           }))
      .set("unknowns", list(r.unknowns, [](const Unknown& u) { return Object{{"subject", u.subject}, {"what", u.what}, {"consequence", text(u.consequence)}}; }))
      .set("parties", list(r.parties, [](const PartyStatus& p) { return Object{{"name", p.name}, {"roles", list(p.roles)}, {"source", text(p.source)}}; }))
      .set("signatures", list(r.signatures, [](const SignatureStatus& s) {
             return Object{{"site", text(s.site)}, {"tranche", s.tranche}, {"party", s.party}, {"on_record", s.on_record}};
           }))
      .set("pools", list(r.pools, [](const PoolStatus& p) {
             return Object{{"site", text(p.site)}, {"name", p.name}, {"mode", text(p.mode)}, {"tranches", list(p.tranches)},
                           {"waiting_list", p.waiting_list}, {"accepted", p.accepted}, {"source", text(p.source)}};
           }))
      .set("facility_gates", list(r.facility_gates, [](const FacilityStatus& f) {
             return Object{{"site", text(f.site)}, {"id", f.id}, {"tranche", text(f.tranche)}, {"status", text(f.status)},
                           {"evidence", text(f.evidence)}, {"source", text(f.source)}};
           }))
      .set("sovereignty", sovereignty(r.sovereignty))
      .set("criteria", list(r.criteria, [](const CriteriaInUse& c) {
             return Object{{"name", c.name}, {"version", text(c.version)}, {"sha256", c.sha256}, {"profile", c.profile}};
           }))
      .set("run_ids", list(r.run_ids));
  return out;
}

}  // namespace kfab::readiness

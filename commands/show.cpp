#include "commands/show.hpp"

#include <filesystem>

#include <fmt/format.h>

#include "base/text.hpp"
#include "json/shorthand.hpp"
#include "nodeset/nodeset.hpp"

namespace kfab::commands {
namespace {

using json::Array;
using json::Object;
using json::Value;
using manifest::Stated;

Value text(const std::string& value) { return value.empty() ? Value() : Value(value); }

Value plain(std::int64_t value) { return value; }
Value plain(int value) { return value; }
Value plain(double value) { return value; }
Value plain(const Date& value) { return to_string(value); }

template <class T>
Value stated(const Stated<T>& value) {
  Object out;
  out.set("state", value.known() ? "known" : value.unknown() ? "unknown" : "absent");
  out.set("value", value.known() ? plain(*value) : Value());
  out.set("source", text(value.source)).set("as_of", text(value.as_of));
  return out;
}

template <class T, class Each>
Value list(const T& values, Each each) {
  Array out;
  for (const auto& one : values) out.push_back(each(one));
  return out;
}

Value sources_json(const manifest::Metadata& metadata) {
  Array out;
  for (const auto& [name, what] : metadata.sources) out.push_back(Object{{"name", name}, {"what", what}});
  return out;
}

Value power_json(const manifest::Power& power) {
  return Object{{"facility_kw", stated(power.facility_kw)},
                {"it_kw", stated(power.it_kw)},
                {"pue", stated(power.pue)},
                {"overhead_fraction", stated(power.overhead_fraction)},
                {"rack_cap_kw", stated(power.rack_cap_kw)},
                {"row_cap_kw", stated(power.row_cap_kw)},
                {"supply", text(power.supply)},
                {"available_from", stated(power.available_from)},
                {"cumulative", power.cumulative}};
}

Value tranche_json(const manifest::Tranche& one) {
  const auto target = [](const manifest::Target& t) -> Value {
    return Object{{"profile", text(t.profile)},       {"accelerators", stated(t.accelerators)}, {"nodes", stated(t.nodes)},
                  {"spares_pct", stated(t.spares_pct)}, {"cumulative", t.cumulative},           {"assumption", text(t.assumption)},
                  {"source", text(t.source)}};
  };
  const auto delivery = [](const manifest::Delivery& d) -> Value {
    return Object{{"id", d.id},
                  {"expected", stated(d.expected)},
                  {"arrived", stated(d.arrived)},
                  {"accelerators", stated(d.accelerators)},
                  {"nodes", stated(d.nodes)},
                  {"profile", text(d.profile)},
                  {"serials", d.serials.size()},
                  {"source", text(d.source)}};
  };
  const manifest::ReadyWhen& when = one.ready_when;
  return Object{{"name", one.name},
                {"title", text(one.title)},
                {"due", stated(one.due)},
                {"due_kind", text(one.due_kind)},
                {"due_owner", text(one.due_owner)},
                {"power", power_json(one.power)},
                {"targets", list(one.targets, target)},
                {"ready_when",
                 Object{{"accepted_pct", when.accepted_pct},
                        {"contiguous", list(when.contiguous, [](int size) { return Value(size); })},
                        {"level", when.level},
                        {"signatures", json::array_of(when.signatures)},
                        {"evidence_max_age_days", Value(when.evidence_max_age_days)}}},
                {"depends_on", json::array_of(one.depends_on)},
                {"deliveries", list(one.deliveries, delivery)},
                {"source", text(one.source)}};
}

Value profile_json(const manifest::Profile& p) {
  Array nominal, pins;
  for (const auto& [key, value] : p.nominal) {
    const auto source = p.nominal_sources.find(key);
    nominal.push_back(Object{{"name", key}, {"value", value}, {"source", source == p.nominal_sources.end() ? Value() : Value(source->second)}});
  }
  for (const auto& [key, value] : p.pins) pins.push_back(Object{{"name", key}, {"value", value}});
  return Object{{"name", p.name},
                {"version", text(p.version)},
                {"vendor", text(p.vendor)},
                {"accelerator", text(p.accelerator)},
                {"function", text(p.function)},
                {"device", text(p.device)},
                {"per_node", stated(p.per_node)},
                {"nameplate_kw", stated(p.nameplate_kw)},
                {"memory_gib", stated(p.memory_gib)},
                {"pcie_gen", stated(p.pcie_gen)},
                {"pcie_width", stated(p.pcie_width)},
                {"nvlinks", stated(p.nvlinks)},
                {"nominal", std::move(nominal)},
                {"pins", std::move(pins)},
                {"roles", json::array_of(p.roles)},
                {"criteria", text(p.criteria)},
                {"expect", p.expect},
                {"sha256", text(p.sha256)}};
}

std::string_view word(manifest::Direction d) {
  return d == manifest::Direction::min ? "min" : d == manifest::Direction::max ? "max" : "equal";
}
std::string_view word(manifest::Basis b) {
  return b == manifest::Basis::nominal ? "nominal" : b == manifest::Basis::fleet_relative ? "fleet_relative" : "record_only";
}

Value criteria_json(const manifest::CriteriaSet& set) {
  const auto one = [](const manifest::Criterion& c) -> Value {
    return Object{{"id", c.id},
                  {"metric", c.metric},
                  {"device", c.device},
                  {"unit", c.unit},
                  {"direction", word(c.direction)},
                  {"basis", word(c.basis)},
                  {"limit", Value(c.limit)},
                  {"nominal", text(c.nominal_key)},
                  {"factor", c.factor},
                  {"on_violation", to_string(c.on_violation)},
                  {"on_missing", to_string(c.on_missing)},
                  {"source", text(c.source)}};
  };
  return Object{{"name", set.name}, {"version", set.version}, {"sha256", set.sha256}, {"criteria", list(set.criteria, one)}};
}

Value role_json(const manifest::Role& role) {
  const auto one = [](const manifest::ResourceDecl& r) -> Value {
    return Object{{"id", r.id}, {"type", r.type}, {"after", json::array_of(r.after)}, {"restart_on", json::array_of(r.restart_on)}};
  };
  return Object{{"name", role.name},
                {"version", text(role.version)},
                {"description", text(role.description)},
                {"resources", list(role.resources, one)}};
}

Value group_json(const manifest::NodeGroup& g) {
  return Object{{"name", g.name},           {"profile", text(g.profile)}, {"tranche", text(g.tranche)},
                {"fabric", text(g.fabric)}, {"csv", text(g.csv_file)},    {"count", g.node_names.size()},
                {"nodes", text(nodeset::fold_names(g.node_names))}};
}

Value node_json(const manifest::Node& n) {
  return Object{{"node", n.name},         {"address", text(n.address)}, {"bmc", text(n.bmc)},         {"rack", text(n.rack)},
                {"slot", text(n.slot)},   {"serial", text(n.serial)},   {"group", text(n.group)},     {"profile", text(n.profile)},
                {"tranche", text(n.tranche)}};
}

Value fact_json(const manifest::Fact& f) {
  return Object{{"id", f.id}, {"text", f.text}, {"value", Value(f.value)}, {"unit", text(f.unit)}, {"source", text(f.source)}, {"as_of", text(f.as_of)}};
}

Value allocation_json(const manifest::Allocation& a) {
  return Object{{"tenant", a.tenant},   {"tranche", text(a.tranche)}, {"profile", text(a.profile)}, {"accelerators", stated(a.accelerators)},
                {"percent", stated(a.percent)}, {"use", text(a.use)}, {"mode", text(a.mode)},       {"from", stated(a.from)},
                {"source", text(a.source)}};
}

Value party_json(const manifest::Party& p) {
  return Object{{"name", p.name}, {"roles", json::array_of(p.roles)}, {"source", text(p.source)}};
}
Value tenant_json(const manifest::Tenant& t) {
  return Object{{"name", t.name}, {"title", text(t.title)}, {"kind", text(t.kind)}, {"source", text(t.source)}};
}
Value pool_json(const manifest::Pool& p) {
  return Object{{"name", p.name}, {"tranches", json::array_of(p.tranches)}, {"mode", text(p.mode)}, {"waiting_list", p.waiting_list}, {"source", text(p.source)}};
}
Value gate_json(const manifest::FacilityGate& g) {
  return Object{{"id", g.id}, {"tranche", text(g.tranche)}, {"status", g.status}, {"evidence", text(g.evidence)}, {"source", text(g.source)}};
}
Value subsystem_json(const manifest::Subsystem& s) {
  return Object{{"name", s.name}, {"serial", text(s.serial)}, {"checks", json::array_of(s.checks)}, {"source", text(s.source)}};
}
Value link_json(const manifest::SiteLink& l) {
  return Object{{"between", json::array_of(l.between)}, {"class", text(l.link_class)}, {"bandwidth_mbps", stated(l.bandwidth_mbps)}, {"source", text(l.source)}};
}

Value sovereignty_json(const manifest::Sovereignty& s) {
  return Object{{"residency", text(s.residency)},
                {"data_classes", json::array_of(s.data_classes)},
                {"egress_allow", json::array_of(s.egress_allow)},
                {"operator_nationality", text(s.operator_nationality)},
                {"remote_support", Value(s.remote_support)}};
}
Value security_json(const manifest::Security& s) {
  return Object{{"labels", json::array_of(s.labels)},
                {"secure_boot", Value(s.secure_boot)},
                {"confidential_computing", Value(s.confidential_computing)},
                {"disk_wipe", Value(s.disk_wipe)},
                {"bmc_password_changed", Value(s.bmc_password_changed)},
                {"ssh_ca", text(s.ssh_ca)}};
}
Value connectivity_json(const manifest::Connectivity& c) {
  return Object{{"mode", text(c.mode)},
                {"bandwidth_mbps", stated(c.bandwidth_mbps)},
                {"via", json::array_of(c.via)},
                {"package_mirror", text(c.package_mirror)},
                {"source", text(c.source)}};
}

template <class Map, class Each>
Value map_list(const Map& values, Each each) {
  Array out;
  for (const auto& [name, one] : values) out.push_back(each(one));
  return out;
}

// Every key of the schema with nothing in it; what a kind of document has is set over it, which keeps the order.
Object frame(std::string_view kind) {
  Object out;
  out.set("kind", kind);
  for (const char* key : {"name", "title", "country", "federation", "as_of"}) out.set(key, Value());
  out.set("sources", Array());
  for (const char* key : {"site_kind", "blueprint", "accelerators"}) out.set(key, Value());
  out.set("parties", Array());
  for (const char* key : {"sovereignty", "security", "connectivity", "power"}) out.set(key, Value());
  for (const char* key : {"tranches", "groups", "nodes", "profiles", "criteria", "roles", "tenants", "allocations", "pools",
                          "facility_gates", "subsystems", "links", "facts", "sites"})
    out.set(key, Array());
  return out;
}

template <class Document>
void set_common(Object& out, const Document& d) {
  out.set("name", d.metadata.name).set("title", text(d.metadata.title)).set("country", text(d.metadata.country));
  out.set("federation", text(d.metadata.federation)).set("as_of", text(d.metadata.as_of)).set("sources", sources_json(d.metadata));
  out.set("parties", list(d.parties, party_json));
  out.set("sovereignty", sovereignty_json(d.sovereignty)).set("security", security_json(d.security)).set("power", power_json(d.power));
  out.set("tranches", list(d.tranches, tranche_json));
  out.set("profiles", map_list(d.profiles, profile_json)).set("criteria", map_list(d.criteria, criteria_json));
  out.set("roles", map_list(d.roles, role_json));
  out.set("tenants", list(d.tenants, tenant_json)).set("allocations", list(d.allocations, allocation_json));
  out.set("pools", list(d.pools, pool_json)).set("facts", list(d.facts, fact_json));
}

Value site_json(const manifest::Site& site, bool nodes) {
  Object out = frame("Site");
  set_common(out, site);
  out.set("site_kind", text(site.kind)).set("blueprint", text(site.blueprint));
  out.set("connectivity", connectivity_json(site.connectivity));
  out.set("groups", list(site.groups, group_json));
  if (nodes) out.set("nodes", list(site.nodes, node_json));
  out.set("facility_gates", list(site.facility_gates, gate_json));
  out.set("subsystems", list(site.subsystem_details, subsystem_json));
  return out;
}

Value program_json(const manifest::Program& program, bool nodes) {
  Object out = frame("Program");
  set_common(out, program);
  out.set("accelerators", stated(program.accelerators));
  out.set("links", list(program.links, link_json));
  out.set("sites", list(program.sites, [&](const manifest::Site& site) { return site_json(site, nodes); }));
  return out;
}

// ------------------------------------------------------------------------------------------------------ for people

std::string short_count(const Stated<std::int64_t>& value) {
  return value.known() ? with_thousands(*value) : value.unknown() ? "unknown" : "-";
}
std::string megawatts(const Stated<double>& kw) {
  if (!kw.known()) return kw.unknown() ? "unknown" : "-";
  return *kw >= 1000 ? format_number(*kw / 1000) + " MW" : format_number(*kw) + " kW";
}
std::string or_dash(const std::string& value) { return value.empty() ? "-" : value; }

void tranche_table(const std::vector<manifest::Tranche>& tranches, term::Writer& out) {
  if (tranches.empty()) return;
  using term::Align;
  term::Table table({{"tranche"}, {"due"}, {"facility power"}, {"profile"}, {"accelerators", Align::right}, {"nodes", Align::right}, {"source"}});
  for (const auto& one : tranches) {
    const std::string due = one.due.known() ? to_string(*one.due) : one.due.unknown() ? "unknown" : "-";
    const std::string power = megawatts(one.power.facility_kw) + (one.power.cumulative ? " in all" : "");
    if (one.targets.empty()) table.row({one.name, due, power, "-", "-", "-", or_dash(one.source)});
    bool first = true;
    for (const auto& target : one.targets) {
      table.row({first ? one.name : "", first ? due : "", first ? power : "", or_dash(target.profile) + (target.assumption.empty() ? "" : " (assumed)"),
                 short_count(target.accelerators) + (target.cumulative ? " in all" : ""), short_count(target.nodes),
                 or_dash(target.source.empty() ? one.source : target.source)});
      first = false;
    }
  }
  out.line().table(table);
}

void fact_table(const std::vector<manifest::Fact>& facts, term::Writer& out) {
  if (facts.empty()) return;
  term::Table table({{"fact"}, {"value", term::Align::right}, {"unit"}, {"source"}, {"text", term::Align::left, true}});
  for (const auto& one : facts)
    table.row({one.id, !one.value ? "-" : one.unit == "year" ? fmt::format("{:.0f}", *one.value) : format_number(*one.value), or_dash(one.unit), or_dash(one.source), one.text});
  out.line().table(table);
}

void allocation_table(const std::vector<manifest::Allocation>& allocations, term::Writer& out) {
  if (allocations.empty()) return;
  term::Table table({{"tenant"}, {"tranche"}, {"profile"}, {"accelerators", term::Align::right}, {"use"}, {"mode"}, {"source"}});
  for (const auto& one : allocations) {
    const std::string count = one.accelerators.known() ? short_count(one.accelerators)
                              : one.percent.known()    ? format_number(*one.percent) + " %"
                                                       : short_count(one.accelerators);
    table.row({one.tenant, or_dash(one.tranche), or_dash(one.profile), count, or_dash(one.use), or_dash(one.mode), or_dash(one.source)});
  }
  out.line().table(table);
}

void profile_table(const std::map<std::string, manifest::Profile>& profiles, term::Writer& out) {
  if (profiles.empty()) return;
  using term::Align;
  term::Table table({{"profile"}, {"vendor"}, {"accelerator"}, {"per node", Align::right}, {"nameplate kw", Align::right}, {"criteria"}, {"roles", Align::left, true}});
  for (const auto& [name, p] : profiles)
    table.row({name, p.vendor, p.accelerator, p.per_node.known() ? std::to_string(*p.per_node) : "unknown",
               p.nameplate_kw.known() ? format_number(*p.nameplate_kw) : "unknown", or_dash(p.criteria), or_dash(join(p.roles, " "))});
  out.line().table(table);
}

template <class Document>
void header(std::string_view kind, const Document& d, term::Writer& out) {
  out.text(fmt::format("{} ", kind)).text(term::Style::strong, d.metadata.name);
  out.line(d.metadata.title.empty() ? "" : ": " + d.metadata.title);
  std::string line;
  if (!d.metadata.country.empty()) line += fmt::format("country {}  ", d.metadata.country);
  if (!d.metadata.federation.empty()) line += fmt::format("federation {}  ", d.metadata.federation);
  if (!d.metadata.as_of.empty()) line += fmt::format("as of {}", d.metadata.as_of);
  if (!line.empty()) out.line(trim(line));
}

void render_site(const manifest::Site& site, bool nodes, term::Writer& out) {
  using term::Align;
  header("site", site, out);
  tranche_table(site.tranches, out);
  if (!site.groups.empty()) {
    term::Table table({{"group"}, {"tranche"}, {"profile"}, {"count", Align::right}, {"nodes", Align::left, true}});
    for (const auto& g : site.groups)
      table.row({g.name, or_dash(g.tranche), or_dash(g.profile), std::to_string(g.node_names.size()), or_dash(nodeset::fold_names(g.node_names))});
    out.line().table(table);
  }
  if (nodes && !site.nodes.empty()) {
    term::Table table({{"node"}, {"address"}, {"bmc"}, {"rack"}, {"slot"}, {"serial"}, {"group"}, {"tranche"}});
    for (const auto& n : site.nodes)
      table.row({n.name, or_dash(n.address), or_dash(n.bmc), or_dash(n.rack), or_dash(n.slot), or_dash(n.serial), or_dash(n.group), or_dash(n.tranche)});
    out.line().table(table);
  }
  profile_table(site.profiles, out);
  allocation_table(site.allocations, out);
  if (!site.facility_gates.empty()) {
    term::Table table({{"facility gate"}, {"tranche"}, {"status"}, {"source"}, {"evidence", Align::left, true}});
    for (const auto& g : site.facility_gates) table.row({g.id, or_dash(g.tranche), g.status, or_dash(g.source), or_dash(g.evidence)});
    out.line().table(table);
  }
  fact_table(site.facts, out);
}

void render_program(const manifest::Program& program, bool nodes, term::Writer& out) {
  header("programme", program, out);
  out.line(fmt::format("accelerators {}", short_count(program.accelerators)));
  tranche_table(program.tranches, out);
  profile_table(program.profiles, out);
  allocation_table(program.allocations, out);
  fact_table(program.facts, out);
  for (const auto& site : program.sites) {
    out.line();
    render_site(site, nodes, out);
  }
}

}  // namespace

json::Value to_json(const ShowResult& result) {
  const auto& document = result.loaded.document;
  if (const auto* site = std::get_if<manifest::Site>(&document)) return site_json(*site, result.nodes);
  if (const auto* program = std::get_if<manifest::Program>(&document)) return program_json(*program, result.nodes);
  if (const auto* profile = std::get_if<manifest::Profile>(&document))
    return frame("Profile").set("name", profile->name).set("profiles", Array{profile_json(*profile)});
  if (const auto* set = std::get_if<manifest::CriteriaSet>(&document))
    return frame("Criteria").set("name", set->name).set("criteria", Array{criteria_json(*set)});
  if (const auto* role = std::get_if<manifest::Role>(&document))
    return frame("Role").set("name", role->name).set("roles", Array{role_json(*role)});
  return {};
}

void render(const ShowResult& result, term::Writer& out) {
  const auto& document = result.loaded.document;
  if (const auto* site = std::get_if<manifest::Site>(&document)) render_site(*site, result.nodes, out);
  if (const auto* program = std::get_if<manifest::Program>(&document)) render_program(*program, result.nodes, out);
  if (const auto* profile = std::get_if<manifest::Profile>(&document)) profile_table({{profile->name, *profile}}, out);
  if (const auto* set = std::get_if<manifest::CriteriaSet>(&document)) {
    term::Table table({{"criterion"}, {"metric"}, {"device"}, {"direction"}, {"basis"}, {"limit", term::Align::right}, {"unit"}});
    for (const auto& c : set->criteria)
      table.row({c.id, c.metric, c.device, std::string(word(c.direction)), std::string(word(c.basis)),
                 c.limit ? format_number(*c.limit) : c.nominal_key.empty() ? "-" : fmt::format("{} x {}", format_number(c.factor), c.nominal_key), c.unit});
    out.line(fmt::format("criteria {}@{}", set->name, set->version)).line().table(table);
  }
  if (const auto* role = std::get_if<manifest::Role>(&document)) {
    term::Table table({{"resource"}, {"type"}, {"after", term::Align::left, true}, {"restart on"}});
    for (const auto& r : role->resources) table.row({r.id, r.type, or_dash(join(r.after, " ")), or_dash(join(r.restart_on, " "))});
    out.line(fmt::format("role {}: {}", role->name, role->description)).line().table(table);
  }
}

CommandOutput run_show(const ShowOptions& options, Env& env) {
  ShowResult result;
  result.nodes = options.nodes;
  if (options.file == "-") {
    auto text_read = env.read_stdin();
    if (!text_read) return not_started(text_read.error());
    result.loaded = manifest::load_text(*text_read, "-", std::filesystem::path());
  } else {
    result.loaded = manifest::load_file(options.file);
  }
  if (has_errors(result.loaded.diagnostics)) return not_started(result.loaded.diagnostics, result.loaded.sources);
  CommandOutput out;
  out.diagnostics = result.loaded.diagnostics;
  out.sources = result.loaded.sources;
  if (const auto* site = result.loaded.site()) out.site = {site->metadata.name, site->sha256};
  else if (const auto* program = result.loaded.program()) out.site = {program->metadata.name, program->sha256};
  out.data = to_json(result);
  out.render = [result = std::move(result)](term::Writer& writer) { render(result, writer); };
  return out;
}

}  // namespace kfab::commands

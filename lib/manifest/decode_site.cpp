#include <algorithm>

#include <fmt/format.h>

#include "base/codes/manifest.hpp"
#include "base/text.hpp"
#include "manifest/decode.hpp"

namespace kfab::manifest {
namespace {

Words names_in(const YamlNode* spec, std::string_view list) {
  Words out;
  const YamlNode* items = spec ? spec->find(list) : nullptr;
  if (!items || items->shape != Shape::sequence) return out;
  for (const YamlNode& item : items->items)
    if (const YamlNode* name = item.find("name"); name && name->shape == Shape::scalar) out.push_back(name->text);
  return out;
}

void read_facility_gates(Fields& spec, const Scope& scope, std::vector<FacilityGate>& out) {
  spec.each("facility_gates", [&](const Cursor& at) {
    FacilityGate gate;
    Fields fields(at);
    fields.text("id", gate.id, Need::required);
    fields.with("tranche", [&](const Cursor& ref) { read_reference(ref, "tranche", scope.tranches, gate.tranche); });
    gate.status = "unknown";
    fields.word("status", gate.status, {"open", "closed", "unknown"}, Need::required);
    fields.text("evidence", gate.evidence);
    fields.source(gate.source);
    fields.done();
    out.push_back(std::move(gate));
  });
}

void read_subsystems(Fields& spec, Site& site) {
  Unique unique("subsystem");
  spec.each("subsystems", [&](const Cursor& at) {
    Subsystem part;
    if (at.node.shape == Shape::scalar) {
      if (!read_name(at, part.name)) return;
    } else {
      Fields fields(at);
      if (!fields.is_map()) return;
      fields.name("name", part.name, Need::required);
      fields.text("serial", part.serial);
      fields.texts("checks", part.checks);
      fields.source(part.source);
    }
    if (part.name.empty()) return;
    unique.add(at, part.name);
    site.subsystems.push_back(part.name);
    site.subsystem_details.push_back(std::move(part));
  });
}

void read_calendar(const Cursor& at, Calendar& out) {
  static const Words days{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"};
  Fields fields(at);
  fields.each("working_days", [&](const Cursor& day) {
    std::string word;
    if (!read_word(day, word, days)) return;
    out.working_days.push_back(static_cast<int>(std::find(days.begin(), days.end(), word) - days.begin()) + 1);
  });
  fields.each("holidays", [&](const Cursor& day) {
    Date date;
    if (read_date(day, date)) out.holidays.push_back(date);
  });
}

// {nvidia-driver: 8, "nvidia-driver/package:nvidia-open": any}: of a role, or of one of its resources as it is declared, how many
// nodes of this site may be at work on it at the same time. The site's own copy of the role says so from here on.
void read_concurrency(const Cursor& at, std::map<std::string, Role>& roles) {
  if (at.node.shape != Shape::map) {
    at.wrong_type("a map of roles");
    return;
  }
  Words known_roles;
  for (const auto& [name, role] : roles) known_roles.push_back(name);
  for (std::size_t i = 0; i < at.node.size(); ++i) {
    const std::string& key = at.node.key(i).text;
    const Path path{&at.path, key, 0};
    const Cursor name{at.document, at.node.key(i), path}, value{at.document, at.node.value(i), path};
    const auto slash = key.find('/');
    const auto role = roles.find(key.substr(0, slash));
    if (role == roles.end()) {
      name.report(code::unknown_reference, fmt::format("no profile of this site has a role '{}'", one_line(key.substr(0, slash), 80)), "not in use here",
                  nearest(key.substr(0, slash), known_roles, 1));
      continue;
    }
    std::size_t* limit = &role->second.concurrency;
    if (slash != std::string::npos) {
      Words ids;
      const std::string id = key.substr(slash + 1);
      limit = nullptr;
      for (ResourceDecl& resource : role->second.resources) {
        ids.push_back(resource.id);
        if (resource.id == id) limit = &resource.concurrency;
      }
      if (!limit) {
        name.report(code::unknown_reference, fmt::format("the role {} has no resource '{}'", role->first, one_line(id, 80)), "not in this role", nearest(id, ids, 1));
        continue;
      }
    }
    std::int64_t nodes = 0;
    if (value.node.shape == Shape::scalar && value.node.text == "any") *limit = 0;
    else if (read_count(value, nodes, 1, 1'000'000)) *limit = static_cast<std::size_t>(nodes);
  }
}

void read_link(const Cursor& at, SiteLink& out) {
  Fields fields(at);
  fields.texts("between", out.between);
  fields.word("class", out.link_class, {"lan", "metro", "wan", "offline", "unknown"});
  fields.quantity("bandwidth", out.bandwidth_mbps, bandwidth_mbps, 0, 1e12);
  fields.source(out.source);
  if (out.between.size() != 2) at.report(code::out_of_range, "a link is between two sites", "name two");
}

}  // namespace

Scope scope_of(const YamlNode& root, Library& library) {
  const YamlNode* spec = root.find("spec");
  return {library, names_in(spec, "tranches"), names_in(spec, "tenants"), names_in(spec, "parties")};
}

void read_site(const Cursor& root, Library& library, Site& out) {
  const Scope scope = scope_of(root.node, library);
  out.file = root.document.source->file();
  Fields document(root);
  document.get("apiVersion");
  document.get("kind");
  document.with("metadata", [&](const Cursor& at) { read_metadata(at, out.metadata); }, Need::required);
  document.with("spec", [&](const Cursor& at) {
    Fields spec(at);
    spec.word("kind", out.kind, {"campus", "container", "edge"});
    spec.word("blueprint", out.blueprint, {"dsx", "dgx-superpod", "ocp", "custom"});
    spec.text_map("pins", out.pins);
    read_parties(spec, out.parties);
    spec.with("sovereignty", [&](const Cursor& part) { read_sovereignty(part, out.sovereignty); });
    spec.with("security", [&](const Cursor& part) { read_security(part, out.security); });
    spec.with("connectivity", [&](const Cursor& part) { read_connectivity(part, out.connectivity); });
    spec.with("ssh", [&](const Cursor& part) { read_ssh(part, out.ssh); });
    spec.with("power", [&](const Cursor& part) { read_power(part, out.power); });
    spec.with("calendar", [&](const Cursor& part) { read_calendar(part, out.calendar); });
    read_tranches(spec, scope, out.tranches);
    read_nodes(spec, scope, out);
    read_tenants(spec, out.tenants);
    read_allocations(spec, scope, true, out.allocations);
    read_pools(spec, scope, out.pools);
    read_facility_gates(spec, scope, out.facility_gates);
    spec.text("container_serial", out.container_serial);
    read_subsystems(spec, out);
    read_facts(spec, out.facts);
    // Last: by now every profile that is in use has drawn in its roles.
    spec.with("concurrency", [&](const Cursor& part) { read_concurrency(part, library.roles); });
  }, Need::required);
  check_tranches(out.tranches, root.document);
  check_targets(out.tranches, library.profiles, out.nodes, root.document);
  check_allocations(out.tranches, out.allocations, library.profiles, root.document);
}

void read_program(const Cursor& root, Library& library, Program& out) {
  const Scope scope = scope_of(root.node, library);
  out.file = root.document.source->file();
  Fields document(root);
  document.get("apiVersion");
  document.get("kind");
  document.with("metadata", [&](const Cursor& at) { read_metadata(at, out.metadata); }, Need::required);
  document.with("spec", [&](const Cursor& at) {
    Fields spec(at);
    spec.count("accelerators", out.accelerators);
    read_parties(spec, out.parties);
    spec.with("sovereignty", [&](const Cursor& part) { read_sovereignty(part, out.sovereignty); });
    spec.with("security", [&](const Cursor& part) { read_security(part, out.security); });
    spec.with("power", [&](const Cursor& part) { read_power(part, out.power); });
    read_tranches(spec, scope, out.tranches);
    read_tenants(spec, out.tenants);
    read_allocations(spec, scope, false, out.allocations);
    read_pools(spec, scope, out.pools);
    read_facts(spec, out.facts);
    spec.each("links", [&](const Cursor& link) {
      out.links.emplace_back();
      read_link(link, out.links.back());
    });
    spec.get("sites");   // read by whoever loads the files (load.cpp)
  }, Need::required);
  check_tranches(out.tranches, root.document);
  check_targets(out.tranches, library.profiles, {}, root.document);
  check_allocations(out.tranches, out.allocations, library.profiles, root.document);
  check_program_total(out, root.document);
}

}  // namespace kfab::manifest

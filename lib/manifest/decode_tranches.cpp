#include <fmt/format.h>

#include "base/codes/manifest.hpp"
#include "base/text.hpp"
#include "manifest/csv.hpp"
#include "manifest/decode.hpp"

namespace kfab::manifest {
namespace {

constexpr std::size_t max_packing_list = std::size_t{64} << 20;

void read_target(const Cursor& at, const Scope& scope, Target& out) {
  Fields fields(at);
  fields.with("profile", [&](const Cursor& ref) { scope.library.profile(ref, out.profile); });
  fields.count("accelerators", out.accelerators);
  fields.count("nodes", out.nodes);
  fields.quantity("spares", out.spares_pct, percent, 0, 100);
  fields.boolean("cumulative", out.cumulative);
  fields.text("assumption", out.assumption);
  fields.source(out.source);
}

void read_ready_when(const Cursor& at, const Scope& scope, ReadyWhen& out) {
  Fields fields(at);
  fields.with("accepted", [&](const Cursor& value) { read_quantity(value, out.accepted_pct, percent, 0, 100); });
  fields.each("contiguous", [&](const Cursor& value) {
    std::int64_t size = 0;
    if (read_count(value, size, 1, 1'000'000)) out.contiguous.push_back(static_cast<int>(size));
  });
  fields.word("level", out.level, {"quick", "standard", "soak"});
  fields.each("signatures", [&](const Cursor& value) {
    std::string party;
    if (read_reference(value, "party", scope.parties, party)) out.signatures.push_back(std::move(party));
  });
  fields.with("evidence_max_age", [&](const Cursor& value) {
    double days = 0;
    if (read_quantity(value, days, age_days, 0, 36500)) out.evidence_max_age_days = static_cast<int>(days + 0.5);
  });
}

// A CSV file of what was sent: its column `serial` is read, others are left alone.
void read_packing_list(const Cursor& at, const Scope& scope, std::vector<std::string>& serials) {
  std::string path;
  if (!read_text(at, path)) return;
  const SourcePtr source = scope.library.open_data(at, path, max_packing_list);
  if (!source) return;
  Diagnostics found;
  const CsvTable table = parse_csv(*source, found);
  at.document.findings->add(std::move(found));
  std::size_t column = table.header.size();
  for (std::size_t i = 0; i < table.header.size(); ++i)
    if (table.header[i].text == "serial") column = i;
  if (column == table.header.size()) {
    at.report(code::bad_csv_header, fmt::format("{} has no column 'serial'", one_line(path)), "a packing list needs one");
    return;
  }
  for (const auto& row : table.rows)
    if (!row[column].text.empty()) serials.push_back(row[column].text);
}

void read_delivery(const Cursor& at, const Scope& scope, Delivery& out) {
  Fields fields(at);
  fields.text("id", out.id, Need::required);
  fields.date("expected", out.expected);
  fields.date("arrived", out.arrived);
  fields.count("accelerators", out.accelerators);
  fields.count("nodes", out.nodes);
  fields.with("profile", [&](const Cursor& ref) { scope.library.profile(ref, out.profile); });
  fields.texts("serials", out.serials);
  fields.with("packing_list", [&](const Cursor& ref) { read_packing_list(ref, scope, out.serials); });
  fields.source(out.source);
}

}  // namespace

void read_tranches(Fields& spec, const Scope& scope, std::vector<Tranche>& out) {
  Unique unique("tranche");
  spec.each("tranches", [&](const Cursor& at) {
    Tranche tranche;
    tranche.span = at.span();
    Fields fields(at);
    fields.with("name", [&](const Cursor& name) {
      tranche.span = name.span();
      if (read_name(name, tranche.name)) unique.add(name, tranche.name);
    }, Need::required);
    fields.text("title", tranche.title);
    fields.date("due", tranche.due);
    fields.word("due_kind", tranche.due_kind, {"hard", "soft"});
    fields.text("due_owner", tranche.due_owner);
    fields.with("power", [&](const Cursor& power) { read_power(power, tranche.power); });
    fields.each("targets", [&](const Cursor& target) {
      tranche.targets.emplace_back();
      read_target(target, scope, tranche.targets.back());
    });
    fields.with("ready_when", [&](const Cursor& when) { read_ready_when(when, scope, tranche.ready_when); });
    fields.each("depends_on", [&](const Cursor& other) {
      std::string name;
      if (read_reference(other, "tranche", scope.tranches, name)) tranche.depends_on.push_back(std::move(name));
    });
    Unique delivery("delivery");
    fields.each("deliveries", [&](const Cursor& item) {
      tranche.deliveries.emplace_back();
      read_delivery(item, scope, tranche.deliveries.back());
      if (!tranche.deliveries.back().id.empty()) delivery.add(item, tranche.deliveries.back().id);
    });
    fields.source(tranche.source);
    fields.done();
    out.push_back(std::move(tranche));
  });
}

void read_tenants(Fields& spec, std::vector<Tenant>& out) {
  Unique unique("tenant");
  spec.each("tenants", [&](const Cursor& at) {
    Tenant tenant;
    Fields fields(at);
    fields.name("name", tenant.name, Need::required);
    fields.text("title", tenant.title);
    fields.word("kind", tenant.kind, {"state", "university", "research", "company", "public", "operator"});
    fields.source(tenant.source);
    fields.done();
    if (!tenant.name.empty()) unique.add(at, tenant.name);
    out.push_back(std::move(tenant));
  });
}

void read_allocations(Fields& spec, const Scope& scope, bool tranche_required, std::vector<Allocation>& out) {
  spec.each("allocations", [&](const Cursor& at) {
    Allocation one;
    one.span = at.span();
    Fields fields(at);
    fields.with("tenant", [&](const Cursor& ref) { read_reference(ref, "tenant", scope.tenants, one.tenant); }, Need::required);
    fields.with("tranche", [&](const Cursor& ref) { read_reference(ref, "tranche", scope.tranches, one.tranche); },
                tranche_required ? Need::required : Need::optional);
    fields.with("profile", [&](const Cursor& ref) { scope.library.profile(ref, one.profile); });
    fields.count("accelerators", one.accelerators);
    fields.quantity("percent", one.percent, percent, 0, 100);
    if (one.accelerators.state == Stated<std::int64_t>::State::known) one.span = one.accelerators.span;
    else if (one.percent.state == Stated<double>::State::known) one.span = one.percent.span;
    fields.word("use", one.use, {"government", "operator", "research", "commercial"});
    fields.word("mode", one.mode, {"exclusive", "shared"});
    fields.date("from", one.from);
    fields.source(one.source);
    fields.done();
    out.push_back(std::move(one));
  });
}

void read_pools(Fields& spec, const Scope& scope, std::vector<Pool>& out) {
  Unique unique("pool");
  spec.each("pools", [&](const Cursor& at) {
    Pool pool;
    Fields fields(at);
    fields.name("name", pool.name, Need::required);
    fields.each("tranches", [&](const Cursor& ref) {
      std::string name;
      if (read_reference(ref, "tranche", scope.tranches, name)) pool.tranches.push_back(std::move(name));
    });
    fields.word("mode", pool.mode, {"exclusive", "shared"});
    fields.boolean("waiting_list", pool.waiting_list);
    fields.source(pool.source);
    fields.done();
    if (!pool.name.empty()) unique.add(at, pool.name);
    out.push_back(std::move(pool));
  });
}

}  // namespace kfab::manifest

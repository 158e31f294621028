#include <algorithm>

#include <fmt/format.h>

#include "base/codes.hpp"
#include "base/text.hpp"
#include "readiness/words.hpp"
#include "report/measured.hpp"
#include "report/report.hpp"
#include "report/titles.hpp"

namespace kfab::report {
namespace {

using readiness::count_text;
using readiness::power_text;
using readiness::Readiness;
using readiness::TrancheStatus;
using term::Align;
using term::Cell;
using term::Column;
using term::Style;
using term::Table;
using term::Writer;

// On a terminal nobody reads further than this; -v and the JSON have all.
constexpr std::size_t most_blockers = 20;
constexpr std::size_t most_nodes = 200;

Cell verdict_cell(Verdict verdict) { return {std::string(to_string(verdict)), term::style_of(to_string(verdict))}; }

void write_head(Writer& out, const Readiness& r, const TrancheStatus& t) {
  out.text(Style::strong, "Tranche " + tranche_title(t, r.kind == "program") + ": ");
  out.text(t.ready ? Style::good : Style::bad, t.ready ? "READY" : "NOT READY");
  if (t.ready && t.verdict == Verdict::degraded) out.text(Style::warning, " with reservations");
  out.line(" - " + t.headline);
  if (!t.ready && !t.forecast.reason.empty()) out.line(Style::faint, "  " + t.forecast.reason);
}

void write_gates(Writer& out, const TrancheStatus& t) {
  Table table({{"gate"}, {"verdict"}, {"detail", Align::left, true}});
  for (const auto& gate : t.gates) table.row({gate.id, verdict_cell(gate.verdict), gate.detail});
  out.table(table);
}

void write_blockers(Writer& out, const TrancheStatus& t, bool verbose) {
  if (t.blockers.empty()) return;
  out.line().line(Style::strong, t.ready ? "  Open, but not in the way:" : "  In the way:");
  std::size_t shown = 0;
  for (const auto& blocker : t.blockers) {
    if (!verbose && shown == most_blockers) {
      out.line(fmt::format("  and {} more: -v shows all", t.blockers.size() - shown));
      break;
    }
    ++shown;
    // What stands in full in the table above is not said again.
    const bool told = blocker.node_count == 0 && !out.facts().width;
    out.text("  ").text(Style::accent, to_string(blocker.code)).line(" " + (told ? "gate " + blocker.gate : blocker.message));
    out.line(Style::faint, "         " + blocker.next_step);
  }
}

void write_not_tested(Writer& out, const TrancheStatus& t) {
  if (t.not_tested.empty()) return;
  out.line().line(Style::strong, "  Not tested:");
  for (const auto& row : t.not_tested) out.line("  - " + row.what + ": " + row.why);
}

void write_power(Writer& out, const TrancheStatus& t) {
  const auto& p = t.power;
  if (!p.envelope_kw && !p.nameplate_kw) return;
  Table table({{"power", Align::left}, {"kw", Align::right}});
  const auto row = [&](const char* name, const std::optional<double>& kw) {
    if (kw) table.row({name, format_number(*kw, 2)});
  };
  row(p.envelope_at == "facility" ? "envelope at the meter" : "envelope at the racks", p.envelope_kw);
  if (p.envelope_at == "facility") row("of it for IT load", p.it_envelope_kw);
  row("nodes at nameplate", p.nameplate_kw);
  if (p.overhead_fraction) row("with other IT load", p.needed_it_kw);
  row("needed at the meter", p.facility_needed_kw);
  row("measured", p.measured_kw);
  row("measured, for all nodes", p.projected_kw);
  row("accelerators, measured", p.measured_accelerators_kw);
  out.line().table(table);
  if (p.max_nodes_at_nameplate) out.line(fmt::format("  the envelope holds {}{} at nameplate", p.fitting_is_upper_bound ? "at most " : "", count_text(*p.max_nodes_at_nameplate, "node")));
}

void write_nodes(Writer& out, const TrancheStatus& t) {
  Table table({{"node"}, {"state"}, {"verdict"}, {"accelerators", Align::right}, {"reason", Align::left, true}});
  std::size_t left_out = 0;
  for (const auto& node : t.nodes) {
    if (node.state == NodeState::accepted) continue;
    if (table.size() == most_nodes) {
      ++left_out;
      continue;
    }
    table.row({node.name, {std::string(to_string(node.state)), term::style_of(to_string(node.state))}, verdict_cell(node.verdict),
               fmt::format("{}/{}", node.accelerators_validated, node.accelerators), node.reason});
  }
  if (table.empty()) return;
  out.line().table(table);
  if (left_out > 0) out.line(fmt::format("  and {} more: -o json has all", with_thousands(static_cast<long long>(left_out))));
}

void write_allocations(Writer& out, const std::vector<readiness::AllocationStatus>& rows) {
  if (rows.empty()) return;
  Table table({{"tenant"}, {"entitled", Align::right}, {"accepted", Align::right}, {"missing", Align::right}, {"use"}, {"source"}});
  const auto amount = [](const std::optional<std::int64_t>& value, const char* otherwise) { return value ? with_thousands(*value) : std::string(otherwise); };
  for (const auto& a : rows) table.row({a.tenant, amount(a.entitled, "unknown"), amount(a.accepted, ""), amount(a.shortfall, ""), a.use, a.source});
  out.line().table(table);
}

void write_statements(Writer& out, const Readiness& r) {
  if (!r.unknowns.empty()) {
    out.line().line(Style::strong, "Unknown:");
    for (const auto& u : r.unknowns) out.line("- " + u.subject + ": " + u.what + (u.consequence.empty() ? "" : " (" + u.consequence + ")"));
  }
  if (r.facts.empty()) return;
  Table table({{"about"}, {"what", Align::left, true}, {"value", Align::right}, {"source"}, {"as of"}});
  for (const auto& f : r.facts) table.row({f.subject, f.text, f.value, f.source, f.as_of});
  out.line().table(table);
}

}  // namespace

void write_text(Writer& out, const Readiness& r, bool verbose) {
  out.text(Style::strong, site_title(r) + ": ").text(r.ready ? Style::good : Style::bad, r.ready ? "READY" : "NOT READY").line(" - " + summary(r));
  for (const auto& check : r.plan_checks) out.text("  plan: ").word(check.verdict).line(" " + check.detail);
  if (verbose) write_allocations(out, r.allocations);
  for (const auto& tranche : r.tranches) {
    out.line();
    write_head(out, r, tranche);
    out.line();
    write_gates(out, tranche);
    write_blockers(out, tranche, verbose);
    write_not_tested(out, tranche);
    if (!verbose) continue;
    write_power(out, tranche);
    write_allocations(out, tranche.allocations);
    write_nodes(out, tranche);
    if (!tranche.not_required.empty()) {
      out.line();
      for (const auto& gate : tranche.not_required) out.line(Style::faint, fmt::format("  not required: {} ({})", gate.id, gate.reason));
    }
  }
  if (verbose) write_statements(out, r);
}

}  // namespace kfab::report

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

constexpr std::size_t most_rows = 200;

// What a node or a manifest wrote, as text and nothing else: Markdown's own signs are taken literally, HTML is none, and
// a cell stays one cell.
std::string escape(std::string_view untrusted) {
  std::string out;
  for (const char c : one_line(untrusted, 600)) {
    if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '&') out += "&amp;";
    else {
      if (std::string_view("\\`*_[]|#!~").find(c) != std::string_view::npos) out += '\\';
      out += c;
    }
  }
  return out;
}

class Markdown {
 public:
  void line(std::string_view text = {}) { out_.append(text).push_back('\n'); }
  void row(std::initializer_list<std::string> cells) {
    out_ += '|';
    for (const auto& cell : cells) out_ += " " + cell + " |";
    out_ += '\n';
  }
  // Titles ending in ':' stand right.
  void table(std::initializer_list<std::string> titles) {
    out_ += "\n|";
    for (const auto& title : titles) out_ += " " + (title.ends_with(':') ? title.substr(0, title.size() - 1) : title) + " |";
    out_ += "\n|";
    for (const auto& title : titles) out_ += title.ends_with(':') ? " ---: |" : " --- |";
    out_ += '\n';
  }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

std::string verdict_text(Verdict verdict) { return fmt::format("{} {}", verdict_symbol(verdict), verdict_words(verdict)); }
std::string amount(const std::optional<std::int64_t>& value, std::string_view otherwise = "") { return value ? with_thousands(*value) : std::string(otherwise); }

void allocations(Markdown& out, const std::vector<readiness::AllocationStatus>& rows) {
  if (rows.empty()) return;
  out.table({"Tenant", "Entitled:", "Accepted:", "Missing:", "Use", "Source"});
  for (const auto& a : rows)
    out.row({escape(a.title.empty() ? a.tenant : a.title), amount(a.entitled, "unknown"), amount(a.accepted), amount(a.shortfall), escape(a.use), escape(a.source)});
}

void power(Markdown& out, const readiness::PowerStatus& p) {
  if (!p.envelope_kw && !p.nameplate_kw) return;
  out.table({"Power", "kW:"});
  const auto row = [&](const char* name, const std::optional<double>& kw) {
    if (kw) out.row({name, format_number(*kw, 2)});
  };
  row(p.envelope_at == "facility" ? "Envelope at the meter" : "Envelope at the racks", p.envelope_kw);
  if (p.envelope_at == "facility") row("Of it for IT load", p.it_envelope_kw);
  row("Nodes at nameplate", p.nameplate_kw);
  if (p.overhead_fraction) row("With other IT load", p.needed_it_kw);
  row("Needed at the meter", p.facility_needed_kw);
  row("Measured", p.measured_kw);
  row("Measured, for all nodes", p.projected_kw);
}

void tranche(Markdown& out, const Readiness& r, const TrancheStatus& t) {
  out.line();
  out.line(fmt::format("## Tranche {}: {}", escape(tranche_title(t, r.kind == "program")), t.ready ? "READY" : "NOT READY"));
  out.line();
  out.line(escape(capitalised(t.headline)) + ".");
  if (!t.ready && !t.forecast.reason.empty()) out.line("Forecast: " + escape(t.forecast.reason) + ".");
  out.table({"Gate", "Verdict", "What is known"});
  for (const auto& gate : t.gates) out.row({gate_title(gate.id), verdict_text(gate.verdict), escape(gate.detail)});
  if (!t.blockers.empty()) {
    out.line();
    out.line(t.ready ? "### Open, but not in the way" : "### What stands in the way");
    out.line();
    for (std::size_t i = 0; i < t.blockers.size() && i < most_rows; ++i)
      out.line(fmt::format("- **{}** {}. {}.", to_string(t.blockers[i].code), escape(capitalised(t.blockers[i].message)), escape(capitalised(t.blockers[i].next_step))));
  }
  power(out, t.power);
  allocations(out, t.allocations);
  std::size_t rows = 0, all = 0;
  for (const auto& node : t.nodes) {
    if (node.state == NodeState::accepted) continue;
    if (++all == 1) out.table({"Node", "State", "Verdict", "Reason"});
    if (rows == most_rows) continue;
    ++rows;
    out.row({escape(node.name), std::string(to_string(node.state)), verdict_text(node.verdict), escape(node.reason)});
  }
  if (all > rows) out.line(fmt::format("\n{} more nodes are in the JSON.", with_thousands(static_cast<long long>(all - rows))));
  if (!t.not_tested.empty()) {
    out.line();
    out.line("### Not tested");
    out.line();
    for (const auto& row : t.not_tested) out.line(fmt::format("- {}: {}", escape(capitalised(row.what)), escape(row.why)));
  }
}

}  // namespace

std::string to_markdown(const Readiness& r, const Provenance& provenance) {
  Markdown out;
  out.line(fmt::format("# {}: {}", escape(site_title(r)), r.ready ? "READY" : "NOT READY"));
  out.line();
  out.line(escape(summary(r)));
  out.line();
  out.line(escape(subtitle(r)) + ".");
  if (!r.plan_checks.empty()) {
    out.table({"Plan", "Verdict", "What is known"});
    for (const auto& check : r.plan_checks) out.row({plan_check_title(check.id), verdict_text(check.verdict), escape(check.detail)});
  }
  allocations(out, r.allocations);
  for (const auto& each : r.tranches) tranche(out, r, each);
  if (!r.unknowns.empty()) {
    out.line();
    out.line("## Unknown");
    out.table({"About", "Unknown", "What follows"});
    for (const auto& u : r.unknowns) out.row({escape(u.subject), escape(u.what), escape(u.consequence)});
  }
  if (!r.facts.empty()) {
    out.line();
    out.line("## Stated, with sources");
    out.table({"About", "What", "Value:", "Source", "As of"});
    for (const auto& f : r.facts) out.row({escape(f.subject), escape(f.text), escape(f.value), escape(f.source), escape(f.as_of)});
  }
  out.line();
  out.line("---");
  out.line(fmt::format("Written {} by kfab {}{}. Manifest {} (SHA-256 {}). Evidence of runs: {}.", to_rfc3339(r.now), escape(provenance.kfab_version),
                       provenance.run_id.empty() ? "" : ", run " + escape(provenance.run_id), escape(r.file.empty() ? r.name : r.file), escape(r.manifest_sha256),
                       r.run_ids.empty() ? "none" : escape(join(r.run_ids, ", "))));
  return out.take();
}

}  // namespace kfab::report

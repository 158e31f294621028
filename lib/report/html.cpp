#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/codes.hpp"
#include "base/text.hpp"
#include "readiness/words.hpp"
#include "report/charts.hpp"
#include "report/html_writer.hpp"
#include "report/measured.hpp"
#include "report/page_style.hpp"
#include "report/report.hpp"
#include "report/titles.hpp"

namespace kfab::report {
namespace {

using readiness::count_text;
using readiness::Readiness;
using readiness::TrancheStatus;

// More rows of one kind than this are for the CSV and the JSON; the page says how many it leaves out.
constexpr std::size_t most_rows = 200;

struct Heading { std::string_view text, css; };

class Page {
 public:
  Page(const Readiness& r, const Provenance& provenance, const std::vector<store::MeasurementRecord>& measurements)
      : r_(r), provenance_(provenance), measurements_(measurements) {}

  std::string write() {
    html_.trusted("<!DOCTYPE html>\n").open("html", {{"lang", "en"}}).open("head");
    html_.empty("meta", {{"charset", "utf-8"}}).empty("meta", {{"name", "viewport"}, {"content", "width=device-width, initial-scale=1"}});
    html_.empty("meta", {{"http-equiv", "Content-Security-Policy"}, {"content", "default-src 'none'; style-src 'unsafe-inline'"}});
    html_.element("title", fmt::format("{} - readiness on {}", site_title(r_), to_string(date_of(r_.now))));
    html_.open("style").trusted(page_style).close().close().newline().open("body").open("main").newline();
    draw_patterns(html_);
    head();
    plan();
    for (const auto& tranche : r_.tranches) section(tranche);
    measured();
    people();
    statements();
    html_.close();
    foot();
    return html_.finish();
  }

 private:
  void chip(Verdict verdict) {
    html_.element("span", {{"class", fmt::format("v chip {}", to_string(verdict))}}, fmt::format("{} {}", verdict_symbol(verdict), verdict_words(verdict)));
  }
  void verdict_cell(Verdict verdict) {
    html_.open("td", {{"class", "w"}}).element("span", {{"class", fmt::format("v {}", to_string(verdict))}}, fmt::format("{} {}", verdict_symbol(verdict), verdict_words(verdict))).close();
  }
  void cell(std::string_view text, std::string_view css = {}) {
    if (css.empty()) html_.element("td", text);
    else html_.element("td", {{"class", css}}, text);
  }
  void table(std::string_view caption, std::initializer_list<Heading> headings) {
    html_.open("table");
    if (!caption.empty()) html_.element("caption", caption);
    html_.open("thead").open("tr");
    for (const auto& heading : headings) html_.element("th", {{"scope", "col"}, {"class", heading.css}}, heading.text);
    html_.close().close().open("tbody").newline();
  }
  void end_table() { html_.close().close().newline(); }
  void row() { html_.open("tr"); }
  void end_row() { html_.close().newline(); }

  void head() {
    html_.open("header");
    html_.element("p", {{"class", "kicker"}}, r_.kind == "program" ? "Programme readiness" : "Site readiness");
    html_.element("h1", site_title(r_));
    html_.element("p", {{"class", "sub"}}, subtitle(r_));
    const Verdict overall = overall_verdict(r_);
    html_.open("div", {{"class", fmt::format("hero {}", to_string(overall))}, {"role", "status"}});
    html_.element("b", {{"class", "big"}}, r_.ready ? "Ready" : "Not ready").element("span", summary(r_)).close();
    html_.open("div", {{"class", "figures"}});
    const auto figure = [&](std::string_view value, std::string_view name) { html_.open("div").element("strong", value).element("span", name).close(); };
    figure(with_thousands(r_.counts.declared), "nodes declared");
    figure(with_thousands(r_.counts.accepted), "accepted");
    figure(with_thousands(r_.counts.failed), "failed");
    figure(with_thousands(r_.counts.not_judged), "without a verdict");
    figure(with_thousands(r_.accelerator_counts.accepted), "accelerators accepted");
    if (r_.target_accelerators) figure(with_thousands(*r_.target_accelerators), "accelerators planned");
    html_.close().close().newline();
    draw_timeline(html_, r_);
    if (!r_.tranches.empty()) html_.element("h3", "Progress against target");
    draw_progress(html_, r_);
  }

  void plan() {
    if (r_.sites.size() > 1) {
      html_.element("h3", "Sites");
      table({}, {{"Site", ""}, {"Kind", ""}, {"Tranches ready", "n"}, {"Nodes accepted", "n"}, {"Failed", "n"}, {"Newest evidence", ""}});
      for (const auto& site : r_.sites) {
        row();
        cell(site.title.empty() ? site.name : site.title, "k");
        cell(site.kind);
        cell(fmt::format("{} of {}", site.tranches_ready, site.tranches), "n");
        cell(fmt::format("{} of {}", with_thousands(site.counts.accepted), with_thousands(site.counts.declared)), "n");
        cell(with_thousands(site.counts.failed), "n");
        cell(site.evidence_age_days ? fmt::format("{} days old", format_number(*site.evidence_age_days, 1)) : "none");
        end_row();
      }
      end_table();
    }
    if (!r_.plan_checks.empty()) {
      html_.element("h3", "Do the plan's numbers agree");
      table({}, {{"Check", ""}, {"Verdict", ""}, {"", ""}});
      for (const auto& check : r_.plan_checks) {
        row();
        cell(plan_check_title(check.id), "k");
        verdict_cell(check.verdict);
        cell(capitalised(check.detail));
        end_row();
      }
      end_table();
    }
    allocations("Allocations of the whole", r_.allocations);
  }

  void section(const TrancheStatus& t) {
    const std::string name = tranche_title(t, r_.kind == "program");
    html_.open("section", {{"class", "tranche"}, {"aria-label", "Tranche " + name}});
    html_.open("div", {{"class", "title"}}).open("h2").text("Tranche " + name);
    if (!t.title.empty()) html_.element("small", t.title);
    html_.close();
    html_.element("span", {{"class", fmt::format("v chip {}", to_string(t.verdict))}}, fmt::format("{} {}", verdict_symbol(t.verdict), t.ready ? "Ready" : "Not ready")).close();
    html_.element("p", {{"class", "lead"}}, t.headline);
    if (!t.forecast.reason.empty() && !t.ready) html_.element("p", {{"class", "lead"}}, "Forecast: " + t.forecast.reason + ".");
    html_.newline();

    html_.element("h3", "Gates");
    table({}, {{"Gate", ""}, {"Verdict", ""}, {"What is known", ""}});
    for (const auto& gate : t.gates) {
      row();
      cell(gate_title(gate.id), "k");
      verdict_cell(gate.verdict);
      html_.open("td").text(capitalised(gate.detail));
      next_step(t, gate.id);
      html_.close();
      end_row();
    }
    end_table();
    if (!t.not_required.empty()) {
      std::vector<std::string> words;
      for (const auto& gate : t.not_required) words.push_back(fmt::format("{} ({})", to_lower(gate_title(gate.id)), gate.reason));
      html_.element("p", {{"class", "muted small"}, {"style", "margin-top:8px"}}, "Not required: " + join(words, ", ") + ".");
    }
    blockers(t);
    power(t);
    nodes(t);
    allocations("Allocations", t.allocations);
    deliveries(t);
    if (!t.not_tested.empty()) {
      html_.element("h3", "Not tested").open("ul", {{"class", "plain"}});
      for (const auto& row_ : t.not_tested) html_.open("li").element("strong", capitalised(row_.what)).text(": " + row_.why).close();
      html_.close();
    }
    html_.close().newline();
  }

  // What to do about a gate that does not pass, with its code.
  void next_step(const TrancheStatus& t, std::string_view gate) {
    for (const auto& blocker : t.blockers) {
      if (blocker.gate != gate || blocker.node_count > 0) continue;
      html_.open("span", {{"class", "next"}}).element("code", to_string(blocker.code)).text(" " + capitalised(blocker.next_step)).close();
    }
  }

  // Nodes that are not accepted, by reason.
  void blockers(const TrancheStatus& t) {
    if (std::none_of(t.blockers.begin(), t.blockers.end(), [](const auto& blocker) { return blocker.node_count > 0; })) return;
    html_.element("h3", t.ready ? "Nodes that are missing, and not in the way" : "Nodes that are missing, by reason");
    table({}, {{"Code", ""}, {"What, and what to do", ""}});
    for (std::size_t i = 0; i < t.blockers.size() && i < most_rows; ++i) {
      const auto& blocker = t.blockers[i];
      if (blocker.node_count == 0) continue;
      row();
      html_.open("td", {{"class", "w"}}).element("code", to_string(blocker.code)).close();
      html_.open("td").text(capitalised(blocker.message)).element("span", {{"class", "next"}}, capitalised(blocker.next_step)).close();
      end_row();
    }
    end_table();
    left_out(t.blockers.size());
  }

  void left_out(std::size_t rows) {
    if (rows > most_rows) html_.element("p", {{"class", "muted small"}}, fmt::format("{} more are in the CSV and in the JSON.", with_thousands(static_cast<long long>(rows - most_rows))));
  }

  void power(const TrancheStatus& t) {
    if (!t.power.envelope_kw && !t.power.nameplate_kw) return;
    html_.element("h3", t.power.cumulative ? "Power, with the tranches that share the envelope" : "Power");
    draw_power(html_, t);
    if (t.power.capacity.empty() || !t.power.envelope_kw) return;
    std::vector<std::string> words;
    for (const auto& c : t.power.capacity)
      words.push_back(fmt::format("{} of {}{} ({})", count_text(c.nodes, "node"), c.profile, c.accelerators ? ", " + count_text(*c.accelerators, "accelerator") : "", c.basis));
    html_.element("p", {{"class", "muted small"}, {"style", "margin-top:8px"}}, "At nameplate the envelope holds " + join(words, "; or ") + ".");
  }

  void nodes(const TrancheStatus& t) {
    if (t.nodes.empty()) return;
    html_.element("h3", "Nodes");
    draw_nodes(html_, t);
    legend(t);
    std::size_t rows = 0, all = 0;
    for (const auto& node : t.nodes) all += node.state != NodeState::accepted;
    if (all == 0) return;
    html_.element("h3", "Nodes that are not accepted");
    table({}, {{"Node", ""}, {"State", ""}, {"Verdict", ""}, {"Accelerators", "n"}, {"Reason", ""}});
    // What failed comes first.
    for (const bool failed : {true, false})
      for (const auto& node : t.nodes) {
        if (node.state == NodeState::accepted || (node.state == NodeState::failed) != failed || rows == most_rows) continue;
        ++rows;
        row();
        cell(node.name, "k");
        cell(to_string(node.state), "w");
        verdict_cell(node.verdict);
        cell(fmt::format("{} of {}", node.accelerators_validated, node.accelerators), "n");
        cell(capitalised(node.reason));
        end_row();
      }
    end_table();
    left_out(all);
  }

  void legend(const TrancheStatus& t) {
    struct Entry { NodeState state; std::string_view css, words; };
    static constexpr std::array entries{
        Entry{NodeState::accepted, "a", "accepted"},       Entry{NodeState::provisioned, "p", "provisioned, not validated"},
        Entry{NodeState::inventoried, "i", "inventoried"}, Entry{NodeState::reachable, "r", "reachable"},
        Entry{NodeState::declared, "d", "declared only"},  Entry{NodeState::failed, "f", "failed"},
        Entry{NodeState::revoked, "x", "revoked or stale"},
    };
    html_.open("div", {{"class", "legend"}});
    for (const auto& entry : entries) {
      const auto count = std::count_if(t.nodes.begin(), t.nodes.end(), [&](const auto& node) { return node.state == entry.state; });
      if (count == 0) continue;
      html_.open("span").open("svg", {{"viewBox", "0 0 14 14"}, {"aria-hidden", "true"}}).empty("rect", {{"x", 0.5}, {"y", 0.5}, {"width", 13.0}, {"height", 13.0}, {"class", entry.css}}).close();
      html_.text(fmt::format("{} {}", with_thousands(count), entry.words)).close();
    }
    html_.close().newline();
  }

  void allocations(std::string_view title, const std::vector<readiness::AllocationStatus>& rows) {
    if (rows.empty()) return;
    html_.element("h3", title);
    table({}, {{"Tenant", ""}, {"Use", ""}, {"Entitled", "n"}, {"Accepted", "n"}, {"Missing", "n"}, {"From", ""}, {"Source", ""}});
    const auto amount = [](const std::optional<std::int64_t>& value) { return value ? with_thousands(*value) : "unknown"; };
    for (const auto& a : rows) {
      row();
      cell(a.title.empty() ? a.tenant : a.title, "k");
      cell(a.use.empty() ? a.mode : a.mode.empty() ? a.use : a.use + ", " + a.mode);
      cell(amount(a.entitled), "n");
      cell(a.accepted ? with_thousands(*a.accepted) : "", "n");
      cell(a.shortfall ? with_thousands(*a.shortfall) : "", "n");
      cell(a.from, "w");
      cell(a.source);
      end_row();
    }
    end_table();
  }

  void deliveries(const TrancheStatus& t) {
    if (t.deliveries.empty()) return;
    html_.element("h3", "Deliveries");
    table({}, {{"Delivery", ""}, {"State", ""}, {"Expected", ""}, {"Arrived", ""}, {"Accelerators", "n"}, {"Serials seen", "n"}});
    for (const auto& d : t.deliveries) {
      row();
      cell(d.id, "k");
      cell(d.state == "not_dated" ? "not dated" : d.state);
      cell(d.expected, "w");
      cell(d.arrived, "w");
      cell(d.accelerators ? with_thousands(*d.accelerators) : "", "n");
      cell(d.serials_seen ? fmt::format("{} of {}", with_thousands(*d.serials_seen), with_thousands(d.serials)) : "", "n");
      end_row();
    }
    end_table();
  }

  void measured() {
    const auto rows = summarise(measurements_);
    if (rows.empty()) return;
    html_.open("section").element("h2", "What was measured");
    table("Newest figures of every node; a processor's are never an accelerator's.",
          {{"Device", ""}, {"Metric", ""}, {"Unit", ""}, {"Figures", "n"}, {"Least", "n"}, {"Median", "n"}, {"Most", "n"}, {"Limit", "n"}, {"Not met", "n"}, {"Least at", ""}});
    for (std::size_t i = 0; i < rows.size() && i < most_rows; ++i) {
      const auto& m = rows[i];
      const auto value = [&](double v) { return m.count > 0 ? format_number(v, 3) : "none"; };
      row();
      cell(m.device, "w");
      cell(m.metric);
      cell(m.unit, "w");
      cell(with_thousands(m.count) + (m.without_value > 0 ? fmt::format(" of {}", with_thousands(m.count + m.without_value)) : ""), "n");
      cell(value(m.least), "n");
      cell(value(m.median), "n");
      cell(value(m.most), "n");
      cell(m.limit ? format_number(*m.limit, 3) : "", "n");
      cell(with_thousands(m.failed + m.degraded), "n");
      cell(m.least_at);
      end_row();
    }
    end_table();
    left_out(rows.size());
    html_.close();
  }

  void people() {
    const auto& s = r_.sovereignty;
    const bool sovereign = !s.residency.empty() || !s.data_classes.empty() || !s.egress_allow.empty() || !s.operator_nationality.empty() || s.remote_support;
    if (r_.parties.empty() && r_.facility_gates.empty() && r_.pools.empty() && !sovereign) return;
    html_.open("section").element("h2", "Who and where");
    if (!r_.parties.empty()) {
      table({}, {{"Party", ""}, {"Roles", ""}, {"Must sign", ""}, {"Source", ""}});
      for (const auto& party : r_.parties) {
        std::vector<std::string> unsigned_for;
        for (const auto& signature : r_.signatures)
          if (signature.party == party.name && !signature.on_record) unsigned_for.push_back(signature.tranche);
        row();
        cell(party.name, "k");
        cell(join(party.roles, ", "));
        cell(unsigned_for.empty() ? "" : "not signed: " + join(unsigned_for, ", "));
        cell(party.source);
        end_row();
      }
      end_table();
    }
    if (!r_.facility_gates.empty()) {
      html_.element("h3", "The building");
      table({}, {{"Gate", ""}, {"Tranche", ""}, {"Status", ""}, {"Evidence", ""}, {"Source", ""}});
      for (const auto& gate : r_.facility_gates) {
        row();
        cell(r_.sites.size() > 1 ? gate.site + "/" + gate.id : gate.id, "k");
        cell(gate.tranche.empty() ? "all" : gate.tranche);
        cell(gate.status.empty() ? "unknown" : gate.status);
        cell(gate.evidence.empty() ? "none named" : gate.evidence);
        cell(gate.source);
        end_row();
      }
      end_table();
    }
    if (!r_.pools.empty()) {
      html_.element("h3", "Pools");
      table({}, {{"Pool", ""}, {"Mode", ""}, {"Tranches", ""}, {"Accelerators accepted", "n"}, {"Waiting list", ""}});
      for (const auto& pool : r_.pools) {
        row();
        cell(pool.name, "k");
        cell(pool.mode);
        cell(join(pool.tranches, ", "));
        cell(with_thousands(pool.accepted), "n");
        cell(pool.waiting_list ? "yes" : "no");
        end_row();
      }
      end_table();
    }
    if (sovereign) {
      html_.element("h3", "Sovereignty").open("ul", {{"class", "plain"}});
      const auto item = [&](std::string_view name, const std::string& value) {
        if (!value.empty()) html_.open("li").element("strong", name).text(": " + value).close();
      };
      item("Data and evidence stay in", s.residency);
      item("Data classes", join(s.data_classes, ", "));
      item("Nodes may reach", s.egress_allow.empty() ? "" : join(s.egress_allow, ", "));
      item("Operator", s.operator_nationality);
      if (s.remote_support) item("Remote support", *s.remote_support ? "allowed" : "not allowed");
      html_.close();
    }
    html_.close();
  }

  void statements() {
    if (r_.unknowns.empty() && r_.facts.empty()) return;
    html_.open("section").element("h2", "What the manifest says");
    if (!r_.unknowns.empty()) {
      html_.element("h3", "Unknown");
      table({}, {{"About", ""}, {"Unknown", ""}, {"What follows", ""}});
      for (const auto& u : r_.unknowns) {
        row();
        cell(u.subject, "k");
        cell(u.what);
        cell(u.consequence);
        end_row();
      }
      end_table();
    }
    if (!r_.facts.empty()) {
      html_.element("h3", "Stated, with sources");
      table({}, {{"About", ""}, {"What", ""}, {"Value", "n"}, {"Source", ""}, {"As of", "w"}});
      for (const auto& f : r_.facts) {
        row();
        cell(f.subject);
        cell(f.text);
        cell(f.value, "n");
        cell(f.source_text.empty() ? f.source : f.source + ": " + f.source_text, "small");
        cell(f.as_of, "w small");
        end_row();
      }
      end_table();
    }
    html_.close();
  }

  void foot() {
    html_.open("footer").open("dl");
    const auto item = [&](std::string_view name, const std::string& value) {
      if (!value.empty()) html_.element("dt", name).element("dd", value);
    };
    item("Written", to_rfc3339(r_.now) + (provenance_.run_id.empty() ? "" : ", run " + provenance_.run_id));
    item("By", "kfab " + provenance_.kfab_version);
    item("Manifest", r_.file);
    item("Manifest SHA-256", r_.manifest_sha256);
    std::vector<std::string> criteria;
    for (const auto& c : r_.criteria) criteria.push_back(fmt::format("{}{} for {} (SHA-256 {})", c.name, c.version.empty() ? "" : "@" + c.version, c.profile, c.sha256.substr(0, 16)));
    item("Criteria", join(criteria, "; "));
    item("Evidence of runs", r_.run_ids.empty() ? "none" : r_.run_ids.size() > 20 ? fmt::format("{} and {} more", r_.run_ids.back(), r_.run_ids.size() - 1) : join(r_.run_ids, ", "));
    item("Evidence lies in", provenance_.state_dir);
    html_.close().close().newline();
  }

  const Readiness& r_;
  const Provenance& provenance_;
  const std::vector<store::MeasurementRecord>& measurements_;
  HtmlWriter html_;
};

}  // namespace

std::string to_html(const Readiness& r, const Provenance& provenance, const std::vector<store::MeasurementRecord>& measurements) {
  return Page(r, provenance, measurements).write();
}

}  // namespace kfab::report

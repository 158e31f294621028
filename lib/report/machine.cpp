// The forms that other programs read: JUnit XML, OpenMetrics, CSV.
#include <array>
#include <set>

#include <fmt/format.h>

#include "base/text.hpp"
#include "json/value.hpp"
#include "report/html_writer.hpp"
#include "report/report.hpp"
#include "report/titles.hpp"

namespace kfab::report {
namespace {

using readiness::Counts;
using readiness::Readiness;
using readiness::TrancheStatus;

// XML 1.0 knows no control characters at all, not even as references.
std::string xml(std::string_view text) { return escape_markup(text); }

struct Case { std::string name, classname, message; Verdict verdict; };

std::vector<Case> cases_of(const TrancheStatus& tranche, const std::string& name) {
  std::vector<Case> cases;
  for (const auto& gate : tranche.gates) cases.push_back({"gate " + gate.id, name + ".gates", gate.detail, gate.verdict});
  for (const auto& node : tranche.nodes) cases.push_back({node.name, name + ".nodes", node.reason, node.verdict});
  return cases;
}

// One label value of OpenMetrics.
std::string label(std::string_view text) {
  std::string out;
  for (const char c : printable(text)) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') out += "\\n";
    else out += c;
  }
  return out;
}

std::string number_text(double value) { return json::dump(json::Value(value)); }

struct CountRow { std::string_view word; std::int64_t Counts::*field; };
constexpr std::array count_rows{
    CountRow{"declared", &Counts::declared},   CountRow{"reachable", &Counts::reachable}, CountRow{"provisioned", &Counts::provisioned},
    CountRow{"validated", &Counts::validated}, CountRow{"accepted", &Counts::accepted},   CountRow{"failed", &Counts::failed},
    CountRow{"not_judged", &Counts::not_judged},
};

// RFC 4180, and text that a spreadsheet would compute stays text.
std::string csv_cell(std::string_view untrusted) {
  std::string text = printable(untrusted);
  if (!text.empty() && std::string_view("=+-@\t").find(text[0]) != std::string_view::npos) text.insert(text.begin(), '\'');
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}

}  // namespace

std::string to_junit(const Readiness& r, const Provenance& provenance) {
  std::string body;
  std::size_t tests = 0, failures = 0, skipped = 0;
  for (const auto& tranche : r.tranches) {
    const std::string name = (tranche.site.empty() ? r.name : tranche.site) + "." + tranche.name;
    const auto cases = cases_of(tranche, name);
    std::size_t failed = 0, open = 0;
    std::string rows;
    // A runner that counts failures must not take a tranche for ready whose gates were only skipped.
    rows += fmt::format("    <testcase classname=\"{}\" name=\"ready\" time=\"0\"", xml(name));
    if (!tranche.ready) ++failed;
    rows += tranche.ready ? "/>\n" : fmt::format("><failure type=\"not_ready\" message=\"{}\"/></testcase>\n", xml(tranche.headline));
    for (const auto& test : cases) {
      rows += fmt::format("    <testcase classname=\"{}\" name=\"{}\" time=\"0\"", xml(test.classname), xml(test.name));
      if (test.verdict == Verdict::fail || (test.verdict == Verdict::degraded && !test.name.starts_with("gate "))) {
        ++failed;
        rows += fmt::format("><failure type=\"{}\" message=\"{}\"/></testcase>\n", to_string(test.verdict), xml(test.message));
      } else if (test.verdict == Verdict::not_judged) {
        ++open;
        rows += fmt::format("><skipped message=\"{}\"/></testcase>\n", xml("not judged: " + test.message));
      } else if (test.verdict == Verdict::degraded) {
        rows += fmt::format("><system-out>{}</system-out></testcase>\n", xml("degraded: " + test.message));
      } else {
        rows += "/>\n";
      }
    }
    body += fmt::format("  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"0\" timestamp=\"{}\">\n", xml(name), cases.size() + 1, failed, open, to_rfc3339(r.now));
    body += fmt::format("    <properties><property name=\"kfab_version\" value=\"{}\"/><property name=\"manifest_sha256\" value=\"{}\"/><property name=\"ready\" value=\"{}\"/></properties>\n",
                        xml(provenance.kfab_version), xml(r.manifest_sha256), tranche.ready);
    body += rows + "  </testsuite>\n";
    tests += cases.size() + 1;
    failures += failed;
    skipped += open;
  }
  return fmt::format("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"kfab readiness\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"0\">\n{}</testsuites>\n", tests, failures, skipped, body);
}

std::string to_openmetrics(const Readiness& r, const Provenance& provenance) {
  std::string out;
  const auto family = [&](std::string_view name, std::string_view unit, std::string_view help) {
    out += fmt::format("# TYPE {} gauge\n", name);
    if (!unit.empty()) out += fmt::format("# UNIT {} {}\n", name, unit);
    out += fmt::format("# HELP {} {}\n", name, help);
  };
  const auto where = [&](const TrancheStatus& t) { return fmt::format("site=\"{}\",tranche=\"{}\"", label(t.site.empty() ? r.name : t.site), label(t.name)); };

  out += "# TYPE kfab_build info\n# HELP kfab_build What wrote these figures and from which manifest.\n";
  out += fmt::format("kfab_build_info{{version=\"{}\",manifest_sha256=\"{}\"}} 1\n", label(provenance.kfab_version), label(r.manifest_sha256));
  family("kfab_evaluated_timestamp_seconds", "seconds", "When readiness was evaluated.");
  out += fmt::format("kfab_evaluated_timestamp_seconds{{site=\"{}\"}} {}\n", label(r.name), number_text(static_cast<double>(r.now.time_since_epoch().count()) / 1000));
  family("kfab_tranche_ready", "", "Whether the tranche is ready: 1 or 0.");
  for (const auto& t : r.tranches) out += fmt::format("kfab_tranche_ready{{{}}} {}\n", where(t), t.ready ? 1 : 0);
  family("kfab_nodes", "", "Nodes that have come so far.");
  for (const auto& t : r.tranches)
    for (const auto& row : count_rows) out += fmt::format("kfab_nodes{{{},state=\"{}\"}} {}\n", where(t), row.word, t.counts.*row.field);
  family("kfab_accelerators", "", "Accelerators that have come so far.");
  for (const auto& t : r.tranches)
    for (const auto& row : count_rows) out += fmt::format("kfab_accelerators{{{},state=\"{}\"}} {}\n", where(t), row.word, t.accelerator_counts.*row.field);
  family("kfab_gate", "", "1 for the verdict that the gate has.");
  for (const auto& t : r.tranches)
    for (const auto& gate : t.gates) out += fmt::format("kfab_gate{{{},gate=\"{}\",verdict=\"{}\"}} 1\n", where(t), label(gate.id), to_string(gate.verdict));
  family("kfab_power_kilowatts", "kilowatts", "Envelope, nameplate and measured power.");
  for (const auto& t : r.tranches) {
    const auto sample = [&](std::string_view kind, const std::optional<double>& kw) {
      if (kw) out += fmt::format("kfab_power_kilowatts{{{},kind=\"{}\"}} {}\n", where(t), kind, number_text(*kw));
    };
    sample("envelope", t.power.envelope_kw);
    sample("nameplate", t.power.nameplate_kw);
    sample("measured", t.power.measured_kw);
  }
  family("kfab_due_days", "days", "Days to the due date; negative when it has passed.");
  for (const auto& t : r.tranches)
    if (t.forecast.days_to_due) out += fmt::format("kfab_due_days{{{}}} {}\n", where(t), *t.forecast.days_to_due);
  family("kfab_rate_needed", "", "Accelerators a day that must be accepted to be ready when due.");
  for (const auto& t : r.tranches)
    if (t.forecast.rate_needed_per_day) out += fmt::format("kfab_rate_needed{{{}}} {}\n", where(t), number_text(*t.forecast.rate_needed_per_day));
  return out + "# EOF\n";
}

std::string to_csv(const Readiness& r) {
  std::string out = "site,tranche,node,state,verdict,code,reason,profile,group,rack,slot,accelerators,accelerators_validated,accelerators_failed,evidence_at\r\n";
  const auto write = [&](const std::string& site, const std::string& tranche, const readiness::NodeStatus& n) {
    const std::string cells[] = {site, tranche, n.name, std::string(to_string(n.state)), std::string(to_string(n.verdict)),
                                 n.reason.empty() ? "" : to_string(n.code), n.reason, n.profile, n.group, n.rack, n.slot};
    for (const auto& cell : cells) out += csv_cell(cell) + ",";
    out += fmt::format("{},{},{},{}\r\n", n.accelerators, n.accelerators_validated, n.accelerators_failed, n.evidence_at ? to_rfc3339(*n.evidence_at) : "");
  };
  for (const auto& tranche : r.tranches)
    for (const auto& node : tranche.nodes) write(tranche.site.empty() ? r.name : tranche.site, tranche.name, node);
  for (const auto& node : r.unassigned_nodes) write(r.name, "", node);
  return out;
}

namespace {
struct FormatRow { std::string_view name; Format format; };
constexpr std::array formats{FormatRow{"html", Format::html},   FormatRow{"markdown", Format::markdown},       FormatRow{"md", Format::markdown},
                             FormatRow{"junit", Format::junit}, FormatRow{"openmetrics", Format::openmetrics}, FormatRow{"csv", Format::csv}};
}  // namespace

std::optional<Format> parse_format(std::string_view word) {
  for (const auto& row : formats)
    if (row.name == word) return row.format;
  return std::nullopt;
}

std::string_view to_string(Format format) {
  for (const auto& row : formats)
    if (row.format == format) return row.name;
  return {};
}

std::string render(Format format, const Readiness& r, const Provenance& provenance, const std::vector<store::MeasurementRecord>& measurements) {
  switch (format) {
    case Format::html: return to_html(r, provenance, measurements);
    case Format::markdown: return to_markdown(r, provenance);
    case Format::junit: return to_junit(r, provenance);
    case Format::openmetrics: return to_openmetrics(r, provenance);
    case Format::csv: return to_csv(r);
  }
  return {};
}

}  // namespace kfab::report

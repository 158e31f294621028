#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.hpp"
#include "readiness/readiness.hpp"
#include "store/records.hpp"
#include "term/writer.hpp"

// Readiness for people and for other programs. Every form is rendered from the same struct as the JSON, so none of them
// can say something else. All text may come from nodes and manifests: each writer escapes it for its form.
namespace kfab::report {

// Where a report comes from: printed at its foot.
struct Provenance {
  std::string kfab_version;
  std::string run_id;                      // of the run that wrote the report; empty: none
  std::string state_dir;                   // where the evidence lies; empty: not said
};

// For a terminal: the verdict of each tranche first, then its gates, blockers and what was not tested. With `verbose`
// also power in detail, every node that is not accepted, facts with their sources, and unknowns.
void write_text(term::Writer&, const readiness::Readiness&, bool verbose);

// One page with everything in it: no script, no address outside, light and dark, printable on A4. Measurements, where
// given, are shown as a table of what was measured per test.
std::string to_html(const readiness::Readiness&, const Provenance&,
                    const std::vector<store::MeasurementRecord>& measurements = {});

std::string to_markdown(const readiness::Readiness&, const Provenance&);

// One test suite per tranche; a case per gate and per node. not_judged is "skipped" with its reason, never a success.
std::string to_junit(const readiness::Readiness&, const Provenance&);

// Gauges named kfab_*, ended by "# EOF". What is not known has no sample.
std::string to_openmetrics(const readiness::Readiness&, const Provenance&);

// One line per node (RFC 4180, header first). Cells that a spreadsheet would take for a formula are made text.
std::string to_csv(const readiness::Readiness&);

enum class Format { html, markdown, junit, openmetrics, csv };
std::optional<Format> parse_format(std::string_view);   // "html" "markdown" "md" "junit" "openmetrics" "csv"
std::string_view to_string(Format);                              // "markdown" for both of its names
std::string render(Format, const readiness::Readiness&, const Provenance&,
                   const std::vector<store::MeasurementRecord>& measurements = {});

}  // namespace kfab::report

#pragma once

#include <string>
#include <vector>

#include "commands/command.hpp"
#include "commands/readiness.hpp"
#include "report/report.hpp"

namespace kfab::commands {

struct ReportOptions {
  report::Format format = report::Format::html;
  std::vector<std::string> tranches;   // as in ReadinessOptions
  std::string output_file;             // for the result's words; the document itself is written by the caller
};

struct ReportResult {
  ReadinessResult readiness;
  std::string document;                // empty when the outcome is invalid
  std::string format, sha256;          // of the document
};

// Pure, as run_readiness. A report about a site that is not ready was still made: the outcome is that of readiness only
// where it is invalid, else yes.
ReportResult run_report(const ReportOptions&, const manifest::Loaded&, const readiness::EvidenceBySite&,
                        const readiness::Context&, const report::Provenance&);

// Schema kfab.report/1.0: format, file, bytes, sha256, and the verdict of each tranche. Without output_file the document
// itself is what is rendered on stdout, and `data.document` holds it.
CommandOutput to_output(ReportResult, const ReportOptions&, const manifest::Loaded&);

}  // namespace kfab::commands

#include "commands/report.hpp"

#include <memory>

#include "base/sha256.hpp"

namespace kfab::commands {
namespace {

// The figures of the sites that are told about, in one list.
std::vector<store::MeasurementRecord> measurements_of(const readiness::Readiness& r, const readiness::EvidenceBySite& evidence) {
  std::vector<store::MeasurementRecord> all;
  for (const auto& site : r.sites)
    if (const auto found = evidence.find(site.name); found != evidence.end())
      all.insert(all.end(), found->second.measurements.begin(), found->second.measurements.end());
  return all;
}

}  // namespace

ReportResult run_report(const ReportOptions& options, const manifest::Loaded& loaded, const readiness::EvidenceBySite& evidence,
                        const readiness::Context& context, const report::Provenance& provenance) {
  ReportResult result;
  ReadinessOptions asked;
  asked.tranches = options.tranches;
  result.readiness = run_readiness(asked, loaded, evidence, context);
  result.format = report::to_string(options.format);
  if (result.readiness.outcome == Outcome::invalid) return result;
  const auto& r = result.readiness.readiness;
  result.document = report::render(options.format, r, provenance, measurements_of(r, evidence));
  result.sha256 = sha256_hex(result.document);
  return result;
}

CommandOutput to_output(ReportResult result, const ReportOptions& options, const manifest::Loaded& loaded) {
  CommandOutput out;
  const auto& r = result.readiness.readiness;
  out.outcome = result.readiness.outcome == Outcome::invalid ? Outcome::invalid : Outcome::yes;
  out.schema = "kfab.report/1.0";
  out.diagnostics = std::move(result.readiness.diagnostics);
  out.sources = loaded.sources;
  out.site = {r.name, loaded.sha256};
  if (out.outcome == Outcome::invalid) return out;

  const bool to_file = !options.output_file.empty();
  json::Array tranches;
  for (const auto& tranche : r.tranches)
    tranches.push_back(json::Object{{"site", tranche.site.empty() ? json::Value() : json::Value(tranche.site)}, {"name", tranche.name},
                                    {"ready", tranche.ready}, {"verdict", to_string(tranche.verdict)}, {"headline", tranche.headline}});
  out.data = json::Object{{"format", result.format},
                          {"file", to_file ? json::Value(options.output_file) : json::Value()},
                          {"bytes", static_cast<std::uint64_t>(result.document.size())},
                          {"sha256", result.sha256},
                          {"ready", r.ready},
                          {"tranches", std::move(tranches)},
                          {"document", to_file ? json::Value() : json::Value(result.document)}};
  const auto document = std::make_shared<std::string>(std::move(result.document));
  if (to_file)
    out.render = [file = options.output_file, document, format = result.format](term::Writer& writer) {
      writer.line(file + ": " + format + ", " + std::to_string(document->size()) + " bytes");
    };
  else
    out.render = [document](term::Writer& writer) { writer.raw(*document); };
  return out;
}

}  // namespace kfab::commands

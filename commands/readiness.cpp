#include "commands/readiness.hpp"

#include <memory>

#include "base/codes/commands.hpp"
#include "readiness/json.hpp"
#include "report/report.hpp"

namespace kfab::commands {

ReadinessResult run_readiness(const ReadinessOptions& options, const manifest::Loaded& loaded, const readiness::EvidenceBySite& evidence,
                              const readiness::Context& context) {
  ReadinessResult result;
  result.diagnostics = loaded.diagnostics;
  result.outcome = Outcome::invalid;
  if (has_errors(loaded.diagnostics)) return result;
  if (const auto* site = loaded.site()) {
    static const store::Evidence none;
    const auto found = evidence.find(site->metadata.name);
    result.readiness = readiness::assess(*site, found == evidence.end() ? none : found->second, context);
  } else if (const auto* program = loaded.program()) {
    result.readiness = readiness::assess(*program, evidence, context);
  } else {
    result.diagnostics.push_back(error(code::not_a_site, "readiness is told of a Site or a Program; this document is neither"));
    return result;
  }
  const auto& found = result.readiness.diagnostics;
  result.diagnostics.insert(result.diagnostics.end(), found.begin(), found.end());
  if (auto selected = readiness::select_tranches(result.readiness, options.tranches); !selected) {
    result.diagnostics.push_back(std::move(selected).error());
    return result;
  }
  result.outcome = result.readiness.ready ? Outcome::yes : Outcome::no;
  return result;
}

CommandOutput to_output(ReadinessResult result, const ReadinessOptions& options, const manifest::Loaded& loaded) {
  CommandOutput out;
  out.outcome = result.outcome;
  out.schema = "kfab.readiness/1.0";
  out.diagnostics = std::move(result.diagnostics);
  out.sources = loaded.sources;
  out.site = {result.readiness.name, loaded.sha256};
  if (result.outcome == Outcome::invalid) return out;
  out.data = readiness::to_json(result.readiness);
  const auto shown = std::make_shared<readiness::Readiness>(std::move(result.readiness));
  out.render = [shown, verbose = options.verbose](term::Writer& writer) { report::write_text(writer, *shown, verbose); };
  return out;
}

}  // namespace kfab::commands

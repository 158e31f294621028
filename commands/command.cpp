#include "commands/command.hpp"

namespace kfab {

CommandOutput not_started(Diagnostics diagnostics, std::vector<manifest::SourceText> sources) {
  CommandOutput out;
  out.outcome = Outcome::invalid;
  out.diagnostics = std::move(diagnostics);
  out.sources = std::move(sources);
  return out;
}

CommandOutput not_started(Diagnostic diagnostic) { return not_started(Diagnostics{std::move(diagnostic)}); }

std::function<void(term::Writer&)> plain_text(std::string text) {
  return [text = std::move(text)](term::Writer& writer) { writer.text(text); };
}

}  // namespace kfab

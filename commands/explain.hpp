#pragma once

#include <optional>
#include <string>
#include <vector>

#include "commands/command.hpp"

namespace kfab::commands {

struct ExplainOptions {
  std::vector<std::string> codes;   // "KF1003", "1003" or the name, "duplicate_key"; empty: all codes
};

struct ExplainResult {
  std::vector<Code> codes;
  bool all = false;
  Diagnostics diagnostics;          // unknown_code for each word that is none
};

ExplainResult run_explain(const ExplainOptions&);
// Schema kfab.explain/1.0: codes[] of code, name, severity, cause, next_step.
CommandOutput to_output(ExplainResult);

}  // namespace kfab::commands

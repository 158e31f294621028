#pragma once

#include <string>
#include <vector>

#include "commands/command.hpp"
#include "manifest/load.hpp"
#include "readiness/readiness.hpp"

namespace kfab::commands {

struct ReadinessOptions {
  std::vector<std::string> tranches;   // "p1", in a programme also "ulsan/p1"; empty: all
  bool verbose = false;                // the text also holds facts, unknowns and every node that is not accepted
};

struct ReadinessResult {
  readiness::Readiness readiness;
  Diagnostics diagnostics;
  Outcome outcome = Outcome::no;       // yes: every selected tranche is ready; invalid: no site, or no such tranche
};

// Pure: the caller has read the manifest, the evidence of each site by its name, and the clock.
ReadinessResult run_readiness(const ReadinessOptions&, const manifest::Loaded&, const readiness::EvidenceBySite&,
                              const readiness::Context&);

// As every command gives it back: schema kfab.readiness/1.0, rendered for people by report::write_text.
CommandOutput to_output(ReadinessResult, const ReadinessOptions&, const manifest::Loaded&);

}  // namespace kfab::commands

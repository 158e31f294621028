#pragma once

#include <string>
#include <vector>

#include "commands/doctor_checks.hpp"
#include "commands/site_session.hpp"
#include "commands/version.hpp"

namespace kfab::commands {

// `kfab doctor [MANIFEST]`: is everything in place on this machine. Opens no connection to any node; asks the name
// service for the addresses of the selected nodes, for at most five seconds.
struct DoctorOptions {
  SiteOptions site;      // manifest may be empty: then only this machine is looked at
  BuildFacts build;
};

struct DoctorResult {
  std::vector<DoctorCheck> checks;
  std::vector<std::string> notes;
  Verdict verdict = Verdict::not_judged;   // the worst of the checks
};

// verdict, checks[]: id, verdict, seen, next; notes[].
json::Value to_json(const DoctorResult&);
void render(const DoctorResult&, term::Writer&);

// yes, no where a check failed, incomplete where one could not be judged.
CommandOutput run_doctor(const DoctorOptions&, Env&);

}  // namespace kfab::commands

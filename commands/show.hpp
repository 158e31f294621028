#pragma once

#include <string>

#include "commands/command.hpp"
#include "commands/env.hpp"
#include "manifest/load.hpp"

namespace kfab::commands {

// `kfab show MANIFEST`: what is declared, resolved: references followed, units converted, nodes folded.
struct ShowOptions {
  std::string file;                  // "-" is standard input
  bool nodes = false;                // every node in a row of its own
};

struct ShowResult {
  manifest::Loaded loaded;           // without errors
  bool nodes = false;
};

// Schema kfab.show/1.0. The same keys for a Site and a Program: kind, name, title, country, federation, as_of, sources[],
// site_kind, blueprint, accelerators, parties[], sovereignty, security, connectivity, power, tranches[], groups[],
// nodes[] (empty unless asked for), profiles[], criteria[], roles[], tenants[], allocations[], pools[],
// facility_gates[], subsystems[], links[], facts[], sites[]. A value that is stated is {state, value, source, as_of}
// with state absent, unknown or known. A Profile, Criteria or Role fills only its own list.
json::Value to_json(const ShowResult&);
void render(const ShowResult&, term::Writer&);

CommandOutput run_show(const ShowOptions&, Env&);

}  // namespace kfab::commands

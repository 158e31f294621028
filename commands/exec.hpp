#pragma once

#include <string>
#include <vector>

#include "commands/fleet_summary.hpp"
#include "commands/site_session.hpp"
#include "fleet/fleet.hpp"

namespace kfab::commands {

// `kfab exec [MANIFEST] -w SET -- CMD...`: one command line on many nodes. The words are joined by blanks and given to
// the login shell of each node, as ssh(1) does. Without a manifest the node set is of addresses.
struct ExecOptions {
  SiteOptions site;               // manifest may be empty: then selection.nodes names addresses
  std::vector<std::string> command;
  double timeout_s = 0;           // of the command on one node; 0: none
  std::string stdin_file;         // "-": kfab's own standard input; empty: nothing
};

struct ExecResult {
  std::string command_line;
  std::vector<fleet::CommandResult> nodes;
  OutcomeCounts counts;
  FleetSummary summary;
};

// nodes[]: node, outcome, phase, exit_status, signal, stdout, stderr, truncated_bytes, duration_s, reason, code; failures{}, cost{}.
json::Value to_json(const ExecResult&);
void render(const ExecResult&, term::Writer&);   // identical outputs once, under the folded names

CommandOutput run_exec(const ExecOptions&, Env&);

}  // namespace kfab::commands

#pragma once

#include <string>
#include <vector>

#include "commands/fleet_summary.hpp"
#include "commands/site_session.hpp"
#include "fleet/fleet.hpp"

namespace kfab::commands {

// `kfab exec [MANIFEST] -w SET -- CMD...`: one command line on many nodes. The words are joined by blanks and run by the
// user's shell on each node (with become: by root's /bin/sh), supervised, so that nothing is left when kfab is gone.
// Without a manifest the node set is of addresses.
struct ExecOptions {
  SiteOptions site;               // manifest may be empty: then selection.nodes names addresses
  std::vector<std::string> command;
  double timeout_s = 0;           // of the command on one node; 0: none
  std::string stdin_file;         // "-": kfab's own standard input; empty: nothing
  std::vector<std::string> environment;   // NAME=VALUE
  std::string output_dir;         // where NODE.out, NODE.err and NODE.json are written; empty: nowhere
  bool plain = false;             // the words go to the login shell as ssh(1) gives them, unsupervised
};

struct ExecResult {
  std::string command_line;
  std::vector<fleet::CommandResult> nodes;
  OutcomeCounts counts;
  FleetSummary summary;
  std::string output_dir;         // as in ExecOptions; then what is here is the beginning of what is there
};

// nodes[]: node, outcome, phase, exit_status, signal, stdout, stderr, truncated_bytes, duration_s, reason, code; failures{}, cost{}.
json::Value to_json(const ExecResult&);
void render(const ExecResult&, term::Writer&);   // identical outputs once, under the folded names

CommandOutput run_exec(const ExecOptions&, Env&);

}  // namespace kfab::commands

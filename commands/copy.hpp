#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "commands/fleet_summary.hpp"
#include "commands/site_session.hpp"
#include "fleet/copy.hpp"

namespace kfab::commands {

// `kfab copy [MANIFEST] -w SET FILE PATH`: one file to many nodes; `kfab copy [MANIFEST] -w SET --from PATH DIR`: one
// file from each of many nodes, to DIR/NODE/NAME.
struct CopyOptions {
  SiteOptions site;                    // manifest may be empty: then selection.nodes names addresses
  std::vector<std::string> words;      // what was typed: with --from the folder, else the file and the path
  std::string from;                    // the path on the nodes; empty: to the nodes
  std::string mode;                    // octal permission bits; empty: the file's own, and 0600 with --from
  std::string owner;                   // USER or USER:GROUP, to the nodes only
  std::uint64_t max_bytes = std::uint64_t{1} << 30;   // with --from
  double timeout_s = 0;                // for one node; 0: none
};

struct CopyRun {
  bool fetch = false;
  std::string source, destination;     // as given
  std::uint64_t size_bytes = 0;        // of the file that is sent; 0 with --from
  std::vector<fleet::CopyResult> nodes;
  std::vector<std::string> local;      // with --from: where each file is
  OutcomeCounts counts;
  FleetSummary summary;                // how failures are alike, what was not started, the cost
};

// counts; failures and cost as fleet_summary.hpp says; nodes[]: node, outcome, phase, bytes_sent, resumed_from_bytes, sha256, changed, path, duration_s, reason, code.
json::Value to_json(const CopyRun&);
void render(const CopyRun&, term::Writer&);   // nodes with the same end together

CommandOutput run_copy(const CopyOptions&, Env&);

}  // namespace kfab::commands

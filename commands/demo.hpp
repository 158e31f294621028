#pragma once

#include <string>
#include <vector>

#include "commands/command.hpp"
#include "commands/env.hpp"

namespace kfab::commands {

// `kfab demo`: the whole job on this machine. A private sshd on loopback plays four nodes in two tranches; every step is
// this same kfab, run with the command line that a user would type. It stops what it started and keeps its folder.
struct DemoOptions {
  std::string directory;   // made if it is not there; empty: a new one under TMPDIR
  bool echo = true;        // show the steps and what they print, as they happen; off under -o json
};

struct DemoStep {
  std::string command;     // as a user would type it
  int expected_exit = 0, exit = -1;
  double duration_s = 0;
  bool as_expected() const { return exit == expected_exit; }
};

struct DemoTranche { std::string name; bool ready = false; std::string reason; };

struct DemoResult {
  std::string directory, report, readiness_json;
  std::vector<DemoStep> steps;
  std::vector<DemoTranche> tranches;
};

// directory, report, readiness_json, steps[]{command, expected_exit, exit, duration_s}, tranches[]{name, ready, reason}.
json::Value to_json(const DemoResult&);
void render(const DemoResult&, term::Writer&);

// Yes when every step ended as it must and the tranches came out as they must: the first ready, the second not.
CommandOutput run_demo(const DemoOptions&, Env&);

}  // namespace kfab::commands

#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "commands/command.hpp"
#include "commands/env.hpp"
#include "store/store.hpp"

// `kfab runs`: what was done, when and by whom; and what a run left undone, which `kfab resume` goes on with. The store's
// record alone decides: nothing is asked of the nodes.
namespace kfab::commands {

struct RunsOptions {
  std::string run;              // one run with the nodes it left; empty: the newest ones
  std::size_t limit = 20;
};

// unknown: it has no end and holds no lock; continued: nor has it, but another run goes on with what it left.
enum class RunState { finished, running, killed, unknown, continued };

struct RunRow {
  store::RunRecord run;
  RunState state = RunState::finished;
  store::RunLinks links{};
  // That it was to work on; those of them that are as they were to be, by it or by the runs that went on with it. 0 where it is
  // not known.
  std::size_t nodes = 0, done = 0;
  std::size_t cut = 0;                          // of tests left to nodes: ended early and fetched, so that they are neither done nor left
  std::vector<store::NodeRecord> left{};        // of one run: the nodes that are not done, those that never ended with an empty reason
  std::vector<store::NodeRecord> cut_nodes{};   // of one run
  std::vector<store::StoredEvent> events{};     // of one run
  std::vector<std::string> chain{};             // of one run: those that go on with each other, the first to the newest; it alone: none does
};

struct RunsResult {
  std::vector<RunRow> runs;
  bool one = false;
};

json::Value to_json(const RunsResult&);
void render(const RunsResult&, term::Writer&);
CommandOutput run_runs(const RunsOptions&, Env&);

}  // namespace kfab::commands

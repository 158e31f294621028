#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/result.hpp"
#include "commands/command.hpp"
#include "commands/detached.hpp"
#include "commands/env.hpp"
#include "store/store.hpp"

// `kfab runs`: what was done, when and by whom; and what a run left undone, which `kfab resume` goes on with. The store's
// record alone decides: nothing is asked of the nodes.
namespace kfab::commands {

struct RunsOptions {
  std::string run;              // one run with the nodes it left; empty: the newest ones
  std::size_t limit = 20;
};

enum class RunState { finished, running, killed, unknown };   // unknown: it has no end and holds no lock

struct RunRow {
  store::RunRecord run;
  RunState state = RunState::finished;
  std::size_t nodes = 0, done = 0;              // that it was to work on, that are as they were to be; 0 where it is not known
  std::vector<store::NodeRecord> left{};        // of one run: the nodes that are not done, those that never ended with an empty reason
  std::vector<store::StoredEvent> events{};     // of one run
};

struct RunsResult {
  std::vector<RunRow> runs;
  bool one = false;
};

json::Value to_json(const RunsResult&);
void render(const RunsResult&, term::Writer&);
CommandOutput run_runs(const RunsOptions&, Env&);

// What is to be done to go on with a run of provision or reboot.
struct Resumable {
  std::string run_id;
  std::string command;                    // provision or reboot
  std::vector<std::string> argv;          // of the run that this goes back to
  std::string directory;                  // in which it was typed
  std::string plan;                       // the plan that it applied, kept beside the store; empty: none
  std::string site;
  std::size_t nodes = 0;
  std::vector<std::pair<std::string, std::string>> left;   // nodes and the digests of their desired states
  std::map<std::string, store::NodeRecord> records;        // of these nodes: what was kept of them last
};

// Of the named run, or of the last one that can be gone on with: one of provision or reboot, or one whose tests were left to the
// nodes. Errors: unknown_run, nothing_to_resume (no such run was kept, or it changed nothing).
Result<std::variant<Resumable, DetachedRun>> find_resumable(const std::string& run, Env&);

// Of a run that kept its work: whether all of its nodes are done, or it never began with any. Then there is nothing to go on
// with, and what it has locked is in nobody's way.
bool left_nothing(const store::Store&, const std::string& run_id);

// What a run of provision or reboot keeps for it.
json::Value work_document(const std::vector<std::string>& argv, const std::string& plan, const std::vector<std::pair<std::string, std::string>>& nodes);

}  // namespace kfab::commands

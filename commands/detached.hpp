#pragma once

#include <optional>
#include <string>
#include <vector>

#include "commands/recorder.hpp"
#include "commands/validate.hpp"
#include "commands/validate_nodes.hpp"

// Tests that go on by themselves on the nodes, without kfab and without a connection: started by `kfab validate --detach`,
// asked after and judged by `kfab resume`.
namespace kfab::commands {

// What one node was given to do.
struct DetachedJob {
  std::string node, job;                        // the job's name on the node
  std::string device, level;
  bool shortened = false;
  std::vector<std::string> families;
};

// A run whose tests were left to the nodes, as the store has it.
struct DetachedRun {
  std::string run_id, command, site;
  std::vector<std::string> argv;
  std::string directory;                        // in which it was typed
  std::size_t nodes = 0;
  std::vector<DetachedJob> left;                // those whose result was not fetched yet
  std::size_t failed = 0, not_judged = 0;       // of those whose result was
  Timestamp started_at{};                       // of the run
  std::vector<DetachedJob> fetched{};           // those whose result was
  std::vector<std::string> chain{};             // this run and those that asked after its tests, the first to the newest
};

// What such a run keeps before the first node is touched, and the same read again; nothing for a document of another kind.
json::Value detached_document(const std::vector<std::string>& argv, const std::vector<DetachedJob>&);
std::optional<std::vector<DetachedJob>> read_detached(const json::Value& work);

// Starts the tests on every node, and comes back when they have begun. A node that would not begin is not judged, and says
// why; one that was not reached is asked again by `kfab resume`.
ValidateResult start_detached(SiteSession&, const std::vector<NodeTest>&, const ValidateOptions&, Env&, Recorder&);

struct ResumeTestsOptions {
  bool follow = false;                          // stay until all nodes are done; an interrupt leaves the tests alone
  bool stop = false;                            // end them first
};

// Asks every node that is left how far its tests are. Those that are done are judged and recorded under the run that
// started them; the others say how long they will take. `options` are those of that run as it was typed.
CommandOutput run_resume_tests(const DetachedRun&, ValidateOptions options, const ResumeTestsOptions&, Env&);

}  // namespace kfab::commands

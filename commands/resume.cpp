#include "commands/resume.hpp"

#include <optional>

#include <fmt/format.h>

#include "base/text.hpp"
#include "commands/run_lock.hpp"
#include "nodeset/nodeset.hpp"

namespace kfab::commands {
namespace {

std::optional<CommandOutput> nothing_left(const Resumable& run, const Env& env) {
  if (!run.left.empty()) return std::nullopt;
  if (auto released = release_locks_of(run.run_id, run.site, env); !released) return not_started(std::move(released).error());
  CommandOutput output;
  output.site.name = run.site;
  output.render = plain_text(fmt::format("Nothing is left of {}: {} done.\n", run.run_id, plural(static_cast<long long>(run.nodes), "node")));
  return output;
}

Selection what_is_left(const Resumable& run) {
  std::vector<std::string> names;
  for (const auto& [node, desired] : run.left) names.push_back(node);
  return {{}, nodeset::fold_names(names), {}};
}

}  // namespace

CommandOutput run_resume(const Resumable& run, ProvisionOptions options, Env& env) {
  if (auto done = nothing_left(run, env)) return std::move(*done);
  options.site.selection = what_is_left(run);
  options.resumed_run = run.run_id;
  options.argv = run.argv;
  for (const auto& [node, desired] : run.left) options.resumed_states.emplace(node, desired);
  options.resumed_of = run.nodes;
  if (!run.plan.empty()) options.site.manifest = run.plan;
  return run_provision(options, env);
}

CommandOutput run_resume(const Resumable& run, RebootOptions options, Env& env) {
  if (auto done = nothing_left(run, env)) return std::move(*done);
  options.site.selection = what_is_left(run);
  options.needed = false;   // of these it was
  options.resumed_run = run.run_id;
  options.argv = run.argv;
  options.resumed_of = run.nodes;
  options.resumed = run.records;
  return run_reboot(options, env);
}

}  // namespace kfab::commands

#include "commands/resume.hpp"

#include <fmt/format.h>

#include "base/text.hpp"
#include "nodeset/nodeset.hpp"

namespace kfab::commands {

CommandOutput run_resume(const Resumable& run, ProvisionOptions options, Env& env) {
  if (run.left.empty()) {
    CommandOutput output;
    output.site.name = run.site;
    output.render = plain_text(fmt::format("Nothing is left of {}: {} done.\n", run.run_id, plural(static_cast<long long>(run.nodes), "node")));
    return output;
  }
  std::vector<std::string> names;
  for (const auto& [node, desired] : run.left) names.push_back(node);
  options.site.selection = {{}, nodeset::fold_names(names), {}};
  options.resumed_run = run.run_id;
  options.argv = run.argv;
  for (const auto& [node, desired] : run.left) options.resumed_states.emplace(node, desired);
  options.resumed_of = run.nodes;
  if (!run.plan.empty()) options.site.manifest = run.plan;
  return run_provision(options, env);
}

}  // namespace kfab::commands

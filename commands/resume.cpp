#include "commands/resume.hpp"

#include <array>
#include <optional>

#include <fmt/format.h>

#include "base/codes/plan.hpp"
#include "base/text.hpp"
#include "commands/run_lock.hpp"
#include "nodeset/nodeset.hpp"

namespace kfab::commands {
namespace {

// What is on record of nodes that are all done, in the words of their verdicts.
std::optional<CommandOutput> nothing_left(const Resumable& run, const Env& env) {
  if (!run.left.empty()) return std::nullopt;
  if (auto released = release_locks_of(run.chain, run.site, env); !released) return not_started(std::move(released).error());
  std::array<std::size_t, 4> verdicts{};
  for (const auto& [node, record] : run.records) ++verdicts[static_cast<std::size_t>(record.verdict)];
  std::string recorded;
  for (const Verdict verdict : {Verdict::pass, Verdict::degraded, Verdict::fail, Verdict::not_judged})
    if (const auto count = verdicts[static_cast<std::size_t>(verdict)]; count > 0) recorded += fmt::format("{}{} {}", recorded.empty() ? ", on record: " : ", ", with_thousands(static_cast<long long>(count)), to_string(verdict));
  CommandOutput output;
  output.site.name = run.site;
  if (is_testing(run.command)) {
    const auto of = [&](Verdict verdict) { return verdicts[static_cast<std::size_t>(verdict)]; };
    output.outcome = overall(env, of(Verdict::not_judged) > 0, of(Verdict::fail) + of(Verdict::degraded) > 0);
  }
  std::string text = fmt::format("Nothing is left of {}: {} done{}.\n", run.run_id, plural(static_cast<long long>(run.nodes), "node"), recorded);
  if (run.chain.size() > 1) text += fmt::format("The runs that it took: {}.\n", join(run.chain, ", then "));
  output.render = plain_text(std::move(text));
  return output;
}

Selection what_is_left(const Resumable& run) {
  std::vector<std::string> names;
  for (const auto& [node, desired] : run.left) names.push_back(node);
  return {{}, nodeset::fold_names(names), {}};
}

std::string end_of(const PassedOver& newest) {
  return newest.run.outcome ? fmt::format("ended with {}", to_string(*newest.run.outcome)) : std::string("has no end on record");
}

std::string typed(const PassedOver& newest) { return one_line("kfab " + join(newest.run.argv, " "), 200); }

}  // namespace

std::optional<Diagnostic> told_of(const PassedOver& newest) {
  if (newest.run.outcome == Outcome::yes) return std::nullopt;
  const std::string& id = newest.run.id;
  Diagnostic why = make_diagnostic(code::run_passed_over, fmt::format("the newest run, {}, {} and is not gone on with: {}", id, end_of(newest), typed(newest)));
  const auto nodes = [](std::size_t count) { return plural(static_cast<long long>(count), "node"); };
  if (newest.left > 0) why.help.push_back(fmt::format("{} of {} not tested to the end: kfab resume {} tests what is left", newest.left, nodes(newest.nodes), id));
  else if (newest.nodes > 0) why.help.push_back(fmt::format("its tests of {} are over: kfab readiness MANIFEST tells what they found; what was repaired since is tested anew by what was typed", nodes(newest.nodes)));
  else why.help.push_back(fmt::format("it kept nothing to go on with: kfab runs {} tells what became of it, and what was typed does it anew", id));
  return why;
}

CommandOutput run_resume(const PassedOver& newest) {
  CommandOutput output;
  output.site.name = newest.run.site;
  const bool answered = newest.run.outcome == Outcome::yes || newest.run.outcome == Outcome::no;
  output.outcome = answered ? *newest.run.outcome : Outcome::incomplete;
  if (auto why = told_of(newest)) output.diagnostics.push_back(std::move(*why));
  output.render = plain_text(fmt::format("Nothing is gone on with. The newest run, {}, {}: {}\n", newest.run.id, end_of(newest), typed(newest)));
  return output;
}

CommandOutput run_resume(const Resumable& run, ProvisionOptions options, Env& env) {
  if (auto done = nothing_left(run, env)) return std::move(*done);
  options.site.selection = what_is_left(run);
  if (!run.plan.empty()) options.site.manifest = run.plan;
  options.resumed = run;
  return run_provision(options, env);
}

CommandOutput run_resume(const Resumable& run, UndoOptions options, Env& env) {
  if (auto done = nothing_left(run, env)) return std::move(*done);
  options.site.selection = what_is_left(run);
  options.resumed = run;
  return run_undo(options, env);
}

CommandOutput run_resume(const Resumable& run, RebootOptions options, Env& env) {
  if (auto done = nothing_left(run, env)) return std::move(*done);
  options.site.selection = what_is_left(run);
  options.needed = false;   // of these it was
  options.resumed = run;
  return run_reboot(options, env);
}

CommandOutput run_resume(const Resumable& run, ValidateOptions options, Env& env) {
  if (auto done = nothing_left(run, env)) return std::move(*done);
  options.detach = false;   // nor was it
  options.resumed = run;    // the selection stays: nodes that share a machine share it with those that are done
  return run_validate(options, env);
}

}  // namespace kfab::commands

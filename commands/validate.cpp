#include "commands/validate.hpp"

#include <algorithm>
#include <chrono>
#include <map>

#include <fmt/format.h>

#include "base/codes/cli.hpp"
#include "base/codes/commands.hpp"
#include "base/text.hpp"
#include "commands/detached.hpp"
#include "commands/recorder.hpp"
#include "commands/run_lock.hpp"
#include "commands/validate_nodes.hpp"
#include "nodeset/nodeset.hpp"

namespace kfab::commands {
namespace {

constexpr std::size_t most_without_asking = 32;   // nodes that are put under load without a question

// How many nodes are loaded, with what, and about how long: each batch takes as long as its nodes do, window by window.
std::string question(const ValidateOptions& options, std::size_t nodes, const std::string& site, double predicted_s) {
  const std::size_t window = std::max<std::size_t>(options.site.reach.window, 1);
  return fmt::format("Load {} of {} with {} for about {} each, at most {} at a time, about {} in all?", plural(static_cast<long long>(nodes), "node"),
                     one_line(site, 80), options.families.empty() ? "all tests" : "the " + join(options.families, " and ") + " tests",
                     brief_duration_s(predicted_s), with_thousands(static_cast<long long>(std::min(window, nodes))),
                     brief_duration_s(predicted_total_s(options.site.reach, nodes, predicted_s)));
}

// All tests while this process watches: what a node says is judged and kept as soon as it is complete.
ValidateResult run_attached(SiteSession& session, const std::vector<NodeTest>& tests, double predicted_s, const ValidateOptions& options, Env& env, Recorder& recorder) {
  ValidateResult result;
  result.families = options.families.empty() ? validation::all_families() : options.families;
  result.nodes.resize(session.nodes.size());
  const auto request_of = [&](std::size_t index) {
    const auto& plan = tests[index].plan;
    json::Object request = plan.members;
    request.set("task", "test").set("run_id", env.run_id);
    return fleet::AgentTask{std::move(request), session.sudo[index], std::chrono::seconds(static_cast<long long>(plan.deadline_s)), session.password.get()};
  };
  result.summary = run_agents(session, env, options.site.reach,
             fmt::format("testing (about {} per node)", format_duration_s(predicted_s)), request_of, [&](AgentRun run) {
               const std::size_t index = run.index;
               const AgentRun copy{index, {}, run.end, run.reason};
               ValidatedNode node = judged(tests[index], std::move(run));
               if (!was_cancelled(copy.end)) recorder.put(findings_of(env, env.run_id, tests[index], copy, node));
               NodeJudged verdict{node.judgement.verdict != Verdict::fail, {}, node.judgement.reason()};
               result.nodes[index] = std::move(node);
               return verdict;
             });
  result.fleet = judge_beside_peers(result.nodes, tests, session.nodes, env.run_id, env, recorder);
  return result;
}

// What would be done, and how long it would take: nobody is reached, nothing is kept.
CommandOutput only_plan(const SiteSession& session, const std::vector<NodeTest>& tests, double predicted_s, const ValidateOptions& options, const Env& env) {
  ValidateResult result;
  result.families = options.families.empty() ? validation::all_families() : options.families;
  result.plans = planned(tests);
  result.predicted_s = predicted_total_s(options.site.reach, tests.size(), predicted_s);
  result.only_planned = true;
  CommandOutput output = session.output();
  output.outcome = overall(env, false, false);
  output.data = to_json(result);
  output.render = [result = std::move(result)](term::Writer& out) { render(result, out); };
  return output;
}

}  // namespace

CommandOutput run_validate(const ValidateOptions& options, Env& env) {
  auto opened = open_site(options.site, env);
  if (auto* stopped = std::get_if<CommandOutput>(&opened)) return std::move(*stopped);
  auto& session = std::get<SiteSession>(opened);
  auto tests = plan_nodes(session, options);
  if (!tests) {
    CommandOutput output = not_started(std::move(tests).error());
    output.site = session.ref();
    return output;
  }
  double predicted_s = 0;
  for (const auto& test : *tests) predicted_s = std::max(predicted_s, test.plan.predicted_s);
  if (options.dry_run) return only_plan(session, *tests, predicted_s, options, env);
  const bool loads = options.families != std::vector<std::string>{"health"};   // reading counters loads nobody
  if (loads && session.nodes.size() > most_without_asking) {
    auto agreed = env.confirm(question(options, session.nodes.size(), session.site->metadata.name, predicted_s));
    if (!agreed || !*agreed) {
      CommandOutput output = not_started(agreed ? error(code::confirmation_missing, "not confirmed; nothing was tested") : std::move(agreed).error());
      output.site = session.ref();
      return output;
    }
  }
  // A node that somebody provisions or reboots meanwhile is no node to be measured.
  auto lock = RunLock::take(env, session, options.site.manifest, "kfab " + join(env.command_line, " "));
  if (!lock) {
    CommandOutput output = not_started(std::move(lock).error());
    output.site = session.ref();
    return output;
  }
  auto recorder = Recorder::begin(env, options.command, session.ref());
  if (!recorder) return not_started(std::move(recorder).error());

  const bool detach = options.detach.value_or(std::any_of(tests->begin(), tests->end(), [](const NodeTest& test) { return test.plan.level == validation::Level::soak; }));
  ValidateResult result = detach ? start_detached(session, *tests, options, env, **recorder) : run_attached(session, *tests, predicted_s, options, env, **recorder);
  result.plans = planned(*tests);
  result.predicted_s = predicted_total_s(options.site.reach, tests->size(), predicted_s);
  CommandOutput output = session.output();
  add_unanswered(output, result.summary, detach);
  output = conclude(std::move(result), std::move(output), env);
  (*recorder)->finish(output);
  return output;
}

CommandOutput conclude(ValidateResult result, CommandOutput output, const Env& env) {
  std::map<std::string, std::vector<std::string>> without_criteria;   // nodes by profile
  bool incomplete = false, no = false;
  for (const auto& node : result.nodes) {
    result.counts.add(node.outcome);
    if (node.judgement.verdict == Verdict::not_judged) incomplete = true;
    if (node.judgement.verdict == Verdict::fail || node.judgement.verdict == Verdict::degraded) no = true;
    if (node.criteria.empty() && !node.profile.empty()) without_criteria[node.profile].push_back(node.name);
  }
  for (const auto& [profile, nodes] : without_criteria) {
    Diagnostic why = error(code::no_criteria, fmt::format("profile {} names no criteria: figures are recorded, not judged", profile));
    if (nodes.size() == 1) why.node = nodes.front();
    else why.help.push_back(fmt::format("{}: {}", plural(static_cast<long long>(nodes.size()), "node"), nodeset::fold_names(nodes)));
    output.diagnostics.push_back(std::move(why));
  }
  add_to(output, result.summary);
  output.outcome = overall(env, incomplete, no);
  output.signal = env.cancel.signal();
  output.data = to_json(result);
  output.render = [result = std::move(result)](term::Writer& out) { render(result, out); };
  return output;
}

}  // namespace kfab::commands

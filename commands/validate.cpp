#include "commands/validate.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "base/codes/agent.hpp"
#include "base/codes/cli.hpp"
#include "base/codes/commands.hpp"
#include "base/codes/validation.hpp"
#include "base/codes/plan.hpp"
#include "base/text.hpp"
#include "commands/common_start.hpp"
#include "commands/criteria_checks.hpp"
#include "commands/detached.hpp"
#include "commands/left_work.hpp"
#include "commands/recorder.hpp"
#include "commands/report_shelf.hpp"
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

// The nodes that a run is about, in the order of the manifest: those that it tests, and those that the run which it goes on with
// has tested.
struct TestWork {
  SiteSession session;
  std::vector<NodeTest> tests;
  std::vector<std::size_t> to_test;                                 // places in the session
  std::vector<std::pair<std::size_t, ValidatedNode>> done{};        // put away
  std::vector<std::string> left_out{};                              // nodes that are left and would be tested by something else now
  std::optional<std::pair<int, int>> shared{};                      // of these: how many names shared their machine then, and do now
  std::shared_ptr<Shelf> shelf{};                                   // for what the nodes tell
};

Result<TestWork> work_of(SiteSession session, std::vector<NodeTest> tests, const ValidateOptions& options, const Env& env) {
  TestWork work{std::move(session), std::move(tests), {}};
  work.shelf = std::make_shared<Shelf>(env.state_dir);
  if (!options.resumed) {
    work.to_test.resize(work.session.nodes.size());
    std::iota(work.to_test.begin(), work.to_test.end(), std::size_t{0});
    return work;
  }
  const Resumable& run = *options.resumed;
  KFAB_TRY(store, store::Store::open(env.state_dir, run.site));
  std::vector<std::size_t> about;
  std::set<std::string> found;
  for (std::size_t i = 0; i < work.session.nodes.size(); ++i) {
    const std::string& name = work.session.nodes[i]->name;
    const auto left = run.left.find(name);
    if (left != run.left.end()) {
      if (left->second != digest_of(work.tests[i])) {
        const int now = names_sharing(work.session);
        if (const auto then = work.shared ? std::nullopt : share_of_digest(work.session, i, work.tests[i], options, left->second, now + static_cast<int>(run.nodes)); then && *then != now)
          work.shared = std::pair(*then, now);
        continue;
      }
      found.insert(name);
      work.to_test.push_back(about.size());
      about.push_back(i);
    } else if (const auto kept = run.records.find(name); kept != run.records.end()) {
      KFAB_TRY(record, store->node_record(kept->second.run_id, run.site, name, "validate"));
      if (!record) continue;
      work.done.emplace_back(about.size(), kept_node(work.tests[i], *record));
      put_away(work.done.back().second, work.shelf);
      about.push_back(i);
    }
  }
  for (const auto& [name, digest] : run.left)
    if (!found.contains(name)) work.left_out.push_back(name);
  work.session = part_of(work.session, about);
  std::vector<NodeTest> kept;
  for (const std::size_t i : about) kept.push_back(std::move(work.tests[i]));
  work.tests = std::move(kept);
  return work;
}

// Why nodes are left out, or nothing where none is.
std::optional<Diagnostic> left_out_of(const TestWork& work, const ValidateOptions& options) {
  if (work.left_out.empty()) return std::nullopt;
  const bool one = work.left_out.size() == 1;
  Diagnostic why = error(code::resume_tests_changed, fmt::format("{} left out: the tests are not those that the run was started with", one ? "the node is" : "nodes are"));
  if (one) why.node = work.left_out.front();
  else why.help.push_back(fmt::format("{}: {}", plural(static_cast<long long>(work.left_out.size()), "node"), nodeset::fold_names(work.left_out)));
  // Each name of a shared machine is tested with its part of the memory, so other names make other tests.
  if (work.shared)
    why.help.push_back(fmt::format("when the run was started {} one machine (identity: name), now {}: to go on with it put that back as it was",
                                   work.shared->first == 1 ? "one name had" : fmt::format("{} names shared", work.shared->first),
                                   work.shared->second == 1 ? "one name has it" : fmt::format("{} do", work.shared->second)));
  why.help.push_back(fmt::format("to test them anew instead: kfab {} {} -w '{}'", options.command, one_line(options.site.manifest, 160), nodeset::fold_names(work.left_out)));
  return why;
}

// Keeps what is to be tested, so that another run can go on with it.
void keep_work(const TestWork& work, const ValidateOptions& options, const Env& env, Recorder& recorder) {
  std::vector<std::pair<std::string, std::string>> nodes;
  for (const std::size_t i : work.to_test) nodes.emplace_back(work.session.nodes[i]->name, digest_of(work.tests[i]));
  recorder.work(work_document(options.resumed ? options.resumed->argv : env.command_line, "", nodes));
}

// All tests while this process watches: what a node says is judged and kept as soon as it is complete.
ValidateResult run_attached(TestWork& work, double predicted_s, const ValidateOptions& options, Env& env, Recorder& recorder) {
  ValidateResult result;
  result.families = options.families.empty() ? validation::all_families() : options.families;
  result.nodes.resize(work.session.nodes.size());
  for (auto& [i, node] : work.done) result.nodes[i] = std::move(node);
  SiteSession part = part_of(work.session, work.to_test);
  const auto request_of = [&](std::size_t index) {
    const auto& plan = work.tests[work.to_test[index]].plan;
    json::Object request = plan.members;
    request.set("task", "test").set("run_id", env.run_id);
    return fleet::AgentTask{std::move(request), part.sudo[index], std::chrono::seconds(static_cast<long long>(plan.deadline_s)), part.password.get()};
  };
  ReportReaders reports(part.nodes.size());
  const auto node_is_done = [&](const AgentRun& run) {
    const std::size_t index = work.to_test[run.index];
    const NodeTest& test = work.tests[index];
    ValidatedNode node = judged(test, run, reports.finish(run.index));
    // Where the tests of another run are at work nothing was tried: theirs will be the verdict.
    const bool busy = run.end.why && run.end.why->code == code::agent_job_busy;
    if (busy) recorder.put(store::Findings{{reach_record(env, run.end)}, {}, {}});
    else if (!was_cancelled(run.end)) recorder.put(findings_of(env, env.run_id, test, run, node));
    NodeJudged verdict{node.judgement.verdict != Verdict::fail, {}, node.judgement.reason()};
    put_away(node, work.shelf);
    result.nodes[index] = std::move(node);
    return verdict;
  };
  result.summary = run_agents(part, env, options.site.reach, fmt::format("testing (about {} per node)", format_duration_s(predicted_s)), request_of, node_is_done, {}, reports.take());
  result.fleet = judge_beside_peers(result.nodes, work.tests, work.session.nodes, env.run_id, env, recorder);
  return result;
}

// A node that was ready and was not given its tests any more, because the run was stopped.
AgentRun cancelled_run(const SiteSession& session, std::size_t index) {
  AgentRun run;
  run.index = index;
  run.end.node = session.nodes[index]->name;
  run.end.why = error(code::fleet_cancelled, fmt::format("{}: stopped before the common start", one_line(run.end.node)));
  run.reason = "stopped before the common start";
  return run;
}

// All nodes at the same instant; those that cannot keep to it are left out and say why.
ValidateResult run_together(TestWork& work, double predicted_s, bool detach, const ValidateOptions& options, Env& env, Recorder& recorder) {
  CommonStart together = agree_on_start(work.session, work.tests, options, env, recorder);
  ValidateResult result;
  result.families = options.families;
  if (!together.ready.empty() && !env.cancel.requested()) {
    TestWork ready{part_of(work.session, together.ready), tests_of_ready(together, work.tests, env), {}};
    ready.shelf = work.shelf;
    ready.to_test.resize(together.ready.size());
    std::iota(ready.to_test.begin(), ready.to_test.end(), std::size_t{0});
    result = detach ? start_detached(ready.session, ready.tests, options, env, recorder) : run_attached(ready, predicted_s, options, env, recorder);
  } else {
    for (const std::size_t index : together.ready) together.left_out.push_back({index, cancelled_run(work.session, index), "stopped before the common start", {}});
    together.ready.clear();
  }
  return with_left_out(std::move(result), std::move(together), work.session, work.tests, env);
}

// What would be done, and how long it would take: nobody is reached, nothing is kept.
CommandOutput only_plan(const SiteSession& session, const std::vector<NodeTest>& tests, double predicted_s, const ValidateOptions& options, const Env& env) {
  ValidateResult result;
  result.families = options.families.empty() ? validation::all_families() : options.families;
  result.plans = planned(tests);
  result.predicted_s = predicted_total_s(options.site.reach, tests.size(), predicted_s);
  result.only_planned = true;
  result.load = options.load;
  CommandOutput output = session.output();
  output.outcome = overall(env, false, false);
  const auto kept = std::make_shared<const ValidateResult>(std::move(result));
  output.make_data = [kept] { return to_json(*kept); };
  output.render = [kept](term::Writer& out) { render(*kept, out); };
  return output;
}

}  // namespace

CommandOutput run_validate(const ValidateOptions& options, Env& env) {
  auto opened = open_site_to_judge(options.site, env);
  if (auto* stopped = std::get_if<CommandOutput>(&opened)) return std::move(*stopped);
  const SiteRef site = std::get<SiteSession>(opened).ref();
  const auto refuse = [&](Diagnostic why) {
    CommandOutput output = not_started(std::move(why));
    output.site = site;
    return output;
  };
  auto tests = plan_nodes(std::get<SiteSession>(opened), options);
  if (!tests) return refuse(std::move(tests).error());
  auto found = work_of(std::move(std::get<SiteSession>(opened)), std::move(*tests), options, env);
  if (!found) return refuse(std::move(found).error());
  TestWork& work = *found;
  auto left_out = left_out_of(work, options);
  if (work.to_test.empty()) return refuse(left_out ? std::move(*left_out) : error(code::no_target, "no node is to be tested"));
  std::vector<NodeTest> these;
  for (const std::size_t i : work.to_test) these.push_back(work.tests[i]);
  double predicted_s = 0;
  for (const auto& test : these) predicted_s = std::max(predicted_s, test.plan.predicted_s);
  const bool detach = options.detach.value_or(std::any_of(these.begin(), these.end(), [](const NodeTest& test) { return test.plan.level == validation::Level::soak; }));
  if (options.start_together) {
    if (options.resumed) return refuse(error(code::start_not_together, "some nodes of this run have been loaded already: start it anew"));
    if (auto may = may_start_together(options, these.size(), detach); !may) return refuse(std::move(may).error());
  }
  if (options.dry_run) return only_plan(work.session, these, predicted_s, options, env);
  const bool loads = options.families != std::vector<std::string>{"health"};   // reading counters loads nobody
  if (loads && these.size() > most_without_asking) {
    auto agreed = env.confirm(question(options, these.size(), work.session.site->metadata.name, predicted_s));
    if (!agreed || !*agreed) return refuse(agreed ? error(code::confirmation_missing, "not confirmed; nothing was tested") : std::move(agreed).error());
  }
  // A node that somebody provisions or reboots meanwhile is no node to be measured.
  auto lock = RunLock::take(env, work.session, options.site.manifest, "kfab " + join(env.command_line, " "), chain_of(options.resumed));
  if (!lock) return refuse(std::move(lock).error());
  auto recorder = Recorder::begin(env, options.command, site, newest_of(options.resumed));
  if (!recorder) return not_started(std::move(recorder).error());

  if (!detach && loads) keep_work(work, options, env, **recorder);
  ValidateResult result = options.start_together ? run_together(work, predicted_s, detach, options, env, **recorder)
                          : detach ? start_detached(work.session, these, options, env, **recorder) : run_attached(work, predicted_s, options, env, **recorder);
  result.load = options.load;
  result.plans = planned(these);
  result.predicted_s = predicted_total_s(options.site.reach, these.size(), predicted_s);
  CommandOutput output = work.session.output();
  add_unanswered(output, result.summary, detach);
  output = conclude(std::move(result), std::move(output), env);
  if (left_out) {
    output.diagnostics.push_back(std::move(*left_out));
    if (output.outcome == Outcome::yes || output.outcome == Outcome::no) output.outcome = Outcome::incomplete;
  }
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
  const auto kept = std::make_shared<const ValidateResult>(std::move(result));
  output.make_data = [kept] { return to_json(*kept); };
  output.rows = rows_of_nodes(kept);
  output.render = [kept](term::Writer& out) { render(*kept, out); };
  return output;
}

}  // namespace kfab::commands

#include "commands/detached.hpp"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <numeric>
#include <thread>

#include <fmt/format.h>

#include "base/codes/agent.hpp"
#include "base/codes/plan.hpp"
#include "base/codes/validation.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"
#include "commands/criteria_checks.hpp"
#include "commands/output_files.hpp"
#include "commands/report_shelf.hpp"
#include "nodeset/nodeset.hpp"

namespace kfab::commands {
namespace {

using std::chrono::seconds;

constexpr seconds start_limit{120};         // of one node's session that starts the tests
constexpr seconds report_limit{600};        // of one that fetches what was found
constexpr seconds soonest{5}, latest{60};   // between two rounds of --follow
constexpr double overdue_s = 3600;          // after its deadline a job is not waited for so much longer
constexpr std::size_t most_progress = 4, longest_node = 80;

// What the job of a node is called there: a name of a folder and of a unit, another for each node.
std::string job_name(const std::string& run_id, const std::string& node) {
  std::string name;
  for (const char c : node)
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-') name += c;
    else name += '_';
  if (name != node || name.size() > longest_node) name = name.substr(0, longest_node - 17) + "_" + sha256_hex(node).substr(0, 16);
  return run_id + "-" + name;
}

json::Object request_of_tests(const NodeTest& test, const std::string& run_id) {
  json::Object request = test.plan.members;
  request.set("task", "test").set("run_id", run_id).set("deadline_s", test.plan.deadline_s).set("predicted_s", test.plan.predicted_s);
  return request;
}

std::optional<double> seconds_in(const json::Value& message, const char* name) {
  const double value = message.double_or(name, -1);
  return value >= 0 && value < 1e9 ? std::optional(value) : std::nullopt;
}

// The node's own word on its job, which is not to be believed further than it can be shown.
std::optional<NodeJob> job_in(const std::vector<json::Value>& messages, const std::string& id) {
  const auto told = std::find_if(messages.begin(), messages.end(), [](const json::Value& m) { return m.string_or("type") == "job"; });
  if (told == messages.end() || told->string_or("job") != id) return std::nullopt;
  NodeJob job{id, {}, seconds_in(*told, "elapsed_s"), seconds_in(*told, "left_s"), {}, seconds_in(*told, "ended_s_ago")};
  const std::string word = told->string_or("state");
  for (const char* known : {"running", "done", "lost", "restarted", "unknown"})
    if (word == known) job.state = word;
  for (const auto& step : told->array_at("progress")) {
    if (job.progress.size() == most_progress) break;
    const double done = step.double_or("done", 0), total = step.double_or("total", 0);
    const std::string name = one_line(step.string_or("step"), 40);
    const std::string share = total > 0 && done >= 0 && done <= total ? fmt::format(" {:.0f} %", done / total * 100) : std::string();
    job.progress.push_back(fmt::format("{}{}: {}", name, share, one_line(step.string_or("message"), 120)));
  }
  return job;
}

std::string running_text(const NodeJob& job) {
  std::string text = "still being tested";
  if (job.elapsed_s) text += fmt::format(", for {} now", brief_duration_s(*job.elapsed_s));
  if (job.left_s) text += *job.left_s > 0 ? fmt::format(", about {} left", brief_duration_s(*job.left_s)) : std::string(", longer than predicted");
  return text;
}

// When it was measured: at the job's end, not when somebody came to fetch it. Between the run's start and now, whatever the node
// says of its clock, and as old as can be where it says nothing.
Timestamp ended_at(const NodeJob& job, Timestamp run_started_at, Timestamp now) {
  if (!job.ended_s_ago) return std::min(run_started_at, now);
  const auto at = now - std::chrono::duration_cast<Timestamp::duration>(std::chrono::duration<double>(*job.ended_s_ago));
  return std::min(std::max(at, run_started_at), now);
}

// Why what the job found is not the whole; nothing when it is.
std::optional<std::pair<Cut, Code>> cut_of(const NodeJob& job, const std::vector<json::Value>& messages) {
  const auto told = std::find_if(messages.begin(), messages.end(), [](const json::Value& m) { return m.string_or("type") == "job"; });
  const std::string reason = told == messages.end() ? std::string() : one_line(told->string_or("reason"), 300);
  if (job.state == "restarted") return std::pair{Cut{"the node was started again while it was tested; if that was on purpose, test it again", true}, code::agent_job_restarted};
  if (job.state == "lost") return std::pair{Cut{"the report is incomplete: " + (reason.empty() ? "the tests ended without a result" : reason)}, code::agent_job_lost};
  if (job.state == "unknown") return std::pair{Cut{"there is no report: the node knows nothing of its tests"}, code::agent_job_unknown};
  if (job.state == "done" && told != messages.end() && (*told)["ok"].as_bool().value_or(false)) return std::nullopt;
  const std::string why = told == messages.end() ? std::string() : one_line((*told)["error"].string_or("message"), 300);
  if (told != messages.end() && (*told)["error"].string_or("code") == to_string(code::agent_cancelled))
    return std::pair{Cut{"the report is incomplete: " + why}, code::agent_cancelled};
  return std::pair{Cut{"the report is incomplete: " + (why.empty() ? "the tests did not come to their end" : why)}, code::agent_job_lost};
}

// What was tested is what the node was given then, whatever the manifest says now; judged is by the criteria of now.
void take_job(const DetachedJob& job, NodeTest& test) {
  test.plan.device = job.device;
  test.plan.families = job.families;
  test.plan.level = validation::parse_level(job.level).value_or(test.plan.level);
  test.shortened = job.shortened;
}

// A node whose tests go on, or that was not reached: there is no verdict yet.
ValidatedNode waiting(const NodeTest& test, const AgentRun& run, std::optional<NodeJob> job, std::string why) {
  ValidatedNode node = judged(test, {run.index, {}, run.end, run.reason}, Cut{why});
  node.judgement = {};
  node.judgement.reasons.push_back(std::move(why));
  node.job = std::move(job);
  return node;
}

// The nodes that are left of a run, asked in rounds.
class Rounds {
 public:
  Rounds(const DetachedRun& run, SiteSession& session, std::vector<NodeTest> tests, const ValidateOptions& options, Env& env, Recorder& recorder)
      : shelf(std::make_shared<Shelf>(env.state_dir)), run_(run), session_(session), tests_(std::move(tests)), options_(options), env_(env), recorder_(recorder) {
    for (const auto& job : run.left) jobs_.emplace(job.node, &job);
    result.nodes.resize(session.nodes.size());
    result.families = options.families.empty() ? validation::all_families() : options.families;
    ends_.resize(session.nodes.size());
  }

  // Asks these nodes, and gives back those whose tests go on. The result's summary is of all nodes.
  std::vector<std::size_t> ask(const std::vector<std::size_t>& indices, bool stop) {
    SiteSession part = part_of(session_, indices);
    const auto request_of = [&](std::size_t i) {
      json::Object request{{"task", "job"}, {"run_id", run_.run_id}, {"job", job_of(indices[i]).job}, {"do", stop ? "stop" : "report"}};
      return fleet::AgentTask{std::move(request), part.sudo[i], report_limit, part.password.get()};
    };
    std::vector<std::size_t> running;
    ReportReaders reports(indices.size());
    const auto node_is_done = [&](AgentRun run) {
      auto report = reports.finish(run.index);
      run.index = indices[run.index];
      const std::size_t index = run.index;
      NodeJudged verdict = take(run, std::move(report));
      const auto& job = result.nodes[index].job;
      if (job && job->state == "running" && !is_overdue(index)) running.push_back(index);
      return verdict;
    };
    FleetSummary round = run_agents(part, env_, options_.site.reach, stop ? "ending the tests" : "asking how far the tests are", request_of, node_is_done, {}, reports.take());
    for (std::size_t k = 0; k < indices.size(); ++k) ends_[indices[k]] = std::move(round.ends[k]);
    result.summary = summarize(ends_, fleet::Pace(racks_of(session_.targets), {}), env_);
    std::sort(running.begin(), running.end());
    return running;
  }

  // Nodes whose tests go on, as far as anybody knows: those that were not reached as well.
  std::vector<std::size_t> not_over() const {
    std::vector<std::size_t> indices;
    for (std::size_t i = 0; i < result.nodes.size(); ++i)
      if (const auto& job = result.nodes[i].job; job && (job->state.empty() || job->state == "running")) indices.push_back(i);
    return indices;
  }

  // Those whose results came now beside each other, and beside those that came before: who computes something else, or is slower
  // than all others, may be the last one that is fetched, or the first. Names those of before that lost their verdict by it.
  std::vector<std::string> judge_beside_each_other(std::vector<ValidatedNode> before, std::vector<NodeTest> tests, std::vector<const manifest::Node*> places) {
    const std::size_t earlier = before.size();
    std::vector<Verdict> were;
    for (const auto& node : before) were.push_back(node.judgement.verdict);
    for (std::size_t i = 0; i < result.nodes.size(); ++i) {
      before.push_back(std::move(result.nodes[i]));
      tests.push_back(tests_[i]);
      places.push_back(session_.nodes[i]);
    }
    result.fleet = judge_beside_peers(before, tests, places, run_.run_id, env_, recorder_);
    std::vector<std::string> changed;
    for (std::size_t i = 0; i < earlier; ++i)
      if (were[i] == Verdict::pass && before[i].judgement.verdict != Verdict::pass) changed.push_back(before[i].name);
    for (std::size_t i = 0; i < result.nodes.size(); ++i) result.nodes[i] = std::move(before[earlier + i]);
    return changed;
  }
  bool fetched_any() const {
    return std::any_of(result.nodes.begin(), result.nodes.end(), [](const auto& node) { return !node.report.accelerators.empty(); });
  }

  double longest_left_s(const std::vector<std::size_t>& running) const {
    double left = 0;
    for (const std::size_t i : running)
      if (const auto& job = result.nodes[i].job) left = std::max(left, job->left_s.value_or(0));
    return left;
  }

  const std::shared_ptr<Shelf> shelf;   // for what the nodes tell
  ValidateResult result;
  std::map<std::pair<Code, std::string>, std::vector<std::string>> problems;   // of jobs that have no whole result, by why: nodes

 private:
  // A job ends itself at its deadline. A node that says otherwise long after it is not waited for: its process hangs in a driver,
  // or it does not tell the truth.
  bool is_overdue(std::size_t index) const {
    const double since_s = std::chrono::duration<double>(env_.clock.now() - run_.started_at).count();
    return since_s > tests_[index].plan.deadline_s + overdue_s;
  }
  const DetachedJob& job_of(std::size_t index) const { return *jobs_.at(session_.nodes[index]->name); }

  NodeJudged take(const AgentRun& run, validation::TestReport report) {
    const std::size_t index = run.index;
    const NodeTest& test = tests_[index];
    const auto job = job_in(run.messages, job_of(index).job);
    if (!job || run.end.outcome != NodeOutcome::ok) {   // it is asked again by the next resume: nothing is lost
      if (!was_cancelled(run.end)) recorder_.put(store::Findings{{reach_record(env_, run.end)}, {}, {}});
      const std::string why = "how far the tests are is not known: " + (run.reason.empty() ? std::string("the node did not say") : one_line(run.reason));
      result.nodes[index] = waiting(test, run, NodeJob{job_of(index).job, {}, {}, {}, {}, {}}, why);
      return {false, {}, why};
    }
    if (job->state == "running") {
      recorder_.put(store::Findings{{reach_record(env_, run.end)}, {}, {}});
      result.nodes[index] = waiting(test, run, job, running_text(*job) + (is_overdue(index) ? "; it should have ended itself long ago: end it with --stop, or restart the node" : ""));
      return {true, {}, {}};
    }
    const auto cut = cut_of(*job, run.messages);
    ValidatedNode node = judged(test, run, std::move(report), cut ? std::optional(cut->first) : std::nullopt);
    node.job = job;
    node.measured_at = ended_at(*job, run_.started_at, env_.clock.now());
    recorder_.put(findings_of(env_, run_.run_id, test, run, node));
    if (cut) problems[{cut->second, cut->first.why}].push_back(node.name);
    NodeJudged verdict{node.judgement.verdict != Verdict::fail, cut ? to_string(cut->second) : std::string(), node.judgement.reason()};
    put_away(node, shelf);
    result.nodes[index] = std::move(node);
    return verdict;
  }

  const DetachedRun& run_;
  SiteSession& session_;
  const std::vector<NodeTest> tests_;
  const ValidateOptions& options_;
  Env& env_;
  Recorder& recorder_;
  std::map<std::string, const DetachedJob*> jobs_;
  std::vector<fleet::NodeEnd> ends_;
};

// What earlier calls fetched of the same run, as far as the manifest still knows the nodes.
struct Earlier {
  std::vector<ValidatedNode> nodes;
  std::vector<NodeTest> tests;
  std::vector<const manifest::Node*> places;
};
Result<Earlier> fetched_before(const DetachedRun& run, const manifest::Site& site, const std::shared_ptr<Shelf>& shelf, const Env& env) {
  Earlier out;
  if (run.fetched.empty()) return out;
  KFAB_TRY(store, store::Store::open(env.state_dir, run.site));
  std::map<std::string_view, const manifest::Node*> places;
  for (const auto& node : site.nodes) places.emplace(node.name, &node);
  for (const auto& job : run.fetched) {
    const auto place = places.find(job.node);
    const auto* profile = place == places.end() ? nullptr : site.find_profile(place->second->profile);
    if (!profile) continue;
    KFAB_TRY(record, store->node_record(run.run_id, run.site, job.node, "validate"));
    if (!record) continue;
    NodeTest test = criteria_of(site, profile);
    take_job(job, test);
    out.nodes.push_back(node_of_record(test, *record));
    put_away(out.nodes.back(), shelf);
    out.tests.push_back(std::move(test));
    out.places.push_back(place->second);
  }
  return out;
}

// Until the next round: a tenth of what is left, within bounds. False when somebody wants to go.
bool wait_for(const Env& env, double left_s) {
  const auto pause = std::clamp(seconds(static_cast<long long>(left_s / 10)), soonest, latest);
  const auto until = env.clock.steady_now() + pause;
  while (!env.cancel.requested() && env.clock.steady_now() < until) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  return !env.cancel.requested();
}

}  // namespace

json::Value detached_document(const std::vector<std::string>& argv, const std::vector<DetachedJob>& jobs) {
  json::Array words, nodes;
  for (const auto& word : argv) words.emplace_back(word);
  for (const auto& job : jobs) {
    json::Array families;
    for (const auto& family : job.families) families.emplace_back(family);
    nodes.emplace_back(json::Object{{"node", job.node}, {"job", job.job}, {"device", job.device}, {"level", job.level}, {"shortened", job.shortened}, {"families", std::move(families)}});
  }
  std::error_code problem;
  return json::Object{{"kind", "tests"}, {"argv", std::move(words)}, {"directory", std::filesystem::current_path(problem).string()}, {"nodes", std::move(nodes)}};
}

std::optional<std::vector<DetachedJob>> read_detached(const json::Value& work) {
  if (work.string_or("kind") != "tests") return std::nullopt;
  std::vector<DetachedJob> jobs;
  for (const auto& node : work.array_at("nodes")) {
    DetachedJob job{node.string_or("node"), node.string_or("job"), node.string_or("device"), node.string_or("level"), node["shortened"].as_bool().value_or(true), {}};
    for (const auto& family : node.array_at("families"))
      if (family.as_string() != nullptr) job.families.push_back(*family.as_string());
    jobs.push_back(std::move(job));
  }
  return jobs;
}

ValidateResult start_detached(SiteSession& session, const std::vector<NodeTest>& tests, const ValidateOptions& options, Env& env, Recorder& recorder) {
  std::vector<DetachedJob> jobs;
  for (std::size_t i = 0; i < tests.size(); ++i) {
    const auto& plan = tests[i].plan;
    jobs.push_back({session.nodes[i]->name, job_name(env.run_id, session.nodes[i]->name), plan.device, std::string(to_string(plan.level)), tests[i].shortened, plan.families});
  }
  recorder.work(detached_document(env.command_line, jobs));
  const auto shelf = std::make_shared<Shelf>(env.state_dir);
  ValidateResult result;
  result.families = options.families.empty() ? validation::all_families() : options.families;
  result.nodes.resize(tests.size());
  const auto request_of = [&](std::size_t index) {
    json::Object request{{"task", "detach"}, {"run_id", env.run_id}, {"job", jobs[index].job}};
    request.set("request", request_of_tests(tests[index], env.run_id));
    return fleet::AgentTask{std::move(request), session.sudo[index], start_limit, session.password.get()};
  };
  result.summary = run_agents(session, env, options.site.reach, "starting the tests", request_of, [&](AgentRun run) {
    const std::size_t index = run.index;
    const auto job = job_in(run.messages, jobs[index].job);
    if (run.end.outcome == NodeOutcome::ok && job) {
      recorder.put(store::Findings{{reach_record(env, run.end)}, {}, {}});
      result.detached_run = env.run_id;
      result.nodes[index] = waiting(tests[index], run, job, running_text(*job));
      return NodeJudged{true, {}, {}};
    }
    if (run.end.outcome == NodeOutcome::failed) {   // it answered, and would not begin: that is final
      const AgentRun bare{index, {}, run.end, run.reason};
      ValidatedNode node = judged(tests[index], std::move(run));
      const std::string why = "not begun: " + one_line(bare.reason);
      node.judgement.reasons = {why};
      if (!was_cancelled(bare.end)) recorder.put(findings_of(env, env.run_id, tests[index], bare, node));
      put_away(node, shelf);
      result.nodes[index] = std::move(node);
      return NodeJudged{false, {}, why};
    }
    if (!was_cancelled(run.end)) recorder.put(store::Findings{{reach_record(env, run.end)}, {}, {}});
    const std::string why = "not known to have begun: " + (run.reason.empty() ? std::string("the node did not say so") : one_line(run.reason));
    result.nodes[index] = waiting(tests[index], run, std::nullopt, why);
    return NodeJudged{false, {}, why};
  });
  return result;
}

CommandOutput run_resume_tests(const DetachedRun& run, ValidateOptions options, const ResumeTestsOptions& how, Env& env) {
  if (run.left.empty()) {
    CommandOutput output;
    output.site.name = run.site;
    output.outcome = overall(env, run.not_judged > 0, run.failed > 0);
    std::string text = fmt::format("Nothing is left of {}: {}, of which {} failed and {} {} no verdict.\n", run.run_id,
                                   plural(static_cast<long long>(run.nodes), "node"), run.failed, run.not_judged, run.not_judged == 1 ? "has" : "have");
    if (run.not_judged > 0) text += "What has no verdict ended without one, or never began: `kfab readiness MANIFEST` says why, and kfab validate tests it again.\n";
    output.render = plain_text(std::move(text));
    return output;
  }
  std::vector<std::string> names;
  for (const auto& job : run.left) names.push_back(job.node);
  options.site.selection = {{}, nodeset::fold_names(names), {}};
  options.site.reach.pace = {};   // asking loads nobody: all at once
  auto opened = open_site_to_judge(options.site, env);
  if (auto* stopped = std::get_if<CommandOutput>(&opened)) return std::move(*stopped);
  auto& session = std::get<SiteSession>(opened);
  auto tests = plan_nodes(session, options);
  if (!tests) return not_started(std::move(tests).error());
  for (std::size_t i = 0; i < tests->size(); ++i)
    for (const auto& job : run.left)
      if (job.node == session.nodes[i]->name) take_job(job, (*tests)[i]);
  auto recorder = Recorder::begin(env, "resume", session.ref(), run.chain.empty() ? run.run_id : run.chain.back());
  if (!recorder) return not_started(std::move(recorder).error());

  const validation::LoadOptions load = options.load;
  Rounds rounds(run, session, std::move(*tests), options, env, **recorder);
  std::vector<std::size_t> running(session.nodes.size());
  std::iota(running.begin(), running.end(), std::size_t{0});
  running = rounds.ask(running, how.stop);
  while (how.follow && !running.empty()) {
    const double left_s = rounds.longest_left_s(running);
    env.events.emit({.type = "message", .message = fmt::format("{} still being tested, about {} left", plural(static_cast<long long>(running.size()), "node"), brief_duration_s(left_s))});
    if (!wait_for(env, left_s)) break;
    running = rounds.ask(rounds.not_over(), false);
  }
  if (!running.empty()) rounds.result.detached_run = run.run_id;
  rounds.result.load = load;
  CommandOutput output = session.output();
  bool turned = false;
  if (rounds.fetched_any()) {
    auto earlier = fetched_before(run, *session.site, rounds.shelf, env);
    if (!earlier) {
      output.diagnostics.push_back(std::move(earlier).error());
      earlier = Earlier();
    }
    const auto changed = rounds.judge_beside_each_other(std::move(earlier->nodes), std::move(earlier->tests), std::move(earlier->places));
    turned = !changed.empty();
    if (turned) {
      Diagnostic why = error(code::earlier_verdict_gone, fmt::format("{} that passed when it was fetched alone no longer does beside its peers", plural(static_cast<long long>(changed.size()), "node")));
      if (changed.size() == 1) why.node = changed.front();
      else why.help.push_back(nodeset::fold_names(changed));
      output.diagnostics.push_back(std::move(why));
    }
  }
  for (const auto& [what, nodes] : rounds.problems) {
    Diagnostic why = error(what.first, what.second);
    if (nodes.size() == 1) why.node = nodes.front();
    else why.help.push_back(fmt::format("{}: {}", plural(static_cast<long long>(nodes.size()), "node"), nodeset::fold_names(nodes)));
    output.diagnostics.push_back(std::move(why));
  }
  add_unanswered(output, rounds.result.summary);
  output = conclude(std::move(rounds.result), std::move(output), env);
  if (turned && output.outcome == Outcome::yes) output.outcome = Outcome::no;
  output.schema = "kfab.validate/1.3";
  (*recorder)->finish(output);
  return output;
}

}  // namespace kfab::commands

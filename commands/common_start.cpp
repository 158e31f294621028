#include "commands/common_start.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

#include <fmt/format.h>

#include "base/codes/validation.hpp"
#include "base/text.hpp"
#include "commands/report_shelf.hpp"

namespace kfab::commands {
namespace {

using std::chrono::seconds;

constexpr seconds clock_limit{60};        // of the comparison alone; sending the agent has its own
constexpr double most_off_s = 0.5, least_off_s = 0.02;
// From the choice of the instant until a node's accelerators are ready: its session, its inventory, and on a GPU the proof of
// kernels (20 s are planned for it) and a context. At least twice of what the nodes took to be asked.
constexpr double least_wait_cpu_s = 4, least_wait_gpu_s = 45;

double seconds_since_1970(Timestamp at) { return std::chrono::duration<double>(at.time_since_epoch()).count(); }

const json::Value* clock_in(const AgentRun& run) {
  const auto told = std::find_if(run.messages.begin(), run.messages.end(), [](const json::Value& m) { return m.string_or("type") == "clock"; });
  return told == run.messages.end() ? nullptr : &*told;
}

std::optional<double> figure(const json::Value& message, const char* name) {
  const auto value = message[name].is_number() ? message[name].as_double() : std::nullopt;
  return value && std::isfinite(*value) && std::abs(*value) < 1e10 ? value : std::nullopt;
}

}  // namespace

double start_tolerance_s(const validation::LoadOptions& load) {
  return load.shaped() ? std::clamp(load.period_s / 10, least_off_s, most_off_s) : most_off_s;
}

std::string why_not_together(std::optional<double> offset_s, std::optional<double> uncertainty_s, double tolerance_s) {
  if (!offset_s || !uncertainty_s || *uncertainty_s < 0) return "its clock could not be compared with this host's";
  if (std::abs(*offset_s) + *uncertainty_s <= tolerance_s) return {};
  return fmt::format("its clock is {} {} this host's, known to within {}; {} are allowed", format_duration_s(std::abs(*offset_s)), *offset_s < 0 ? "behind" : "ahead of",
                     format_duration_s(*uncertainty_s), format_duration_s(tolerance_s));
}

Status may_start_together(const ValidateOptions& options, std::size_t nodes, bool detach) {
  const auto& pace = options.site.reach.pace;
  if (pace.in_batches()) return error(code::start_not_together, "--canary, --batch and --ramp start some nodes after others");
  if (!detach && nodes > options.site.reach.window)
    return error(code::start_not_together, fmt::format("{} nodes are selected, and --window lets {} work at the same time", with_thousands(static_cast<long long>(nodes)),
                                                       with_thousands(static_cast<long long>(options.site.reach.window))));
  return ok();
}

CommonStart agree_on_start(SiteSession& session, const std::vector<NodeTest>& tests, const ValidateOptions& options, Env& env, Recorder& recorder) {
  CommonStart out;
  out.start.tolerance_s = start_tolerance_s(options.load);
  const auto began = env.clock.steady_now();
  const auto request_of = [&](std::size_t index) {
    return fleet::AgentTask{json::Object{{"task", "clock"}, {"run_id", env.run_id}}, session.sudo[index], clock_limit, session.password.get()};
  };
  std::vector<std::optional<NodeClock>> clocks(session.nodes.size());
  run_agents(session, env, options.site.reach, "getting the nodes ready and comparing clocks", request_of, [&](AgentRun run) {
    const std::size_t index = run.index;
    if (run.end.outcome != NodeOutcome::ok) {
      NodeJudged judged{false, {}, run.reason};
      if (!was_cancelled(run.end)) recorder.put(store::Findings{{reach_record(env, run.end)}, {}, {}});
      std::string why = one_line(run.reason);
      out.left_out.push_back({index, std::move(run), std::move(why), {}});
      return judged;
    }
    const auto* told = clock_in(run);
    const auto offset = told ? figure(*told, "offset_s") : std::nullopt, uncertainty = told ? figure(*told, "uncertainty_s") : std::nullopt;
    if (offset && uncertainty) clocks[index] = NodeClock{session.nodes[index]->name, *offset, *uncertainty};
    std::string why = why_not_together(offset, uncertainty, out.start.tolerance_s);
    if (why.empty()) {
      out.ready.push_back(index);
      return NodeJudged{true, {}, {}};
    }
    recorder.put(store::Findings{{reach_record(env, run.end)}, {}, {}});
    NodeJudged judged{false, to_string(code::clock_too_far_off), why};
    out.left_out.push_back({index, std::move(run), std::move(why), code::clock_too_far_off});
    return judged;
  });
  std::sort(out.ready.begin(), out.ready.end());
  double farthest = 0;
  for (const std::size_t index : out.ready) farthest = std::max(farthest, std::abs(clocks[index]->offset_s) + clocks[index]->uncertainty_s);
  for (auto& clock : clocks)
    if (clock) out.start.clocks.push_back(std::move(*clock));
  const bool gpus = std::any_of(tests.begin(), tests.end(), [](const NodeTest& test) { return test.plan.device != "cpu"; });
  const double took = std::chrono::duration<double>(env.clock.steady_now() - began).count();
  const double wait_s = std::max(gpus ? least_wait_gpu_s : least_wait_cpu_s, 2 * took);
  const Timestamp now = env.clock.now();
  out.start.at = std::chrono::ceil<seconds>(now + std::chrono::milliseconds(static_cast<long long>(wait_s * 1000)));
  if (!out.ready.empty())
    env.events.emit({.type = "message", .message = fmt::format("{} at {}, in {}; {} within {} of this host's",
                                                              out.ready.size() == 1 ? std::string("1 node begins") : fmt::format("{} nodes begin together", with_thousands(static_cast<long long>(out.ready.size()))),
                                                              to_rfc3339(out.start.at), brief_duration_s(wait_s), out.ready.size() == 1 ? "its clock is" : "their clocks are", format_duration_s(farthest))});
  return out;
}

std::vector<NodeTest> tests_of_ready(const CommonStart& together, const std::vector<NodeTest>& tests, const Env& env) {
  const double at = seconds_since_1970(together.start.at), wait_s = std::max(0.0, at - seconds_since_1970(env.clock.now()));
  std::vector<NodeTest> out;
  for (const std::size_t index : together.ready) {
    NodeTest test = tests[index];
    test.plan.members.set("start_at", at).set("start_tolerance_s", together.start.tolerance_s);
    test.plan.deadline_s += wait_s;
    test.plan.predicted_s += wait_s;
    out.push_back(std::move(test));
  }
  return out;
}

ValidateResult with_left_out(ValidateResult of_ready, CommonStart together, const SiteSession& all, const std::vector<NodeTest>& tests, const Env& env) {
  ValidateResult out = std::move(of_ready);
  std::vector<ValidatedNode> nodes(all.nodes.size());
  std::vector<fleet::NodeEnd> ends(all.nodes.size());
  for (std::size_t k = 0; k < together.ready.size(); ++k) {
    nodes[together.ready[k]] = std::move(out.nodes[k]);
    ends[together.ready[k]] = std::move(out.summary.ends[k]);
  }
  const auto shelf = std::make_shared<Shelf>(env.state_dir);
  for (auto& one : together.left_out) {
    ends[one.index] = node_end(all.targets[one.index], one.run.end.outcome, one.run.end.phase, one.run.end.why);
    ValidatedNode node = judged(tests[one.index], {one.index, {}, one.run.end, one.run.reason});
    if (one.code != Code{}) {
      ends[one.index].well = false;
      ends[one.index].code = to_string(one.code);
      ends[one.index].reason = one.why;
      node.judgement.reasons = {fmt::format("not loaded: {} ({})", one.why, to_string(one.code))};
      node.row.set("code", to_string(one.code)).set("reason", one.why);
    }
    put_away(node, shelf);
    nodes[one.index] = std::move(node);
  }
  out.nodes = std::move(nodes);
  out.summary = summarize(std::move(ends), fleet::Pace(racks_of(all.targets), {}), env);
  out.start = std::move(together.start);
  return out;
}

}  // namespace kfab::commands

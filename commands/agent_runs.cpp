#include "commands/agent_runs.hpp"

#include <fmt/format.h>

#include "agent/protocol.hpp"
#include "base/codes/agent.hpp"
#include "base/codes/commands.hpp"
#include "base/text.hpp"
#include "commands/agent_image.hpp"
#include "fleet/turns.hpp"

namespace kfab::commands {
namespace {

// A node may say at most this much in one task; what is past it makes the report incomplete, never complete and short.
constexpr std::size_t max_messages = 200'000;

class Collector final : public fleet::AgentListener {
 public:
  Collector(const std::vector<ssh::Target>& targets, const std::function<NodeJudged(AgentRun)>& node_is_done, const std::function<bool(std::size_t, const json::Value&)>& take)
      : ends(targets.size()), targets_(targets), said_(targets.size()), node_is_done_(node_is_done), take_(take) {}

  void on_message(std::size_t index, const json::Value& message) override {
    if (message.string_or("type") == "progress") return;   // told as it came; nothing is made of it afterwards
    Said& said = said_[index];
    if (said.count == max_messages) return;
    ++said.count;
    if (!take_ || !take_(index, message)) said.messages.push_back(message);
  }
  bool on_end(std::size_t index, const fleet::AgentEnd& end) override {
    Said said = std::move(said_[index]);
    AgentRun run{index, std::move(said.messages), end, {}};
    if (!end.done.is_null()) run.messages.push_back(end.done);   // its last word, by which a task is known to be complete
    if (said.count == max_messages && run.end.outcome == NodeOutcome::ok) {
      run.end.outcome = NodeOutcome::failed;
      run.end.why = error(code::agent_too_talkative, fmt::format("the agent sent {} messages or more; the rest was dropped", max_messages));
      run.end.why->node = run.end.node;
    }
    fleet::NodeEnd ended = node_end(targets_[index], run.end.outcome, run.end.phase, run.end.why);
    run.reason = ended.reason;
    NodeJudged judged = node_is_done_(std::move(run));
    ended.well = ended.well && judged.well;
    if (ended.outcome == NodeOutcome::ok && !ended.well) {
      ended.code = std::move(judged.code);
      ended.reason = std::move(judged.reason);
    }
    ends[index] = std::move(ended);
    return ends[index].well;
  }

  std::vector<fleet::NodeEnd> ends;

 private:
  const std::vector<ssh::Target>& targets_;
  struct Said {
    std::vector<json::Value> messages;
    std::size_t count = 0;               // with those that were taken
  };
  std::vector<Said> said_;
  const std::function<NodeJudged(AgentRun)>& node_is_done_;
  const std::function<bool(std::size_t, const json::Value&)>& take_;
};

}  // namespace

FleetSummary run_agents(SiteSession& session, Env& env, const ReachOptions& reach, std::string_view what,
                        const std::function<fleet::AgentTask(std::size_t)>& request_of,
                        const std::function<NodeJudged(AgentRun)>& node_is_done, std::map<std::string, std::size_t> turns,
                        const std::function<bool(std::size_t, const json::Value&)>& take) {
  const fleet::AgentImage image = agent_image();
  const auto transport = transport_of(env);
  fleet::Pace pace(racks_of(session.targets), reach.pace);
  auto options = fleet_options(reach);
  options.pace = &pace;
  fleet::Turns taking_turns(std::move(turns));
  options.turns = &taking_turns;
  Collector collector(session.targets, node_is_done, take);
  env.events.emit({.type = "run_started", .message = std::string(what), .total = static_cast<double>(session.nodes.size())});
  fleet::run_agents(*transport, session.targets, image, request_of, collector, options, env.clock, env.events, env.cancel);
  env.events.emit({.type = "run_finished"});
  return summarize(std::move(collector.ends), pace, env);
}

bool was_cancelled(const fleet::AgentEnd& end) {
  return end.why && (end.why->code == code::fleet_cancelled || end.why->code == code::agent_cancelled ||
                     end.why->code == code::fleet_budget_used_up);
}

bool reached(const fleet::AgentEnd& end) { return !end.hello.is_null(); }

store::NodeRecord step_record(const Env& env, const fleet::AgentEnd& end, std::string step) {
  store::NodeRecord record;
  record.run_id = env.run_id;
  record.node = end.node;
  record.board_serial = one_line(end.hello.string_or("board_serial"), 80);
  record.step = std::move(step);
  record.at = env.clock.now();
  record.outcome = end.outcome;
  return record;
}

store::NodeRecord reach_record(const Env& env, const fleet::AgentEnd& end) {
  store::NodeRecord record = step_record(env, end, "reach");
  if (reached(end)) record.outcome = NodeOutcome::ok;
  record.verdict = reached(end) ? Verdict::pass : Verdict::not_judged;
  if (!reached(end) && end.why) record.reason = one_line(end.why->message, 400);
  record.detail = json::Object{{"phase", ssh::to_string(end.phase)},
                               {"code", end.why ? json::Value(to_string(end.why->code)) : json::Value()}};
  return record;
}

json::Object node_row(const fleet::AgentEnd& end) {
  json::Object row;
  row.set("node", end.node).set("outcome", to_string(end.outcome)).set("phase", ssh::to_string(end.phase));
  row.set("code", end.why ? json::Value(to_string(end.why->code)) : json::Value());
  row.set("reason", end.why ? json::Value(end.why->message) : json::Value());
  row.set("duration_s", end.duration_s);
  return row;
}

}  // namespace kfab::commands

#include "commands/reboot_waves.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <thread>

#include <fmt/format.h>

#include "base/codes/agent.hpp"
#include "base/codes/reboot.hpp"
#include "base/codes/ssh.hpp"
#include "base/text.hpp"
#include "commands/agent_image.hpp"
#include "fleet/window.hpp"

namespace kfab::commands {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Time = std::chrono::steady_clock::time_point;

constexpr milliseconds between_polls{2000};
constexpr seconds poll_limit{30};          // of one round over all nodes that are awaited; a system that is going down may hang
constexpr milliseconds poll_connect{5000};
constexpr seconds order_limit{120};

// What agents said in one round.
struct Answer {
  fleet::AgentEnd end;
  std::vector<json::Value> messages;
};

class Answers final : public fleet::AgentListener {
 public:
  explicit Answers(std::size_t nodes) : of(nodes) {}
  void on_message(std::size_t index, const json::Value& message) override {
    constexpr std::size_t most = 50'000;
    if (of[index].messages.size() < most) of[index].messages.push_back(message);
  }
  std::vector<Answer> of;
};

// A cancel token of one round: raised by the run's own, or when the round has lasted long enough.
class RoundLimit {
 public:
  RoundLimit(const CancelToken& run, seconds limit) : watcher_([this, &run, limit] {
      const Time end = std::chrono::steady_clock::now() + limit;
      while (!over_.load(std::memory_order_acquire) && !run.requested() && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(milliseconds(50));
      if (!over_.load(std::memory_order_acquire)) token_.raise(run.requested() ? run.signal() : 0);
    }) {}
  ~RoundLimit() {
    over_.store(true, std::memory_order_release);
    watcher_.join();
  }
  RoundLimit(const RoundLimit&) = delete;
  RoundLimit& operator=(const RoundLimit&) = delete;
  const CancelToken& token() const { return token_; }

 private:
  CancelToken token_;
  std::atomic<bool> over_{false};
  std::thread watcher_;
};

// A host key that is not the known one is an answer; a login that is refused is not, for a system that is starting
// refuses ordinary users.
bool is_final(const Diagnostic& why) {
  static constexpr std::array final_codes{code::host_key_changed, code::host_key_revoked, code::host_key_unknown, code::host_certificate_refused};
  return std::find(final_codes.begin(), final_codes.end(), why.code) != final_codes.end();
}

class Reboots {
 public:
  Reboots(SiteSession& session, Env& env, const RebootOptions& options, const std::vector<provision::DesiredState>& desired, const provision::SecretValues& secrets, Recorder& recorder)
      : session_(session), env_(env), options_(options), desired_(desired), secrets_(secrets), recorder_(recorder), image_(agent_image()), transport_(transport_of(env)), nodes_(session.nodes.size()),
        ends_(session.nodes.size()) {}

  RebootResult all() {
    fleet::PaceOptions options = options_.site.reach.pace;
    if (!options.canary && !options.in_batches()) options.canary = 1;
    fleet::Pace pace(racks_of(session_.targets), options);
    env_.events.emit({.type = "run_started", .message = "rebooting", .total = static_cast<double>(nodes_.size())});
    std::vector<bool> begun(nodes_.size(), false);
    for (std::vector<std::size_t> wave = next_wave(pace, begun); !wave.empty(); wave = next_wave(pace, begun)) {
      work_on(wave);
      for (const std::size_t i : wave) {
        finish(i);
        pace.ended(i, ends_[i].well);
      }
    }
    for (std::size_t i = 0; i < nodes_.size(); ++i)
      if (!begun[i]) leave_out(i, pace);
    env_.events.emit({.type = "run_finished"});
    RebootResult result;
    for (auto& node : nodes_) result.nodes.push_back(std::move(node.row));
    result.summary = summarize(std::move(ends_), pace, env_);
    return result;
  }

 private:
  struct Node {
    RebootedNode row;
    Time ordered_at{}, awaited_since{};   // the order may be one of a run that was cut
    std::optional<Diagnostic> why{};   // why it is not well, as far as is known
    fleet::AgentEnd end{};             // of the last session that said something
    std::optional<store::NodeRecord> kept{};   // from before the order
    bool over = false;                 // there is nothing more to wait for
  };

  std::vector<std::size_t> next_wave(fleet::Pace& pace, std::vector<bool>& begun) const {
    std::vector<std::size_t> wave;
    if (env_.cancel.requested()) return wave;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (begun[i] || pace.ask(i) != fleet::Pace::Answer::start) continue;
      pace.started(i);
      begun[i] = true;
      wave.push_back(i);
    }
    return wave;
  }

  void work_on(const std::vector<std::size_t>& wave) {
    std::vector<std::size_t> remote;
    for (const std::size_t i : wave) {
      nodes_[i].row.name = session_.targets[i].node;
      env_.events.emit({.type = "node_started", .node = session_.targets[i].node, .step = "reboot"});
      if (session_.targets[i].transport != ssh::TransportKind::local) {
        remote.push_back(i);
        continue;
      }
      nodes_[i].end.outcome = NodeOutcome::failed;
      give_up(i, error(code::reboot_not_ordered, one_line(session_.targets[i].node) + ": it is this machine, which kfab does not reboot under itself"));
    }
    order(still_to_order(remote));
    wait_for(remote);
    check(remote);
  }

  // Asks the nodes which boot they run and keeps it, before any is told to reboot. Of a run that is gone on with: those
  // that run another boot than the one that was kept have been rebooted, as far as the order goes.
  std::vector<std::size_t> still_to_order(const std::vector<std::size_t>& wave) {
    std::vector<std::size_t> to_order;
    if (wave.empty()) return to_order;
    const auto answers = ask(wave, [&](std::size_t) { return json::Object{{"task", "boot"}, {"run_id", env_.run_id}}; }, order_limit, env_.cancel);
    for (std::size_t at = 0; at < wave.size(); ++at) {
      const std::size_t i = wave[at];
      const auto boot = provision::read_boot(answers[at].end.hello, answers[at].messages);
      const store::NodeRecord* kept = kept_of(nodes_[i].row.name);
      const std::string before = kept ? kept->detail.string_or("boot_id_before") : std::string();
      if (before.empty() || (boot && boot->boot_id == before)) {
        if (boot) keep(i, *boot, env_.clock.now());
        to_order.push_back(i);
        continue;
      }
      Node& node = nodes_[i];
      node.row.before = provision::Boot{before, kept->detail.string_or("machine_id"), kept->board_serial, {}, {}, {}};
      node.row.ordered = true;
      const auto ordered_at = parse_rfc3339(kept->detail.string_or("ordered_at")).value_or(kept->at);
      node.awaited_since = env_.clock.steady_now();
      node.ordered_at = node.awaited_since - std::chrono::duration_cast<Time::duration>(std::max(env_.clock.now() - ordered_at, Timestamp::duration::zero()));
      keep(i, *node.row.before, ordered_at);
    }
    return to_order;
  }

  // What the run that is gone on with kept last of the node; null when it kept nothing.
  const store::NodeRecord* kept_of(const std::string& node) const {
    if (!options_.resumed) return nullptr;
    const auto kept = options_.resumed->records.find(node);
    return kept == options_.resumed->records.end() ? nullptr : &kept->second;
  }

  void keep(std::size_t i, const provision::Boot& before, Timestamp ordered_at) {
    fleet::AgentEnd end;
    end.node = session_.targets[i].node;
    store::NodeRecord record = step_record(env_, end, "reboot");
    record.board_serial = before.board_serial;
    record.outcome = NodeOutcome::ok;
    record.reason = "told to reboot";
    record.detail = json::Object{{"boot_id_before", before.boot_id}, {"machine_id", before.machine_id}, {"ordered_at", to_rfc3339(ordered_at)}, {"to_apply", number_to_apply(record.node)}};
    nodes_[i].kept = record;
    recorder_.put({{std::move(record)}, {}, {}});
  }

  // How many resources were known to differ before. Of a run that is gone on with, as that one kept it.
  std::size_t number_to_apply(const std::string& node) const {
    if (const auto known = options_.to_apply.find(node); known != options_.to_apply.end()) return known->second.size();
    const store::NodeRecord* kept = kept_of(node);
    return kept == nullptr ? 0 : static_cast<std::size_t>(std::max<std::int64_t>(0, kept->detail.int_or("to_apply", 0)));
  }

  // Whether the resource was not as declared before the reboot either. After a run that was cut it is not known which
  // those were, and then nothing that differs is laid to the reboot.
  bool was_to_apply(const std::string& node, const std::string& resource) const {
    if (const auto known = options_.to_apply.find(node); known != options_.to_apply.end()) return known->second.count(resource) > 0;
    return number_to_apply(node) > 0;
  }

  // One round of agents over some nodes, without the events of single sessions: a node is one piece of work from the
  // order to the check.
  std::vector<Answer> ask(const std::vector<std::size_t>& nodes, const std::function<json::Object(std::size_t)>& request, seconds deadline,
                          const CancelToken& cancel, std::optional<milliseconds> connect = {}) {
    std::vector<ssh::Target> targets;
    for (const std::size_t i : nodes) {
      targets.push_back(session_.targets[i]);
      if (connect) targets.back().connect_timeout = std::min(*connect, targets.back().connect_timeout.value_or(*connect));
    }
    Answers answers(targets.size());
    fleet::FleetOptions options = fleet_options(options_.site.reach);
    options.relay = false;
    if (connect) options.cancel_grace = milliseconds(500);
    NullEventSink quiet;
    auto ends = fleet::run_agents(*transport_, targets, image_, [&](std::size_t at) {
      return fleet::AgentTask{request(nodes[at]), session_.sudo[nodes[at]], deadline, session_.password.get()};
    }, answers, options, env_.clock, quiet, cancel);
    for (std::size_t at = 0; at < ends.size(); ++at) answers.of[at].end = std::move(ends[at]);
    return std::move(answers.of);
  }

  void order(const std::vector<std::size_t>& wave) {
    if (wave.empty()) return;
    const Time now = env_.clock.steady_now();   // before the order, so that the age of the new system can only be smaller
    const auto answers = ask(wave, [&](std::size_t) { return json::Object{{"task", "reboot"}, {"run_id", env_.run_id}}; }, order_limit, env_.cancel);
    for (std::size_t at = 0; at < wave.size(); ++at) {
      Node& node = nodes_[wave[at]];
      const Answer& answer = answers[at];
      node.ordered_at = node.awaited_since = now;
      node.end = answer.end;
      node.row.before = provision::read_boot(answer.end.hello, answer.messages);
      // The connection may be cut between the order and the word that it was given: then what answers later will tell.
      const bool agent_spoke_last = !answer.end.done.is_null();
      node.row.ordered = provision::reboot_was_ordered(answer.messages) || (node.row.before && !agent_spoke_last && !was_cancelled(answer.end));
      if (node.row.ordered) continue;
      give_up(wave[at], answer.end.why ? *answer.end.why
                                       : error(code::reboot_not_ordered, one_line(session_.targets[wave[at]].node) + ": the agent did not say that the reboot was ordered"));
    }
  }

  double since_order_s(std::size_t i) const { return std::chrono::duration<double>(env_.clock.steady_now() - nodes_[i].ordered_at).count(); }

  void wait_for(const std::vector<std::size_t>& wave) {
    for (;;) {
      std::vector<std::size_t> waiting;
      for (const std::size_t i : wave)
        if (!nodes_[i].over && !nodes_[i].row.back_after_s) waiting.push_back(i);
      if (waiting.empty()) return;
      pause(waiting.front());
      if (env_.cancel.requested()) {
        for (const std::size_t i : waiting) give_up(i, fleet::cancelled(session_.targets[i].node, true));
        return;
      }
      const RoundLimit limit(env_.cancel, poll_limit);
      const auto answers = ask(waiting, [&](std::size_t) { return json::Object{{"task", "boot"}, {"run_id", env_.run_id}}; }, poll_limit, limit.token(), poll_connect);
      for (std::size_t at = 0; at < waiting.size(); ++at) take(waiting[at], answers[at]);
    }
  }

  void pause(std::size_t oldest) {
    const Time end = env_.clock.steady_now() + between_polls;
    while (env_.clock.steady_now() < end && !env_.cancel.requested()) std::this_thread::sleep_for(milliseconds(100));
    env_.events.emit({.type = "tick", .node = session_.targets[oldest].node, .step = "coming back", .done = since_order_s(oldest)});
  }

  void take(std::size_t i, const Answer& answer) {
    Node& node = nodes_[i];
    const auto boot = provision::read_boot(answer.end.hello, answer.messages);
    if (boot && answer.end.outcome == NodeOutcome::ok) {
      node.end = answer.end;
      node.row.after = boot;
      node.row.proof = provision::judge_reboot(session_.targets[i].node, *node.row.before, *boot, since_order_s(i));
      if (node.row.proof.stage == provision::RebootStage::proven) {
        node.row.back_after_s = since_order_s(i);
        node.why.reset();
        return;
      }
      if (node.row.proof.stage == provision::RebootStage::wrong) return give_up(i, *node.row.proof.why);
      node.why = node.row.proof.why;
    } else if (answer.end.why && !was_cancelled(answer.end)) {
      if (is_final(*answer.end.why)) {
        node.end = answer.end;
        return give_up(i, *answer.end.why);
      }
      // Not there yet, or not any more: what was seen of the old system is no news then.
      Diagnostic gone = error(code::reboot_not_back, fmt::format("{}: no answer {:.0f} s after the order", one_line(session_.targets[i].node), since_order_s(i)));
      gone.help.push_back("the last try: " + one_line(answer.end.why->message, 300));
      gone.node = session_.targets[i].node;
      node.why = std::move(gone);
      node.end = answer.end;
    }
    if (std::chrono::duration<double>(env_.clock.steady_now() - node.awaited_since).count() < options_.timeout_s) return;
    give_up(i, node.why ? *node.why : error(code::reboot_not_back, fmt::format("{}: no answer within {:.0f} s", one_line(session_.targets[i].node), poll_limit.count() * 1.0)));
  }

  void check(const std::vector<std::size_t>& wave) {
    std::vector<std::size_t> back;
    for (const std::size_t i : wave)
      if (nodes_[i].row.back_after_s && options_.check && !desired_[i].resources.empty()) back.push_back(i);
    if (back.empty()) return;
    if (env_.cancel.requested()) {
      for (const std::size_t i : back) give_up(i, fleet::cancelled(session_.targets[i].node, true));
      return;
    }
    const auto answers = ask(back, [&](std::size_t i) {
      json::Object request = provision::agent_request(desired_[i], provision::Mode::plan, secrets_);
      request.set("task", "provision").set("run_id", env_.run_id);
      return request;
    }, reboot_check_limit, env_.cancel);
    for (std::size_t at = 0; at < back.size(); ++at) judge_check(back[at], answers[at]);
  }

  void judge_check(std::size_t i, const Answer& answer) {
    Node& node = nodes_[i];
    auto messages = answer.messages;
    if (!answer.end.done.is_null()) messages.push_back(answer.end.done);
    provision::NodePlan plan = provision::judge(desired_[i], provision::Mode::plan, messages);
    plan.complete = answer.end.outcome == NodeOutcome::ok;
    node.end = answer.end;
    if (!plan.complete && answer.end.why) node.why = answer.end.why;
    std::vector<std::string> ids;
    int wrong = 0;
    for (const auto& resource : plan.resources) {
      if (resource.status != provision::ResourceStatus::would_change && resource.status != provision::ResourceStatus::failed && resource.status != provision::ResourceStatus::skipped) continue;
      if (was_to_apply(node.row.name, resource.id)) {
        ++node.row.to_apply;
        continue;
      }
      ++wrong;
      if (ids.size() < 5) ids.push_back(one_line(resource.id, 80));
    }
    if (wrong > 0) {
      plan.verdict = Verdict::fail;
      node.why = error(code::reboot_did_not_hold, fmt::format("{}: {} not as declared: {}{}", one_line(session_.targets[i].node),
                                                              wrong == 1 ? "1 resource is" : fmt::format("{} resources are", wrong), join(ids, ", "),
                                                              static_cast<int>(ids.size()) < wrong ? ", ..." : ""));
      plan.code = to_string(node.why->code);
      plan.reason = node.why->message;
    }
    if (!was_cancelled(answer.end)) {
      store::NodeRecord record = step_record(env_, answer.end, "provision");
      record.verdict = plan.verdict;
      record.reason = one_line(plan.reason, 400);
      record.detail = provision::to_json(plan);
      recorder_.put({{reach_record(env_, answer.end), std::move(record)}, {}, {}});
    }
    // What was still to be applied before the reboot is no fault of it; the record says that the node is not provisioned.
    if (wrong == 0 && node.row.to_apply > 0 && plan.complete && plan.not_reported + plan.cancelled == 0) plan.verdict = Verdict::pass;
    node.row.check = std::move(plan);
  }

  void give_up(std::size_t i, Diagnostic why) {
    nodes_[i].over = true;
    why.node = session_.targets[i].node;
    nodes_[i].why = std::move(why);
  }

  void finish(std::size_t i) {
    Node& node = nodes_[i];
    RebootedNode& row = node.row;
    row.outcome = node.end.outcome;
    const bool checked = row.check ? row.check->verdict == Verdict::pass : row.back_after_s.has_value();
    if (row.back_after_s && checked && !node.over) row.verdict = row.after->failed_units.empty() ? Verdict::pass : Verdict::degraded;
    else row.verdict = verdict_of(node);
    if (row.verdict == Verdict::degraded) {
      node.why = make_diagnostic(code::reboot_units_failed, fmt::format("{}: failed: {}", one_line(row.name), join(row.after->failed_units, ", ")));
    }
    if (!(row.back_after_s && row.outcome == NodeOutcome::ok)) row.phase = ssh::to_string(node.end.phase);
    fleet::NodeEnd end = node_end(session_.targets[i], row.outcome, node.end.phase, node.why);
    if (node.why) {
      row.code = to_string(node.why->code);
      row.reason = node.why->message;
      end.code = row.code;
      end.message = row.reason;
    }
    end.well = row.verdict == Verdict::pass || row.verdict == Verdict::degraded;
    if (node.kept && !was_cancelled(node.end)) {
      store::NodeRecord& record = *node.kept;
      record.at = env_.clock.now();
      record.outcome = row.outcome;
      record.verdict = row.verdict;
      record.reason = one_line(row.reason, 400);
      json::Object detail = *record.detail.as_object();
      record.detail = std::move(detail.set("boot_id_after", row.after ? json::Value(row.after->boot_id) : json::Value()).set("back_after_s", row.back_after_s));
      recorder_.put({{std::move(record)}, {}, {}});
    }
    env_.events.emit({.type = "node_done", .node = row.name, .message = row.reason, .outcome = std::string(to_string(row.outcome))});
    ends_[i] = std::move(end);
  }

  // Of a node that is not well. What was stopped, or could not be asked any more, has no verdict.
  static Verdict verdict_of(const Node& node) {
    if (!node.why || was_cancelled(node.end) || node.why->code == code::fleet_cancelled) return Verdict::not_judged;
    if (!node.row.ordered) return Verdict::not_judged;
    if (node.row.back_after_s && node.row.check && node.row.check->verdict != Verdict::fail) return Verdict::not_judged;
    return Verdict::fail;
  }

  void leave_out(std::size_t i, const fleet::Pace& pace) {
    RebootedNode& row = nodes_[i].row;
    row.name = session_.targets[i].node;
    const std::string why = pace.why_not(i);
    const Diagnostic left = env_.cancel.requested() || why.empty() ? fleet::cancelled(row.name, false) : fleet::held_back(row.name, why);
    row.code = to_string(left.code);
    row.reason = left.message;
    ends_[i] = node_end(session_.targets[i], NodeOutcome::unreachable, ssh::Phase::resolve, left);
    ends_[i].started = false;
  }

  SiteSession& session_;
  Env& env_;
  const RebootOptions& options_;
  const std::vector<provision::DesiredState>& desired_;
  const provision::SecretValues& secrets_;
  Recorder& recorder_;
  fleet::AgentImage image_;
  std::shared_ptr<ssh::Transport> transport_;
  std::vector<Node> nodes_;
  std::vector<fleet::NodeEnd> ends_;
};

}  // namespace

RebootResult reboot_in_waves(SiteSession& session, Env& env, const RebootOptions& options, const std::vector<provision::DesiredState>& desired, const provision::SecretValues& secrets,
                             Recorder& recorder) {
  return Reboots(session, env, options, desired, secrets, recorder).all();
}

}  // namespace kfab::commands

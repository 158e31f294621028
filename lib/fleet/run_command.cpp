#include "fleet/run_command.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/codes/ssh.hpp"
#include "base/text.hpp"
#include "fleet/window.hpp"

namespace kfab::fleet {
namespace {

using Time = std::chrono::steady_clock::time_point;

// What is kept of a node's output, of each stream, even when that of all nodes together has become too much.
constexpr std::size_t kept_of_each_bytes = 4096;

// What the jobs of one run share.
struct Run {
  const CommandTask& task;
  SupervisedLine supervised;   // empty when plain
  const FleetOptions& options;
  const Clock& clock;
  OutputTaker* taker;
  std::vector<bool> told{};   // whose result the taker has
  std::size_t kept_bytes = 0;   // of all nodes' output
};

class CommandJob final : public Job {
 public:
  CommandJob(std::size_t index, const ssh::Target& target, Run& run, CommandResult& result, EventSink& sink)
      : index_(index), target_(target), run_(&run), result_(&result), sink_(&sink), voice_(run.supervised.nonce) {}

  void start(ssh::Transport& transport, std::shared_ptr<Job> self) override {
    emit({.type = "node_started", .node = target_.node, .step = "connect"});
    constexpr std::size_t all = std::numeric_limits<std::size_t>::max();
    const FleetOptions& options = run_->options;
    ssh::Command command{run_->task.plain ? run_->task.text : run_->supervised.line, options.deadlines,
                         run_->taker != nullptr ? all : options.max_stdout_bytes, run_->taker != nullptr ? all : options.max_stderr_bytes};
    command.keep_connection = options.keep_connections;
    transport.launch(target_, command, std::move(self));
  }
  bool over() const override { return over_; }
  bool ok() const override { return ok_; }
  const std::string& node() const override { return target_.node; }
  std::string_view doing() const override { return running_ ? to_string(ssh::Phase::command) : to_string(phase_); }
  void wind_down() override {
    if (!running_) cut();   // it has not been asked for anything yet
    else if (peer_ != nullptr) peer_->close_input();
  }
  void cut() override {
    stopped_ = true;
    if (peer_ != nullptr) peer_->abort();
  }
  void detach() override {
    result_ = nullptr;
    sink_ = nullptr;
  }
  void tick(Time now, bool /*behind*/) override {
    if (peer_ == nullptr || !beating_ || now - last_beat_ < heartbeat_every) return;
    last_beat_ = now;
    peer_->write(std::string(heartbeat));
  }

  void on_launch(ssh::CommandPeer& peer) override {
    peer_ = &peer;
    if (stopped_ || result_ == nullptr) peer.abort();
  }
  void on_phase(ssh::Phase phase) override {
    phase_ = phase;
    Job::on_phase(phase);
  }
  void on_start(ssh::CommandPeer& peer) override {
    peer_ = &peer;
    running_ = true;
    if (stopped_ || result_ == nullptr) {
      peer.abort();
    } else if (run_->task.plain) {
      peer.write_view(run_->task.input);
      peer.close_input();
    } else if (run_->task.become != Become::sudo_password) {
      hand_over();   // what sudo would take for a password is sent only once it is known to ask for none
    }
  }
  void on_stdout(std::string_view bytes) override {
    if (result_ != nullptr) take(false, bytes);
  }
  void on_stderr(std::string_view bytes) override {
    if (result_ == nullptr) return;
    if (run_->task.plain) return take(true, bytes);
    voice_.feed(bytes, [this](std::string_view own) { take(true, own); }, [this](const SupervisorVoice::Word& word) { on_word(word); });
  }
  void on_end(const ssh::CommandEnd& end) override {
    over_ = true;
    peer_ = nullptr;
    if (result_ == nullptr) return;
    if (const std::string rest = voice_.rest(); !rest.empty()) take(true, rest);
    result_->outcome = end.outcome;
    result_->phase = end.phase;
    result_->exit_status = end.exit_status;
    result_->signal = end.signal;
    result_->truncated_bytes = end.truncated_bytes + dropped_;
    result_->duration_s = end.duration_s;
    result_->why = end.why;
    if (stopped_ && end.why && end.why->code == code::remote_command_aborted) result_->why = cancelled(target_.node, true);
    if (const bool ended = end.outcome == NodeOutcome::ok || end.outcome == NodeOutcome::failed; refusal_ || (ended && not_started())) refused();
    ok_ = result_->outcome == NodeOutcome::ok;
    if (run_->taker != nullptr) run_->taker->on_result(index_, *result_);
    run_->told[index_] = true;
    emit({.type = "node_done", .node = target_.node, .message = result_->why ? result_->why->message : "",
          .outcome = std::string(to_string(result_->outcome))});
  }

 private:
  void emit(const Event& event) {
    if (sink_ != nullptr) sink_->emit(event);
  }

  void take(bool is_stderr, std::string_view bytes) {
    std::string& kept = is_stderr ? result_->stderr_text : result_->stdout_text;
    if (run_->taker != nullptr) run_->taker->on_output(index_, is_stderr, bytes);
    std::size_t most = is_stderr ? run_->options.max_stderr_bytes : run_->options.max_stdout_bytes;
    if (run_->kept_bytes >= run_->options.max_kept_bytes) most = std::min(most, kept_of_each_bytes);
    const std::size_t room = std::min(bytes.size(), most - std::min(most, kept.size()));
    kept += bytes.substr(0, room);
    run_->kept_bytes += room;
    dropped_ += bytes.size() - room;
  }

  // The command, and what it reads.
  void hand_over() {
    if (peer_ == nullptr || beating_) return;
    peer_->write_view(run_->supervised.preamble);
    peer_->write_view(run_->task.input);
    beating_ = true;
    last_beat_ = run_->clock.steady_now();
  }

  void on_word(const SupervisorVoice::Word& word) {
    if (word.word == "ready") {
      ready_ = true;
    } else if (word.word == "begun") {
      hand_over();
    } else if (word.word == "password" && run_->task.password != nullptr && !asked_) {
      asked_ = true;
      if (peer_ != nullptr) peer_->write_view(run_->task.password->view());
    } else if (word.word == "password") {
      refusal_ = error(code::sudo_wrong_password, one_line(target_.node) + ": sudo did not accept the password");
      if (peer_ != nullptr) peer_->abort();
    } else {
      refusal_ = supervisor_error(word, target_.node);
    }
  }

  bool not_started() const { return !run_->task.plain && !ready_; }

  void refused() {
    if (!refusal_) {
      const std::string words = one_line(result_->stderr_text.empty() ? result_->stdout_text : result_->stderr_text, 300);
      const std::string said = words.empty() ? "" : ": " + words;
      if (run_->task.become != Become::none) refusal_ = error(code::sudo_refused, one_line(target_.node) + ": sudo refused" + said);
      else refusal_ = error(code::exec_not_started, one_line(target_.node) + ": the command was not started" + said);
    }
    result_->outcome = NodeOutcome::refused;
    result_->phase = ssh::Phase::channel;
    result_->exit_status.reset();
    result_->signal.clear();
    result_->why = std::move(refusal_);
    result_->why->node = target_.node;
  }

  const std::size_t index_;
  const ssh::Target& target_;
  Run* run_;
  CommandResult* result_;   // null once the run is gone; then nothing of it is touched
  EventSink* sink_;
  ssh::CommandPeer* peer_ = nullptr;
  SupervisorVoice voice_;
  std::optional<Diagnostic> refusal_;
  std::uint64_t dropped_ = 0;
  Time last_beat_{};
  ssh::Phase phase_ = ssh::Phase::resolve;
  bool over_ = false, ok_ = false, stopped_ = false, running_ = false, beating_ = false, ready_ = false, asked_ = false;
};

}  // namespace

std::vector<CommandResult> run_command(ssh::Transport& transport, const std::vector<ssh::Target>& targets, const CommandTask& task,
                                       const FleetOptions& options, const Clock& clock, EventSink& sink, const CancelToken& cancel,
                                       OutputTaker* taker) {
  std::vector<CommandResult> results(targets.size());
  std::vector<bool> made(targets.size(), false);
  for (std::size_t i = 0; i < targets.size(); ++i) {
    results[i].node = targets[i].node;
    results[i].why = cancelled(targets[i].node, true);   // until it has ended
  }
  Run run{task, task.plain ? SupervisedLine{} : supervise(task.text, task.environment, task.input.size(), task.become), options, clock, taker,
          std::vector<bool>(targets.size(), false)};
  const auto make = [&](std::size_t i) {
    made[i] = true;
    return std::make_shared<CommandJob>(i, targets[i], run, results[i], sink);
  };
  run_window(transport, targets, make, options, clock, sink, cancel);
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (!made[i]) results[i].why = never_started(options, i, targets[i].node);
    if (taker != nullptr && !run.told[i]) taker->on_result(i, results[i]);
  }
  return results;
}

std::vector<CommandResult> run_command(ssh::Transport& transport, const std::vector<ssh::Target>& targets, const std::string& line,
                                       std::string_view input, const FleetOptions& options, const Clock& clock, EventSink& sink,
                                       const CancelToken& cancel) {
  CommandTask task{.text = line, .input = input};
  task.plain = true;
  return run_command(transport, targets, task, options, clock, sink, cancel);
}

}  // namespace kfab::fleet

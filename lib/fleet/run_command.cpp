#include <utility>

#include "fleet/window.hpp"

namespace kfab::fleet {
namespace {

class CommandJob final : public Job {
 public:
  CommandJob(const ssh::Target& target, ssh::Command command, std::string_view input, CommandResult& result, EventSink& sink)
      : target_(target), command_(std::move(command)), input_(input), result_(&result), sink_(&sink) {}

  void start(ssh::Transport& transport, std::shared_ptr<Job> self) override {
    emit({.type = "node_started", .node = target_.node, .step = "connect"});
    transport.launch(target_, command_, std::move(self));
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
      return;
    }
    peer.write_view(input_);
    peer.close_input();
  }
  void on_stdout(std::string_view bytes) override {
    if (result_ != nullptr) result_->stdout_text += bytes;
  }
  void on_stderr(std::string_view bytes) override {
    if (result_ != nullptr) result_->stderr_text += bytes;
  }
  void on_end(const ssh::CommandEnd& end) override {
    over_ = true;
    ok_ = end.outcome == NodeOutcome::ok;
    peer_ = nullptr;
    if (result_ == nullptr) return;
    result_->outcome = end.outcome;
    result_->phase = end.phase;
    result_->exit_status = end.exit_status;
    result_->signal = end.signal;
    result_->truncated_bytes = end.truncated_bytes;
    result_->duration_s = end.duration_s;
    result_->why = end.why;
    if (stopped_ && end.why && end.why->code == Code::remote_command_aborted) result_->why = cancelled(target_.node, true);
    emit({.type = "node_done", .node = target_.node, .message = result_->why ? result_->why->message : "",
          .outcome = std::string(to_string(end.outcome))});
  }

 private:
  void emit(const Event& event) {
    if (sink_ != nullptr) sink_->emit(event);
  }

  const ssh::Target& target_;
  ssh::Command command_;
  std::string_view input_;
  CommandResult* result_;
  EventSink* sink_;
  ssh::CommandPeer* peer_ = nullptr;
  ssh::Phase phase_ = ssh::Phase::resolve;
  bool over_ = false, ok_ = false, stopped_ = false, running_ = false;
};

}  // namespace

std::vector<CommandResult> run_command(ssh::Transport& transport, const std::vector<ssh::Target>& targets, const std::string& line,
                                       std::string_view input, const FleetOptions& options, const Clock& clock, EventSink& sink,
                                       const CancelToken& cancel) {
  std::vector<CommandResult> results(targets.size());
  std::vector<bool> made(targets.size(), false);
  for (std::size_t i = 0; i < targets.size(); ++i) {
    results[i].node = targets[i].node;
    results[i].why = cancelled(targets[i].node, true);   // until it has ended
  }
  const ssh::Command command{line, options.deadlines, options.max_stdout_bytes, options.max_stderr_bytes};
  const auto make = [&](std::size_t i) {
    made[i] = true;
    return std::make_shared<CommandJob>(targets[i], command, input, results[i], sink);
  };
  run_window(transport, targets, make, options, clock, sink, cancel);
  for (std::size_t i = 0; i < targets.size(); ++i)
    if (!made[i]) results[i].why = never_started(options, i, targets[i].node);
  return results;
}

}  // namespace kfab::fleet

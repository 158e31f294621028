#include "fleet/host_key_scan.hpp"

#include <utility>

#include "base/codes/ssh.hpp"
#include "fleet/window.hpp"

namespace kfab::fleet {
namespace {

class ScanJob final : public Job {
 public:
  ScanJob(const ssh::Target& target, const ssh::Command& command, ScannedNode& result, EventSink& sink)
      : target_(target), command_(command), result_(&result), sink_(&sink) {}

  void start(ssh::Transport& transport, std::shared_ptr<Job> self) override {
    emit({.type = "node_started", .node = target_.node, .step = "connect"});
    transport.launch(target_, command_, std::move(self));
  }
  bool over() const override { return over_; }
  bool ok() const override { return ok_; }
  const std::string& node() const override { return target_.node; }
  std::string_view doing() const override { return to_string(phase_); }
  void wind_down() override { cut(); }   // nothing has been asked of the node that could be finished
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
  void on_host_key(std::string_view blob) override {
    if (result_ != nullptr) result_->key_blobs.emplace_back(blob);
  }
  void on_end(const ssh::CommandEnd& end) override {
    over_ = true;
    ok_ = end.outcome == NodeOutcome::ok;
    peer_ = nullptr;
    if (result_ == nullptr) return;
    result_->outcome = end.outcome;
    result_->phase = end.phase;
    result_->duration_s = end.duration_s;
    result_->why = end.why;
    if (stopped_ && end.why && end.why->code == code::remote_command_aborted) result_->why = cancelled(target_.node, true);
    emit({.type = "node_done", .node = target_.node, .message = result_->why ? result_->why->message : "",
          .outcome = std::string(to_string(end.outcome))});
  }

 private:
  void emit(const Event& event) {
    if (sink_ != nullptr) sink_->emit(event);
  }

  const ssh::Target& target_;
  const ssh::Command& command_;
  ScannedNode* result_;
  EventSink* sink_;
  ssh::CommandPeer* peer_ = nullptr;
  ssh::Phase phase_ = ssh::Phase::resolve;
  bool over_ = false, ok_ = false, stopped_ = false;
};

}  // namespace

std::vector<ScannedNode> scan_host_keys(ssh::Transport& transport, const std::vector<ssh::Target>& targets, const FleetOptions& options,
                                        const Clock& clock, EventSink& sink, const CancelToken& cancel) {
  std::vector<ScannedNode> results(targets.size());
  std::vector<bool> made(targets.size(), false);
  for (std::size_t i = 0; i < targets.size(); ++i) results[i].node = targets[i].node;
  ssh::Command command;
  command.deadlines = options.deadlines;
  command.purpose = ssh::Purpose::host_keys;
  const auto make = [&](std::size_t i) {
    made[i] = true;
    return std::make_shared<ScanJob>(targets[i], command, results[i], sink);
  };
  run_window(transport, targets, make, options, clock, sink, cancel);
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (!made[i]) results[i].why = never_started(options, i, targets[i].node);
    else if (results[i].outcome != NodeOutcome::ok && !results[i].why) results[i].why = cancelled(targets[i].node, true);
  }
  return results;
}

}  // namespace kfab::fleet

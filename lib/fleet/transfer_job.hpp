#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "fleet/copy.hpp"
#include "fleet/window.hpp"

namespace kfab::fleet {

// What sending and fetching a file have in common: one node's connection, the words of the script on the other side,
// sudo's question, and the heartbeats. The heartbeat is an empty line, which the scripts skip.
class TransferJob : public Job {
 public:
  TransferJob(const ssh::Target& target, CopyRights rights, const FleetOptions& options, const Clock& clock, CopyResult& result, EventSink& sink);

  void start(ssh::Transport&, std::shared_ptr<Job> self) override;
  bool over() const override { return over_; }
  bool ok() const override { return ok_; }
  const std::string& node() const override { return target_.node; }
  std::string_view doing() const override { return begun_ ? "copy" : to_string(phase_); }
  void tick(std::chrono::steady_clock::time_point, bool behind) override;
  void wind_down() override { cut(); }   // what came so far is kept, so that a later run can go on
  void cut() override;
  void detach() override;

  void on_launch(ssh::CommandPeer&) override;
  void on_phase(ssh::Phase phase) override {
    phase_ = phase;
    Job::on_phase(phase);
  }
  void on_start(ssh::CommandPeer&) override;
  void on_stderr(std::string_view bytes) override;
  void on_end(const ssh::CommandEnd&) override;

 protected:
  virtual std::string line() const = 0;       // the command line, with the nonce
  virtual void hand_over() = 0;               // the script reads now
  virtual void on_word(const SupervisorVoice::Word&) = 0;   // but for those that are handled here
  virtual void conclude() {}                  // the connection ended in order: what is left to do here
  virtual void look_for_trouble() {}          // it did not: whether the reason is on this side
  virtual void tell_progress() {}             // about once a second

  void send(std::string bytes);
  void send_view(std::string_view bytes);
  void send_from(const ssh::ByteSource&, std::uint64_t from, std::uint64_t count);
  void give_up(Diagnostic why);               // the node did nothing wrong; the transfer cannot go on
  void done() { done_ = true; }
  void emit(const Event&);
  std::string who() const;
  bool listening() const { return result_ != nullptr; }
  CopyResult& result() { return *result_; }
  const std::string& nonce() const { return nonce_; }
  Become become() const { return rights_.become; }

 private:
  void hear(const SupervisorVoice::Word&);
  void judge(const ssh::CommandEnd&);

  const ssh::Target& target_;
  const CopyRights rights_;
  const FleetOptions& options_;
  const Clock& clock_;
  CopyResult* result_;   // null once the run is gone; then nothing of it is touched
  EventSink* sink_;
  ssh::CommandPeer* peer_ = nullptr;
  std::string nonce_, stderr_;
  SupervisorVoice voice_;
  std::optional<Diagnostic> why_;
  NodeOutcome why_outcome_ = NodeOutcome::failed;
  std::chrono::steady_clock::time_point last_beat_{};
  ssh::Phase phase_ = ssh::Phase::resolve;
  bool over_ = false, ok_ = false, stopped_ = false, asked_ = false, begun_ = false, handed_over_ = false, done_ = false;
};

}  // namespace kfab::fleet

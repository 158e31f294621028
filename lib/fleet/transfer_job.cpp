#include "fleet/transfer_job.hpp"

#include <fmt/format.h>

#include <limits>

#include "base/codes/ssh.hpp"
#include "base/ids.hpp"
#include "base/result.hpp"
#include "base/text.hpp"

namespace kfab::fleet {
namespace {

constexpr std::size_t kept_stderr_bytes = 2048;

// The words by which a script says that it gives up. The node is refused where the script could not begin.
struct FailureRow {
  std::string_view word;
  Code code;
  NodeOutcome outcome;
  std::string_view words;
};
constexpr FailureRow failures[] = {
    {"no_tool", code::copy_no_tool, NodeOutcome::refused, "a program is missing"},
    {"no_sudo", code::sudo_missing, NodeOutcome::refused, "there is no sudo"},
    {"cut_short", code::exec_cut_short, NodeOutcome::failed, "did not arrive whole"},
    {"copy_not_stored", code::copy_not_stored, NodeOutcome::failed, "not stored"},
    {"copy_no_space", code::copy_no_space, NodeOutcome::failed, "no space"},
    {"copy_damaged", code::copy_damaged, NodeOutcome::failed, "arrived damaged"},
    {"copy_not_a_file", code::copy_not_a_file, NodeOutcome::failed, "not a regular file"},
    {"copy_missing", code::copy_missing, NodeOutcome::failed, "cannot be read"},
    {"copy_too_large", code::copy_too_large, NodeOutcome::failed, "too large"},
};

}  // namespace

TransferJob::TransferJob(const ssh::Target& target, CopyRights rights, const FleetOptions& options, const Clock& clock, CopyResult& result, EventSink& sink)
    : target_(target), rights_(rights), options_(options), clock_(clock), result_(&result), sink_(&sink), nonce_(random_hex(8)), voice_(nonce_) {}

void TransferJob::start(ssh::Transport& transport, std::shared_ptr<Job> self) {
  emit({.type = "node_started", .node = target_.node, .step = "connect"});
  const std::size_t all = std::numeric_limits<std::size_t>::max();
  transport.launch(target_, ssh::Command{line(), options_.deadlines, all, all}, std::move(self));
}

void TransferJob::tick(std::chrono::steady_clock::time_point now, bool /*behind*/) {
  if (peer_ == nullptr || !handed_over_) return;
  tell_progress();
  if (now - last_beat_ < heartbeat_every) return;
  last_beat_ = now;
  peer_->write("\n");
}

void TransferJob::cut() {
  stopped_ = true;
  if (peer_ != nullptr) peer_->abort();
}

void TransferJob::detach() {
  result_ = nullptr;
  sink_ = nullptr;
}

void TransferJob::on_launch(ssh::CommandPeer& peer) {
  peer_ = &peer;
  if (stopped_ || !listening()) peer.abort();
}

void TransferJob::on_start(ssh::CommandPeer& peer) {
  peer_ = &peer;
  if (stopped_ || !listening()) return peer.abort();
  if (rights_.become == Become::sudo_password) return;   // sudo would take it for a password: not before the script speaks
  handed_over_ = true;
  last_beat_ = clock_.steady_now();
  hand_over();
}

void TransferJob::on_stderr(std::string_view bytes) {
  if (!listening()) return;
  voice_.feed(bytes,
              [this](std::string_view own) {
                stderr_ += own;
                if (stderr_.size() > kept_stderr_bytes) stderr_.erase(0, stderr_.size() - kept_stderr_bytes);
              },
              [this](const SupervisorVoice::Word& word) { hear(word); });
}

void TransferJob::hear(const SupervisorVoice::Word& word) {
  if (why_ || done_) return;
  if (word.word == "begun") {
    begun_ = true;
    if (handed_over_) return;
    handed_over_ = true;
    last_beat_ = clock_.steady_now();
    hand_over();
  } else if (word.word == "password" && !asked_ && rights_.password != nullptr) {
    asked_ = true;
    send_view(rights_.password->view());
  } else if (word.word == "password") {
    give_up(error(code::sudo_wrong_password, who() + ": sudo did not accept the password"));
    why_outcome_ = NodeOutcome::refused;
  } else {
    for (const FailureRow& row : failures) {
      if (row.word != word.word) continue;
      give_up(error(row.code, fmt::format("{}: {}: {}", who(), row.words, one_line(word.detail, 300))));
      why_outcome_ = row.outcome;
      return;
    }
    on_word(word);
  }
}

void TransferJob::on_end(const ssh::CommandEnd& end) {
  over_ = true;
  peer_ = nullptr;
  if (!listening()) return;
  result_->phase = end.phase;
  result_->duration_s = end.duration_s;
  judge(end);
  if (result_->why) result_->why->node = target_.node;
  ok_ = result_->outcome == NodeOutcome::ok;
  emit({.type = "node_done", .node = target_.node, .message = result_->why ? result_->why->message : "", .outcome = std::string(to_string(result_->outcome))});
}

void TransferJob::judge(const ssh::CommandEnd& end) {
  const bool ended = end.outcome == NodeOutcome::ok || end.outcome == NodeOutcome::failed;
  if (!why_ && end.outcome == NodeOutcome::ok) conclude();
  if (!why_ && !(done_ && end.outcome == NodeOutcome::ok)) look_for_trouble();
  if (!why_ && done_ && end.outcome == NodeOutcome::ok) {
    result_->outcome = NodeOutcome::ok;
    result_->why.reset();
    return;
  }
  result_->changed = false;
  if (why_) {
    result_->outcome = why_outcome_;
    result_->why = std::move(why_);
  } else if (stopped_) {
    result_->outcome = NodeOutcome::unreachable;
    result_->why = cancelled(target_.node, true);
  } else if (!ended) {
    result_->outcome = end.outcome;
    result_->why = end.why;
  } else {
    const std::string words = one_line(stderr_, 300), said = words.empty() ? "" : ": " + words;
    result_->outcome = begun_ ? NodeOutcome::failed : NodeOutcome::refused;
    if (begun_) result_->why = error(code::copy_not_stored, who() + ": ended before it was done" + said);
    else if (rights_.become != Become::none) result_->why = error(code::sudo_refused, who() + ": sudo refused" + said);
    else result_->why = error(code::exec_not_started, who() + ": nothing was started" + said);
  }
}

void TransferJob::send(std::string bytes) {
  if (peer_ != nullptr) peer_->write(std::move(bytes));
}

void TransferJob::send_view(std::string_view bytes) {
  if (peer_ != nullptr) peer_->write_view(bytes);
}

void TransferJob::send_from(const ssh::ByteSource& source, std::uint64_t from, std::uint64_t count) {
  if (peer_ != nullptr) peer_->write_from(source, from, count);
}

void TransferJob::give_up(Diagnostic why) {
  if (!why_) why_ = std::move(why);
  if (peer_ != nullptr) peer_->abort();
}

void TransferJob::emit(const Event& event) {
  if (sink_ != nullptr) sink_->emit(event);
}

std::string TransferJob::who() const { return one_line(target_.node); }

}  // namespace kfab::fleet

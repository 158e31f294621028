#include "fleet/window.hpp"

#include <algorithm>
#include <vector>

#include "base/codes/agent.hpp"
#include "base/result.hpp"
#include "base/text.hpp"
#include "fleet/admission.hpp"
#include "fleet/pace.hpp"

namespace kfab::fleet {
namespace {

using std::chrono::milliseconds;
using Time = std::chrono::steady_clock::time_point;

constexpr milliseconds longest_drive{100};   // how soon a ^C is seen
constexpr std::chrono::seconds tick_every{1};
constexpr milliseconds show_every{250};
constexpr int drives_after_cut = 30;         // each ends at once or after longest_drive; a transport needs one or two

struct Active {
  std::size_t index;
  Time since;
  std::shared_ptr<Job> job;
};

// What stopping means, in the order in which it comes.
class Stopping {
 public:
  Stopping(const CancelToken& cancel, milliseconds grace) : cancel_(cancel), grace_(grace) {}
  bool requested() const { return requested_; }
  bool cut() const { return cut_; }

  void look(Time now, std::vector<Active>& active) {
    const int level = cancel_.level();
    if (level > 0 && !requested_) {
      requested_ = true;
      since_ = now;
      for (const auto& one : active) one.job->wind_down();
    }
    if (requested_ && !cut_ && (level > 1 || now - since_ >= grace_)) {
      cut_ = true;
      for (const auto& one : active) one.job->cut();
    }
  }

 private:
  const CancelToken& cancel_;
  milliseconds grace_;
  Time since_{};   // when it was requested
  bool requested_ = false, cut_ = false;
};

}  // namespace

Diagnostic cancelled(const std::string& node, bool started) {
  Diagnostic why = error(code::fleet_cancelled, one_line(node) + (started ? ": stopped before it was done" : ": not started: the run was stopped"));
  why.node = node;
  return why;
}

Diagnostic never_started(const FleetOptions& options, std::size_t index, const std::string& node) {
  if (options.pace != nullptr)
    if (const std::string& why = options.pace->why_not(index); !why.empty()) return held_back(node, why);
  return cancelled(node, false);
}

void Job::on_phase(ssh::Phase phase) {
  if (admission_ != nullptr) admission_->entered(index_, phase);
}
void Job::on_hung_up(int) {
  if (admission_ != nullptr) admission_->hung_up(index_);
}

namespace {

// The nodes that were not started yet, in order. Some of them may have to be passed over for a while.
class Waiting {
 public:
  explicit Waiting(std::size_t count) : count_(count) {}
  // Calls `ask` for each waiting node in order, which says: take it, leave it, or look no further.
  enum class May { take, leave, stop };
  template <class Ask>
  void each(Ask ask) {
    std::size_t kept = 0;
    bool stopped = false;
    for (const std::size_t index : passed_over_) {
      const May may = stopped ? May::leave : ask(index);
      stopped = stopped || may == May::stop;
      if (may != May::take) passed_over_[kept++] = index;
    }
    passed_over_.resize(kept);
    while (!stopped && next_ < count_ && passed_over_.size() < most_passed_over) {
      const May may = ask(next_);
      if (may == May::stop) return;
      if (may == May::leave) passed_over_.push_back(next_);
      ++next_;
    }
  }

 private:
  static constexpr std::size_t most_passed_over = 1024;
  std::size_t count_, next_ = 0;
  std::vector<std::size_t> passed_over_;
};

}  // namespace

void run_window(ssh::Transport& transport, const std::vector<ssh::Target>& targets, const std::function<std::shared_ptr<Job>(std::size_t)>& make,
                const FleetOptions& options, const Clock& clock, EventSink& sink, const CancelToken& cancel) {
  const auto answer = [&](std::size_t index) { return options.pace == nullptr ? Pace::Answer::start : options.pace->ask(index); };
  std::vector<Active> active;   // in the order of their start
  Stopping stopping(cancel, options.cancel_grace);
  Admission admission(targets, options.window);
  Waiting waiting(targets.size());
  int after_cut = 0;
  Time last_tick = clock.steady_now(), last_shown = last_tick;
  const auto start = [&](std::size_t index) {
    if (!admission.room()) return Waiting::May::stop;
    const Pace::Answer may = answer(index);
    if (may == Pace::Answer::wait) return Waiting::May::stop;
    if (may == Pace::Answer::never) return Waiting::May::take;   // it is dealt with
    if (!admission.may_start(index)) return Waiting::May::leave;
    if (options.pace != nullptr) options.pace->started(index);
    admission.started(index);
    auto job = make(index);
    job->watched_by(&admission, index);
    active.push_back({index, clock.steady_now(), job});
    job->start(transport, job);
    return Waiting::May::take;
  };
  for (;;) {
    const Time began = clock.steady_now();
    stopping.look(began, active);
    admission.look(began);
    if (!stopping.requested()) waiting.each(start);
    if (active.empty()) break;
    if (stopping.cut() && !transport.behind() && ++after_cut > drives_after_cut) break;
    transport.drive(longest_drive);
    const Time now = clock.steady_now();
    if (now - last_tick >= tick_every) {
      last_tick = now;
      for (const auto& one : active) one.job->tick(now, transport.behind());
    }
    std::erase_if(active, [&](const Active& one) {
      if (!one.job->over()) return false;
      admission.ended(one.index);
      if (options.pace != nullptr) options.pace->ended(one.index, one.job->ok());
      return true;
    });
    if (now - last_shown >= show_every) {
      last_shown = now;
      Event tick{.type = "tick"};
      if (!active.empty()) {
        tick.node = active.front().job->node();
        tick.step = active.front().job->doing();
        tick.done = std::chrono::duration<double>(now - active.front().since).count();
      }
      sink.emit(tick);
    }
  }
  for (const auto& one : active) {
    one.job->watched_by(nullptr, 0);
    one.job->detach();
  }
}

}  // namespace kfab::fleet

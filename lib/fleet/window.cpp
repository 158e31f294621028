#include "fleet/window.hpp"

#include <algorithm>
#include <vector>

#include "base/result.hpp"
#include "base/text.hpp"
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
  Diagnostic why = error(Code::fleet_cancelled, one_line(node) + (started ? ": stopped before it was done" : ": not started: the run was stopped"));
  why.node = node;
  return why;
}

Diagnostic never_started(const FleetOptions& options, std::size_t index, const std::string& node) {
  if (options.pace != nullptr)
    if (const std::string& why = options.pace->why_not(index); !why.empty()) return held_back(node, why);
  return cancelled(node, false);
}

void run_window(ssh::Transport& transport, std::size_t count, const std::function<std::shared_ptr<Job>(std::size_t)>& make,
                const FleetOptions& options, const Clock& clock, EventSink& sink, const CancelToken& cancel) {
  const auto answer = [&](std::size_t index) { return options.pace == nullptr ? Pace::Answer::start : options.pace->ask(index); };
  std::vector<Active> active;   // in the order of their start
  Stopping stopping(cancel, options.cancel_grace);
  std::size_t next = 0;
  int after_cut = 0;
  Time last_tick = clock.steady_now(), last_shown = last_tick;
  const std::size_t window = std::max<std::size_t>(options.window, 1);
  for (;;) {
    stopping.look(clock.steady_now(), active);
    for (; !stopping.requested() && active.size() < window && next < count; ++next) {
      const Pace::Answer may = answer(next);
      if (may == Pace::Answer::wait) break;
      if (may == Pace::Answer::never) continue;
      if (options.pace != nullptr) options.pace->started(next);
      auto job = make(next);
      active.push_back({next, clock.steady_now(), job});
      job->start(transport, job);
    }
    if (active.empty()) break;
    if (stopping.cut() && ++after_cut > drives_after_cut) break;
    transport.drive(longest_drive);
    const Time now = clock.steady_now();
    if (now - last_tick >= tick_every) {
      last_tick = now;
      for (const auto& one : active) one.job->tick(now);
    }
    std::erase_if(active, [&](const Active& one) {
      if (!one.job->over()) return false;
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
  for (const auto& one : active) one.job->detach();
}

}  // namespace kfab::fleet

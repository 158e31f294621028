#include "fleet/window.hpp"

#include <algorithm>
#include <vector>

#include "base/result.hpp"
#include "base/text.hpp"

namespace kfab::fleet {
namespace {

using std::chrono::milliseconds;
using Time = std::chrono::steady_clock::time_point;

constexpr milliseconds longest_drive{100};   // how soon a ^C is seen
constexpr std::chrono::seconds tick_every{1};
constexpr int drives_after_cut = 30;         // each ends at once or after longest_drive; a transport needs one or two

// What stopping means, in the order in which it comes.
class Stopping {
 public:
  Stopping(const CancelToken& cancel, milliseconds grace) : cancel_(cancel), grace_(grace) {}
  bool requested() const { return requested_; }
  bool cut() const { return cut_; }

  void look(Time now, std::vector<std::shared_ptr<Job>>& active) {
    const int level = cancel_.level();
    if (level > 0 && !requested_) {
      requested_ = true;
      since_ = now;
      for (const auto& job : active) job->wind_down();
    }
    if (requested_ && !cut_ && (level > 1 || now - since_ >= grace_)) {
      cut_ = true;
      for (const auto& job : active) job->cut();
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

void run_window(ssh::Transport& transport, std::size_t count, const std::function<std::shared_ptr<Job>(std::size_t)>& make,
                const FleetOptions& options, const Clock& clock, const CancelToken& cancel) {
  std::vector<std::shared_ptr<Job>> active;
  Stopping stopping(cancel, options.cancel_grace);
  std::size_t next = 0;
  int after_cut = 0;
  Time last_tick = clock.steady_now();
  const std::size_t window = std::max<std::size_t>(options.window, 1);
  for (;;) {
    stopping.look(clock.steady_now(), active);
    while (!stopping.requested() && active.size() < window && next < count) {
      auto job = make(next++);
      active.push_back(job);
      job->start(transport, job);
    }
    if (active.empty()) break;
    if (stopping.cut() && ++after_cut > drives_after_cut) break;
    transport.drive(longest_drive);
    if (const Time now = clock.steady_now(); now - last_tick >= tick_every) {
      last_tick = now;
      for (const auto& job : active) job->tick(now);
    }
    std::erase_if(active, [](const auto& job) { return job->over(); });
  }
  for (const auto& job : active) job->detach();
}

}  // namespace kfab::fleet

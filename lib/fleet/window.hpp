#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/cancel.hpp"
#include "base/clock.hpp"
#include "base/event.hpp"
#include "fleet/fleet.hpp"
#include "ssh/transport.hpp"

namespace kfab::fleet {

class Admission;

// One node's share of a run: it listens to its own command and says when it is over.
class Job : public ssh::CommandListener {
 public:
  // Who is told of its phases, as number `index`; whoever overrides on_phase calls this one as well.
  void watched_by(Admission* admission, std::size_t index) {
    admission_ = admission;
    index_ = index;
  }
  void on_phase(ssh::Phase) override;
  void on_hung_up(int attempt) override;

  virtual void start(ssh::Transport&, std::shared_ptr<Job> self) = 0;
  virtual bool over() const = 0;
  virtual bool ok() const = 0;                     // once over: it counts for no failure budget
  virtual const std::string& node() const = 0;     // its name
  virtual std::string_view doing() const = 0;      // the phase or step that it is in: "connect", "package:chrony"
  // About once a second. `behind`: the node may have said more than the job knows, so that its time is not up yet.
  virtual void tick(std::chrono::steady_clock::time_point, bool /*behind*/) {}
  virtual void wind_down() = 0;   // the first ^C
  virtual void cut() = 0;         // end now
  virtual void detach() = 0;      // the run is gone: what still comes is for nobody

 private:
  Admission* admission_ = nullptr;
  std::size_t index_ = 0;
};

// Takes one job per target through a window that finds its size (admission.hpp), at most options.window, in order as far
// as what the targets share allows, until all are over, the run was stopped, or options.pace lets no more start. A job
// that was never made is one that `make` was not called for. Four times a second
// the sink gets a "tick" that names the job at work for the longest time (node, step, done = its seconds), so that what
// is shown moves on while nothing happens.
void run_window(ssh::Transport&, const std::vector<ssh::Target>&, const std::function<std::shared_ptr<Job>(std::size_t)>& make,
                const FleetOptions&, const Clock&, EventSink&, const CancelToken&);

// Why a node was never started: the budget that was used up, else that the run was stopped.
Diagnostic never_started(const FleetOptions&, std::size_t index, const std::string& node);

// The diagnostic of a node that a stopped run did not finish.
Diagnostic cancelled(const std::string& node, bool started);

}  // namespace kfab::fleet

#pragma once

#include <functional>
#include <memory>

#include "base/cancel.hpp"
#include "base/clock.hpp"
#include "fleet/fleet.hpp"
#include "ssh/transport.hpp"

namespace kfab::fleet {

// One node's share of a run: it listens to its own command and says when it is over.
class Job : public ssh::CommandListener {
 public:
  virtual void start(ssh::Transport&, std::shared_ptr<Job> self) = 0;
  virtual bool over() const = 0;
  virtual void tick(std::chrono::steady_clock::time_point) {}   // about once a second
  virtual void wind_down() = 0;   // the first ^C
  virtual void cut() = 0;         // end now
  virtual void detach() = 0;      // the run is gone: what still comes is for nobody
};

// Takes `count` jobs through a window of options.window, in order, until all are over or the run was stopped. Jobs that
// were never made are those after the last index that `make` was called with.
void run_window(ssh::Transport&, std::size_t count, const std::function<std::shared_ptr<Job>(std::size_t)>& make,
                const FleetOptions&, const Clock&, const CancelToken&);

// The diagnostic of a node that a stopped run did not finish.
Diagnostic cancelled(const std::string& node, bool started);

}  // namespace kfab::fleet

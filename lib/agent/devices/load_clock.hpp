#pragma once

#include "agent/devices/device.hpp"

// The time of a load: when it begins, and how much of it was work.
namespace kfab::agent::devices {

double wall_seconds();   // since 1970, by the node's clock

// From the start that all nodes were given, or from now on.
class LoadClock {
 public:
  explicit LoadClock(double start_at) : start_(start_at > 0 ? start_at : wall_seconds()) {}
  double elapsed() const { return wall_seconds() - start_; }

 private:
  double start_;
};

// Waits for the common start. Says burnin.load.start_late_s: how late this accelerator began. False when there is to be no
// burn-in: it was asked to stop, or was ready later than load.start_tolerance_s after the start. Then the test "load" did
// not run (start_missed): who joins late does not load the room as it was asked for.
bool wait_for_start(const LoadShape&, TestSink&);

// How much of the time a burn-in worked, beside what its load asks for over the very same time.
class LoadMeter {
 public:
  explicit LoadMeter(const LoadShape& shape) : shape_(shape) {}
  // Between two readings of the load's clock it worked for so long, comparing included. What is prepared before is no part.
  void over(double from_elapsed, double to_elapsed, double worked_s);
  // Test "telemetry": burnin.load.asked_pct (percent of the time, 100 for a steady load; the detail describes the load),
  // .worked_pct and .off_pct, by how much the two differ over the same time; both null where nothing was measured.
  void report(TestSink&) const;

 private:
  const LoadShape& shape_;
  double span_s_ = 0, worked_s_ = 0, asked_s_ = 0;
};

}  // namespace kfab::agent::devices

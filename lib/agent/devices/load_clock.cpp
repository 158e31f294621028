#include "agent/devices/load_clock.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <thread>

#include <fmt/format.h>

#include "base/codes/validation.hpp"

namespace kfab::agent::devices {

double wall_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return double(now.tv_sec) + double(now.tv_nsec) * 1e-9;
}

bool wait_for_start(const LoadShape& load, TestSink& sink) {
  if (load.start_at <= 0) return true;
  const double early = load.start_at - wall_seconds();
  for (double left = early; left > 0; left = load.start_at - wall_seconds()) {
    if (sink.stop_requested()) {
      sink.test_done("load", "not_run", 0, "stopped before the common start", to_string(code::test_stopped));
      return false;
    }
    sink.progress("load", 0, left, fmt::format("starting in {:.0f} s", left));
    std::this_thread::sleep_for(std::chrono::duration<double>(std::min(left, 0.5)));
  }
  const double late = wall_seconds() - load.start_at;
  sink.measurement("load", "burnin.load.start_late_s", std::max(late, 0.0), "s",
                   early > 0 ? fmt::format("ready {:.1f} s before the common start", early) : std::string("the common start had passed when this accelerator was ready"));
  if (late <= load.start_tolerance_s) return true;
  sink.test_done("load", "not_run", 0, fmt::format("ready {:.1f} s after the common start, {:.2f} s are allowed", late, load.start_tolerance_s), to_string(code::start_missed));
  return false;
}

void LoadMeter::over(double from_elapsed, double to_elapsed, double worked_s) {
  if (!(to_elapsed > from_elapsed)) return;   // the clock was set back
  span_s_ += to_elapsed - from_elapsed;
  worked_s_ += std::min(worked_s, to_elapsed - from_elapsed);
  asked_s_ += work_until(shape_, to_elapsed) - work_until(shape_, from_elapsed);
}

void LoadMeter::report(TestSink& sink) const {
  const auto say = [&](const char* metric, std::optional<double> value, const std::string& detail) {
    sink.measurement("telemetry", metric, json::Value(value), "percent", detail);
  };
  const bool measured = span_s_ > 0;
  const double worked = measured ? 100 * worked_s_ / span_s_ : 0, asked = measured ? 100 * asked_s_ / span_s_ : 0;
  const std::string over = measured ? fmt::format("of {:.1f} s, comparisons included; the load asks for {:.1f} % of that time", span_s_, asked) : std::string("nothing was done");
  say("burnin.load.asked_pct", asked_percent(shape_), describe(shape_));
  say("burnin.load.worked_pct", measured ? std::optional(worked) : std::nullopt, over);
  say("burnin.load.off_pct", measured ? std::optional(std::abs(worked - asked)) : std::nullopt, over);
}

}  // namespace kfab::agent::devices

#include "agent/clock_task.hpp"

#include <chrono>
#include <ctime>
#include <optional>

namespace kfab::agent {
namespace {

constexpr int round_trips = 5;
constexpr double host_grain_s = 0.001;   // its clock is told in milliseconds

double wall_s() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return double(now.tv_sec) + double(now.tv_nsec) * 1e-9;
}

}  // namespace

Status run_clock_task(const json::Value&, TaskContext& context) {
  std::optional<double> offset_s, uncertainty_s;
  for (int i = 0; i < round_trips; ++i) {
    const double before = wall_s();
    const auto since = std::chrono::steady_clock::now();
    if (!context.wait_for_turn("clock")) return ok();
    const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
    const auto host = context.host_now();
    context.end_turn("clock");
    if (!host || (uncertainty_s && took / 2 + host_grain_s >= *uncertainty_s)) continue;
    offset_s = before + took / 2 - *host;
    uncertainty_s = took / 2 + host_grain_s;
  }
  context.emit(json::Object{{"type", "clock"}, {"offset_s", json::Value(offset_s)}, {"uncertainty_s", json::Value(uncertainty_s)}, {"round_trips", round_trips}});
  return ok();
}

}  // namespace kfab::agent

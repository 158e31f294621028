#include "agent/devices/load_shape.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "base/codes/validation.hpp"

using namespace kfab;
using namespace kfab::agent::devices;

namespace {

// The part of [from, to) in which it works, by walking from edge to edge.
double work_in(const LoadShape& shape, double from, double to) {
  double work = 0, at = from;
  for (int steps = 0; at < to && steps < 1'000'000; ++steps) {
    const auto now = load_at(shape, at);
    const double length = std::min(now.for_s, to - at);
    if (now.on) work += length;
    at += length;
  }
  return work / (to - from);
}

}  // namespace

TEST_CASE("steady load works all the time") {
  CHECK(load_at({}, 0).on);
  CHECK(std::isinf(load_at({}, 12345).for_s));
  CHECK(interval_at({}, 7) == "steady");
}

TEST_CASE("pulses have the period and the duty that was asked for") {
  const LoadShape shape{LoadShape::Kind::pulsed, 4, 0.25, 0};
  CHECK(load_at(shape, 0).on);
  CHECK(load_at(shape, 0.5).for_s == doctest::Approx(0.5));
  CHECK_FALSE(load_at(shape, 1.5).on);
  CHECK(load_at(shape, 1.5).for_s == doctest::Approx(2.5));
  CHECK(load_at(shape, 4.5).on);
  CHECK(interval_at(shape, 0.5) == "pulse");
  CHECK(interval_at(shape, 3) == "pause");
  CHECK(work_in(shape, 0, 40) == doctest::Approx(0.25).epsilon(0.01));
}

TEST_CASE("steps rise to all of the time") {
  const LoadShape shape{LoadShape::Kind::stepped, 8, 0.5, 0};
  const char* names[] = {"step_25", "step_50", "step_75", "step_100"};
  for (int step = 0; step < 4; ++step) {
    CHECK(interval_at(shape, step * 2 + 1.0) == names[step]);
    CHECK(work_in(shape, step * 2, step * 2 + 2) == doctest::Approx(0.25 * (step + 1)).epsilon(0.02));
  }
  CHECK(interval_at(shape, 8.5) == "step_25");   // and again
}

TEST_CASE("the work that a load asks for is what it does") {
  for (const auto& shape : {LoadShape{LoadShape::Kind::pulsed, 4, 0.25, 0}, LoadShape{LoadShape::Kind::stepped, 8, 0.5, 0}, LoadShape{}}) {
    CAPTURE(describe(shape));
    for (const double at : {0.0, 0.7, 1.0, 3.9, 8.0, 41.3})
      CHECK(work_until(shape, at) == doctest::Approx(at > 0 ? work_in(shape, 0, at) * at : 0).epsilon(0.03));
    CHECK(asked_percent(shape) == doctest::Approx(shape.kind == LoadShape::Kind::pulsed ? 25 : shape.kind == LoadShape::Kind::stepped ? 62.5 : 100));
  }
  CHECK(describe({}) == "steady");
  CHECK(describe({LoadShape::Kind::pulsed, 4, 0.25, 0}) == "pulsed: 4 s, of which 1 s work");
}

TEST_CASE("loads are read with bounds, and unknown ones refused") {
  const auto shape = read_load_shape(json::Object{{"load", "pulsed"}, {"period_s", 1e9}, {"duty", -3.0}, {"start_at", 17.5}});
  REQUIRE(shape);
  CHECK(shape->period_s == 3600);
  CHECK(shape->duty == 0.05);
  CHECK(shape->start_at == 17.5);
  CHECK(read_load_shape(json::Object{{"start_tolerance_s", 0.0}})->start_tolerance_s == 0.01);
  CHECK(read_load_shape(json::Object{})->kind == LoadShape::Kind::steady);
  CHECK(read_load_shape(json::Object{{"load", "noisy"}}).error().code == code::unknown_load);
}

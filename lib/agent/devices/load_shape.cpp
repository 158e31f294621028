#include "agent/devices/load_shape.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "base/codes/validation.hpp"
#include "base/text.hpp"

namespace kfab::agent::devices {
namespace {

struct KindRow { LoadShape::Kind kind; std::string_view word; };
constexpr KindRow kinds[] = {{LoadShape::Kind::steady, "steady"}, {LoadShape::Kind::stepped, "stepped"}, {LoadShape::Kind::pulsed, "pulsed"}};

// Of a step, in seconds: short against what power supplies and their meters average over, unless the period is long; then longer,
// for devices whose products take long.
double slice_of(double period_s) { return std::clamp(period_s / 100, 0.2, 2.0); }
constexpr int steps = 4;
constexpr std::string_view step_names[] = {"step_25", "step_50", "step_75", "step_100"};

double within(double value, double least, double most, double otherwise) { return std::isfinite(value) ? std::clamp(value, least, most) : otherwise; }

int step_of(const LoadShape& shape, double elapsed) {
  return std::clamp(int(std::fmod(elapsed, shape.period_s) / shape.period_s * steps), 0, steps - 1);
}

}  // namespace

std::string_view to_string(LoadShape::Kind kind) {
  for (const auto& row : kinds)
    if (row.kind == kind) return row.word;
  return "";
}

Result<LoadShape> read_load_shape(const json::Value& document) {
  LoadShape out;
  const std::string word = document.string_or("load", "steady");
  const auto* row = std::find_if(std::begin(kinds), std::end(kinds), [&](const auto& one) { return one.word == word; });
  if (row == std::end(kinds)) return error(code::unknown_load, "there is no load '" + one_line(word, 40) + "'");
  out.kind = row->kind;
  out.period_s = within(document.double_or("period_s", out.period_s), 0.02, 3600, out.period_s);
  out.duty = within(document.double_or("duty", out.duty), 0.05, 0.95, out.duty);
  out.start_at = within(document.double_or("start_at", 0), 0, 1e11, 0);
  out.start_tolerance_s = within(document.double_or("start_tolerance_s", out.start_tolerance_s), 0.01, 3600, out.start_tolerance_s);
  return out;
}

LoadNow load_at(const LoadShape& shape, double elapsed) {
  constexpr double least_s = 0.001;
  if (shape.kind == LoadShape::Kind::steady) return {true, std::numeric_limits<double>::infinity()};
  elapsed = std::max(elapsed, 0.0);
  double length = shape.period_s, work = shape.duty * shape.period_s, at = std::fmod(elapsed, length);
  if (shape.kind == LoadShape::Kind::stepped) {
    const int step = step_of(shape, elapsed);
    const double left = shape.period_s * (step + 1) / steps - std::fmod(elapsed, shape.period_s);
    if (step == steps - 1) return {true, std::max(left, least_s)};
    length = std::min(slice_of(shape.period_s), shape.period_s / steps);
    work = length * (step + 1) / steps;
    at = std::fmod(elapsed, length);
    return at < work ? LoadNow{true, std::max(std::min(work - at, left), least_s)} : LoadNow{false, std::max(std::min(length - at, left), least_s)};
  }
  return at < work ? LoadNow{true, std::max(work - at, least_s)} : LoadNow{false, std::max(length - at, least_s)};
}

std::string_view interval_at(const LoadShape& shape, double elapsed) {
  switch (shape.kind) {
    case LoadShape::Kind::stepped: return step_names[step_of(shape, std::max(elapsed, 0.0))];
    case LoadShape::Kind::pulsed: return load_at(shape, elapsed).on ? "pulse" : "pause";
    case LoadShape::Kind::steady: break;
  }
  return "steady";
}

double work_until(const LoadShape& shape, double elapsed) {
  elapsed = std::max(elapsed, 0.0);
  if (shape.kind == LoadShape::Kind::steady) return elapsed;
  const double whole = std::floor(elapsed / shape.period_s), rest = elapsed - whole * shape.period_s;
  if (shape.kind == LoadShape::Kind::pulsed) return (whole * shape.duty * shape.period_s) + std::min(rest, shape.duty * shape.period_s);
  const double length = shape.period_s / steps;
  double work = whole * length * (1 + 2 + 3 + 4) / steps;
  for (int step = 0; step < steps; ++step) work += std::clamp(rest - step * length, 0.0, length) * (step + 1) / steps;
  return work;
}

double asked_percent(const LoadShape& shape) { return 100 * work_until(shape, shape.period_s) / shape.period_s; }

std::string describe(const LoadShape& shape) {
  switch (shape.kind) {
    case LoadShape::Kind::stepped: return fmt::format("stepped: {} s in steps of 25, 50, 75 and 100 %", format_number(shape.period_s, 2));
    case LoadShape::Kind::pulsed:
      return fmt::format("pulsed: {} s, of which {} s work", format_number(shape.period_s, 2), format_number(shape.duty * shape.period_s, 2));
    case LoadShape::Kind::steady: break;
  }
  return "steady";
}

}  // namespace kfab::agent::devices

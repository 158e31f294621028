#pragma once

#include <string>
#include <string_view>

#include "base/result.hpp"
#include "json/value.hpp"

// How a burn-in loads its accelerator over time: all the time, in steps of rising load, or in pulses. The shape is a
// function of the wall clock, so that nodes that were given the same start load and unload a room's power together.
namespace kfab::agent::devices {

struct LoadShape {
  enum class Kind : std::uint8_t { steady, stepped, pulsed };
  Kind kind = Kind::steady;
  double period_s = 20;      // stepped: of all four steps, 25, 50, 75 and 100 % of the time; pulsed: of a pulse and its pause
  double duty = 0.5;         // pulsed: the pulse's part of the period
  double start_at = 0;       // seconds since 1970; 0: at once
  double start_tolerance_s = 1;   // who is ready later than this after the common start does not join
};
std::string_view to_string(LoadShape::Kind);

// Members "load", "period_s" (0.02 s to 1 h), "duty" (0.05 to 0.95), "start_at" and "start_tolerance_s" (0.01 s to 1 h). Errors:
// unknown_load.
Result<LoadShape> read_load_shape(const json::Value&);

// Whether it works at `elapsed` seconds after the start, and for how long that stays so (at least 1 ms). A step's load is
// made of slices that are in part work: of 0.2 s, of a hundredth of a period above 20 s, at most of 2 s.
struct LoadNow { bool on; double for_s; };
LoadNow load_at(const LoadShape&, double elapsed);

// Which interval of the shape `elapsed` lies in, for figures of each: "steady", "step_25" (per cent), "pulse", "pause"
std::string_view interval_at(const LoadShape&, double elapsed);

// Seconds of work that the shape asks for from its start to `elapsed`; of a step to within a slice.
double work_until(const LoadShape&, double elapsed);
// Its part of the time in per cent: 100 for a steady load.
double asked_percent(const LoadShape&);
// "steady", "stepped: 20 s in steps of 25, 50, 75 and 100 %", "pulsed: 4 s, of which 2 s work".
std::string describe(const LoadShape&);

}  // namespace kfab::agent::devices

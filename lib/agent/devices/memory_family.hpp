#pragma once

#include <fmt/format.h>

#include "agent/devices/findings.hpp"
#include "agent/devices/memory_patterns.hpp"

// The memory family over any device: patterns in turn while there is time, one set of metrics. A tester has words(),
// fill(step), check(step, rewrite) -> CheckState, bytes_moved(), reset_bytes_moved(), prove() (plants one fault; whether
// exactly that was found) and failure() (nullptr, or why the device cannot go on).
namespace kfab::agent::devices {

struct MemoryExtent { std::uint64_t tested, total; std::string words; };   // bytes; words for the coverage's detail

template <class Tester>
void run_memory_family(Tester& tester, const TestRequest& request, double seconds, const MemoryExtent& extent, std::string_view who,
                       TestSink& sink) {
  const std::string test = "memory";
  const Stopwatch whole;
  const bool proven = tester.prove();
  if (!tester.failure()) emit_selftest(sink, test, 1, proven);

  const auto patterns = chosen_patterns(request.patterns);
  std::uint64_t checked = 0, mismatches = 0, mask = 0;
  int done = 0;
  double busy = 0, moved = 0;
  std::vector<double> rates;
  for (const auto& pattern : patterns) {
    // The first two always, so that a short run is a run; the others while there is time.
    if (tester.failure() || sink.stop_requested() || (done >= 2 && whole.seconds() > seconds)) break;
    exact::CheckState state = exact::empty_check_state();
    const double share = seconds / double(patterns.size());
    const Stopwatch one;
    tester.reset_bytes_moved();
    std::uint64_t rounds = 0;
    for (std::uint64_t round = 0; round < pattern.rounds && !tester.failure(); ++round) {
      if (sink.stop_requested() || (round > 0 && one.seconds() > share)) break;
      run_pattern(pattern, round, tester, [&](const exact::CheckState& part) {
        const auto before = state.recorded;
        state.checked += part.checked;
        state.mismatches += part.mismatches;
        state.mask |= part.mask;
        for (std::uint64_t i = 0; i < std::min<std::uint64_t>(part.recorded, exact::max_records); ++i)
          if (before + i < exact::max_records) state.records[before + i] = part.records[i];
        state.recorded = std::min<std::uint64_t>(before + part.recorded, exact::max_records);
        sink.progress(test, done, double(patterns.size()), fmt::format("pattern {}, round {}", pattern.name, round + 1));   // also a sign of life
      });
      ++rounds;
    }
    const double took = one.seconds();
    busy += took;
    moved += double(tester.bytes_moved());
    if (took > 0) rates.push_back(double(tester.bytes_moved()) / took * 1e-9);
    checked += state.checked;
    mismatches += state.mismatches;
    mask |= state.mask;
    const bool complete = rounds > 0 && !tester.failure() && state.checked >= tester.words();
    sink.measurement(test, fmt::format("memory.{}.errors", pattern.name), complete ? json::Value(double(state.mismatches)) : json::Value(), "count",
                     fmt::format("{} of {} rounds over {} MiB, {} words compared", rounds, pattern.rounds, extent.tested >> 20, state.checked));
    emit_mismatches(sink, test, state, 8, [&](std::uint64_t index) { return fmt::format("pattern {}, byte {} of {}", pattern.name, index * 8, extent.tested); });
    if (complete) ++done;
    sink.progress(test, done, double(patterns.size()), fmt::format("pattern {}", pattern.name));
  }
  sink.measurement(test, "memory.errors", done ? json::Value(double(mismatches)) : json::Value(), "count",
                   fmt::format("{} patterns, {} words compared, wrong bits {}", done, checked, hex_word(mask)));
  sink.measurement(test, "memory.patterns", double(done), "count", fmt::format("of {} asked for", patterns.size()));
  sink.measurement(test, "memory.coverage_pct", extent.total && done ? json::Value(100.0 * double(extent.tested) / double(extent.total)) : json::Value(),
                   "percent", extent.words);
  sink.measurement(test, "memory.gbps", busy > 0 && done ? json::Value(moved / busy * 1e-9) : json::Value(), "gbps",
                   fmt::format("bytes read and written by {}; {}", who, describe_samples(rates)));
  if (const Diagnostic* why = tester.failure()) {
    const bool broken = why->code == Code::accelerator_lost || why->code == Code::device_call_failed;
    return sink.test_done(test, broken ? "failed" : "not_run", whole.seconds(), why->message, to_string(why->code));
  }
  if (!proven) return sink.test_done(test, "failed", whole.seconds(), "the checker missed a planted fault", to_string(Code::checker_not_proven));
  if (done == 0) return sink.test_done(test, "not_run", whole.seconds(), "stopped before the first pattern was done", to_string(Code::test_stopped));
  sink.test_done(test, "ran", whole.seconds());
}

}  // namespace kfab::agent::devices

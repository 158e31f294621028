#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/kernels/exact.hpp"

// The classic memory tests as one table, for both devices: which words are written, and in which order they are compared
// and overwritten.
namespace kfab::agent::devices {

struct PatternStep {
  int pattern = exact::solid;
  std::uint64_t parameter = 0;
  std::uint64_t flip = 0;            // XORed to every word
};

struct MemoryPattern {
  std::string_view name;             // "walking_ones": metric memory.walking_ones.errors
  int pattern;
  std::uint64_t rounds;              // with a parameter that changes from one to the next
  bool inversions;                   // write p, compare p and write ~p, compare ~p and write p, compare p
};

inline constexpr MemoryPattern all_memory_patterns[] = {
    {"own_address", exact::own_address, 1, true},       {"moving_inversions", exact::solid, 4, true},
    {"walking_ones", exact::walking_one, 64, false},    {"walking_zeros", exact::walking_zero, 64, false},
    {"random", exact::random_words, 8, true},           {"modulo_20", exact::modulo_20, 20, false},
};

// Those named, or all when none is; unknown names are left out.
inline std::vector<MemoryPattern> chosen_patterns(const std::vector<std::string>& names) {
  std::vector<MemoryPattern> out;
  for (const auto& row : all_memory_patterns) {
    bool wanted = names.empty();
    for (const auto& name : names) wanted |= name == row.name;
    if (wanted) out.push_back(row);
  }
  return out;
}

inline PatternStep step_of(const MemoryPattern& row, std::uint64_t round) {
  constexpr std::uint64_t solids[] = {0, 0xaaaaaaaaaaaaaaaaull, 0x00ff00ff00ff00ffull, 0x3333333333333333ull};
  switch (row.pattern) {
    case exact::solid: return {row.pattern, solids[round % 4], 0};
    case exact::walking_one:
    case exact::walking_zero: return {row.pattern, round * 37 % 64, 0};   // the first rounds already far apart
    case exact::modulo_20: return {row.pattern, round * 7 % 20, 0};
    default: return {row.pattern, round * 0x9e3779b97f4a7c15ull, 0};
  }
}

// One round. The tester has fill(step) and check(step, rewrite) -> CheckState; `found` gets each check's state.
template <class Tester, class Found>
void run_pattern(const MemoryPattern& row, std::uint64_t round, Tester& tester, Found&& found) {
  PatternStep step = step_of(row, round);
  tester.fill(step);
  if (!row.inversions) return found(tester.check(step, false));
  found(tester.check(step, true));
  step.flip = ~step.flip;
  found(tester.check(step, true));
  step.flip = ~step.flip;
  found(tester.check(step, false));
}

}  // namespace kfab::agent::devices

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

// How one round goes. inversions: write p, compare p and write ~p, compare ~p and write p, compare p. moves: write, move
// blocks about, compare where they lie now. fade: write, wait, compare.
enum class Course : std::uint8_t { once, inversions, moves, fade };

struct MemoryPattern {
  std::string_view name;             // "walking_ones": metric memory.walking_ones.errors
  int pattern;
  std::uint64_t rounds;              // with a parameter that changes from one to the next
  Course course;
  std::uint64_t (*parameter)(std::uint64_t round);
};

// Those first that find most in little time. The wait of bit_fade is its share of the time.
inline constexpr MemoryPattern all_memory_patterns[] = {
    {"own_address", exact::own_address, 1, Course::inversions, [](std::uint64_t) { return std::uint64_t{0}; }},
    {"moving_inversions", exact::solid, 4, Course::inversions,
     [](std::uint64_t round) {
       constexpr std::uint64_t words[] = {0, 0xaaaaaaaaaaaaaaaaull, 0x00ff00ff00ff00ffull, 0x3333333333333333ull};
       return words[round % 4];
     }},
    {"moving_inversions_8bit", exact::solid, 8, Course::inversions, [](std::uint64_t round) { return std::uint64_t{0x0101010101010101} << round % 8; }},
    {"moving_inversions_32bit", exact::shifted_32, 32, Course::inversions, [](std::uint64_t round) { return round * 13 % 32; }},
    {"moving_inversions_random", exact::solid, 8, Course::inversions, [](std::uint64_t round) { return exact::mix64(round + 0x51ed2701); }},
    {"walking_ones", exact::walking_one, 64, Course::once, [](std::uint64_t round) { return round * 37 % 64; }},   // the first rounds far apart
    {"walking_zeros", exact::walking_zero, 64, Course::once, [](std::uint64_t round) { return round * 37 % 64; }},
    {"random", exact::random_words, 8, Course::inversions, [](std::uint64_t round) { return std::uint64_t{round * 0x9e3779b97f4a7c15ull}; }},
    {"modulo_20", exact::modulo_20, 20, Course::once, [](std::uint64_t round) { return round * 7 % 20; }},
    {"block_move", exact::random_words, 8, Course::moves, [](std::uint64_t round) { return exact::mix64(round + 0x6d0e5); }},
    {"bit_fade", exact::solid, 2, Course::fade, [](std::uint64_t round) { return round ? std::uint64_t{0} : ~std::uint64_t{0}; }},
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
  PatternStep step{row.pattern, row.parameter(round), 0};
  if (row.course == Course::moves && round % 2) step.flip = ~step.flip;
  return step;
}

// One round. The tester has fill(step), move(step) -> PatternStep (moves blocks about; what is there then) and
// check(step, rewrite) -> CheckState; `found` gets each check's state; `wait` passes the time that a fade takes.
template <class Tester, class Found, class Wait>
void run_pattern(const MemoryPattern& row, std::uint64_t round, Tester& tester, Found&& found, Wait&& wait) {
  PatternStep step = step_of(row, round);
  tester.fill(step);
  switch (row.course) {
    case Course::once: return found(tester.check(step, false));
    case Course::fade: wait(); return found(tester.check(step, false));
    case Course::moves: return found(tester.check(tester.move(step), false));
    case Course::inversions: break;
  }
  found(tester.check(step, true));
  step.flip = ~step.flip;
  found(tester.check(step, true));
  step.flip = ~step.flip;
  found(tester.check(step, false));
}

}  // namespace kfab::agent::devices

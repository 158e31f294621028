#pragma once

#include <cstdint>

namespace kfab {

// Numbers that look random and follow from a seed alone, so that what a seed has shown can be shown again: the places of
// planted faults, cases of tests. SplitMix64 by Steele, Lea and Flood (OOPSLA 2014). Not for secrets.
class SeededRandom {
 public:
  explicit SeededRandom(std::uint64_t seed) : state_(seed) {}
  std::uint64_t operator()() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
  }
  // From 0 to below `limit`, which is not 0. Slightly uneven for limits that are no power of two: by less than limit / 2^64.
  std::uint64_t below(std::uint64_t limit) { return (*this)() % limit; }

 private:
  std::uint64_t state_;
};

}  // namespace kfab

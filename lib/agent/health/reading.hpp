#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "json/value.hpp"

namespace kfab::agent::health {

// One counter or state as it was read. Without a value `detail` says why; with one it may say what it is made of.
struct Reading {
  std::string name;                    // "ecc_volatile_uncorrected"
  std::optional<std::uint64_t> value;
  std::string detail;
  std::string unit = "count";
};
using Readings = std::vector<Reading>;

json::Value to_json(const Readings&);
Readings readings_from_json(const json::Value&);   // what is malformed is left out; at most 256

// What a counter did between two readings.
struct Movement {
  std::string name;
  std::optional<std::uint64_t> moved;  // absent: one of the readings has no value, or it went back
  bool went_back = false;              // it was reset in between
  bool vanished = false;               // it was read before, and could not be after
  std::string detail;                  // why `moved` is absent; else the later reading's own
};
// One for each counter of `after`, in its order. One that `before` lacks was not read then.
std::vector<Movement> movements(const Readings& before, const Readings& after);

// Whether movements() finds a movement that is put into a copy of these readings at a place chosen by `seed`, and
// nothing else. False when there is nothing to put it into.
bool finds_planted_movement(const Readings&, std::uint64_t seed);

}  // namespace kfab::agent::health

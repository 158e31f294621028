#include "agent/health/reading.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/random.hpp"
#include "base/text.hpp"

namespace kfab::agent::health {
namespace {

constexpr std::size_t most_readings = 256;

}  // namespace

json::Value to_json(const Readings& readings) {
  json::Array out;
  for (const auto& one : readings)
    out.push_back(json::Object{{"name", one.name}, {"value", one.value}, {"detail", one.detail}, {"unit", one.unit}});
  return out;
}

Readings readings_from_json(const json::Value& document) {
  Readings out;
  const auto* list = document.as_array();
  if (list == nullptr) return out;
  for (const auto& item : *list) {
    if (out.size() >= most_readings) break;
    Reading one{one_line(item.string_or("name"), 60), item["value"].as_uint(), one_line(item.string_or("detail"), 300), one_line(item.string_or("unit", "count"), 20)};
    if (!one.name.empty()) out.push_back(std::move(one));
  }
  return out;
}

std::vector<Movement> movements(const Readings& before, const Readings& after) {
  std::vector<Movement> out;
  for (const auto& now : after) {
    Movement one{now.name, std::nullopt, false, false, now.detail};
    const auto then = std::find_if(before.begin(), before.end(), [&](const Reading& r) { return r.name == now.name; });
    if (!now.value) {
      one.vanished = then != before.end() && then->value;
      if (one.vanished) one.detail = "it could be read before and not after: " + now.detail;
    } else if (then == before.end() || !then->value) {
      one.detail = then == before.end() || then->detail.empty() ? "it was not read before" : "it was not read before: " + then->detail;
    } else if (*now.value < *then->value) {
      one.went_back = true;
      one.detail = fmt::format("it went back from {} to {}: the accelerator or its driver was reset in between", *then->value, *now.value);
    } else {
      one.moved = *now.value - *then->value;
    }
    out.push_back(std::move(one));
  }
  return out;
}

bool finds_planted_movement(const Readings& readings, std::uint64_t seed) {
  std::vector<std::size_t> known;
  for (std::size_t i = 0; i < readings.size(); ++i)
    if (readings[i].value) known.push_back(i);
  if (known.empty()) return false;
  SeededRandom random(seed);
  Readings planted = readings;
  const std::size_t place = known[random.below(known.size())];
  const std::uint64_t step = 1 + random.below(1000);
  // A counter at its very end would wrap: that one goes back instead, which must be told as well.
  const bool up = *planted[place].value <= UINT64_MAX - step;
  planted[place].value = up ? *planted[place].value + step : *planted[place].value - step;
  for (const auto& one : movements(readings, planted)) {
    const bool is_place = one.name == planted[place].name;
    if (is_place && (up ? one.moved != step : !one.went_back)) return false;
    if (!is_place && (one.went_back || one.moved.value_or(0) != 0)) return false;
  }
  return true;
}

}  // namespace kfab::agent::health

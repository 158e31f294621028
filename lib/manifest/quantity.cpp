#include "manifest/quantity.hpp"

#include <array>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "base/text.hpp"

namespace kfab::manifest {
namespace {

constexpr double gib = 1073741824.0;
constexpr std::array power_units{Unit{"W", 1e-3}, Unit{"kW", 1}, Unit{"MW", 1e3}, Unit{"GW", 1e6}};
constexpr std::array percent_units{Unit{"%", 1}};
constexpr std::array fraction_units{Unit{"%", 0.01}};
constexpr std::array memory_units{Unit{"MiB", 1.0 / 1024}, Unit{"GiB", 1},        Unit{"TiB", 1024},
                                  Unit{"MB", 1e6 / gib},   Unit{"GB", 1e9 / gib}, Unit{"TB", 1e12 / gib}};
constexpr std::array bandwidth_units{Unit{"kbit/s", 1e-3}, Unit{"Mbit/s", 1}, Unit{"Gbit/s", 1e3}};
constexpr std::array age_units{Unit{"h", 1.0 / 24}, Unit{"d", 1}};

bool in_number(char c) { return (c >= '0' && c <= '9') || c == '.' || c == '+' || c == '-'; }

}  // namespace

const Quantity power_kw{"a power", "41 MW", power_units};
const Quantity percent{"a percentage", "98 %", percent_units};
const Quantity fraction{"a percentage", "10 %", fraction_units};
const Quantity memory_gib{"an amount of memory", "141 GB", memory_units};
const Quantity bandwidth_mbps{"a bandwidth", "100 Mbit/s", bandwidth_units};
const Quantity age_days{"an age", "30 d", age_units};

std::string unit_names(const Quantity& quantity) {
  std::string out;
  for (std::size_t i = 0; i < quantity.units.size(); ++i)
    out += fmt::format("{}{}", i == 0 ? "" : i + 1 == quantity.units.size() ? " or " : ", ", quantity.units[i].name);
  return out;
}

std::optional<double> read_number(std::string_view text) {
  if (text.empty() || text.find_first_not_of("0123456789+-.eE") != std::string_view::npos) return std::nullopt;
  if (text.front() == '+') text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<long long> read_whole(std::string_view text) {
  long long value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  const std::string_view digits = text.front() == '-' ? text.substr(1) : text;
  if (digits.size() > 1 && digits.front() == '0') return std::nullopt;
  return value;
}

QuantityRead read_quantity(std::string_view text, const Quantity& quantity) {
  QuantityRead out;
  text = trim(text);
  std::size_t end = 0;
  while (end < text.size() && in_number(text[end])) ++end;
  const std::string_view digits = text.substr(0, end);
  const std::string_view unit = trim(text.substr(end));
  const auto number = read_number(digits);
  if (!number) {
    out.found = fmt::format("the string '{}'", one_line(text, 40));
    return out;
  }
  for (const Unit& one : quantity.units)
    if (one.name == unit) {
      out.value = *number * one.factor;
      return out;
    }
  out.wrong_unit = true;
  out.found = unit.empty() ? std::string("no unit") : fmt::format("the unit '{}'", one_line(unit, 20));
  for (const Unit& one : quantity.units)
    if ((unit.empty() && quantity.units.size() == 1) || (!unit.empty() && to_lower(one.name) == to_lower(unit)))
      out.suggestions.push_back(fmt::format("{} {}", digits, one.name));
  return out;
}

}  // namespace kfab::manifest

#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kfab::manifest {

// One unit of a kind of quantity, and what a number in it has to be multiplied by to be in the model's unit.
struct Unit {
  std::string_view name;
  double factor;
};

// A kind of quantity: the units that a manifest may write, of which the model holds one.
struct Quantity {
  std::string_view what;         // "a power"
  std::string_view example;      // "41 MW"
  std::span<const Unit> units;
};
extern const Quantity power_kw;          // W kW MW GW -> kW
extern const Quantity percent;           // % -> per cent
extern const Quantity fraction;          // % -> fraction of one
extern const Quantity memory_gib;        // MiB GiB TiB MB GB TB -> GiB
extern const Quantity bandwidth_mbps;    // kbit/s Mbit/s Gbit/s -> Mbit/s
extern const Quantity age_days;          // h d -> days

// What came of reading a text: a value, or why there is none. `wrong_unit` tells the two kinds of trouble apart.
struct QuantityRead {
  std::optional<double> value;
  bool wrong_unit = false;
  std::string found;                       // "the unit 'mw'", "no unit", "the string 'x'"
  std::vector<std::string> suggestions;    // the whole text, corrected
};
QuantityRead read_quantity(std::string_view text, const Quantity&);

// "W, kW, MW or GW".
std::string unit_names(const Quantity&);

// A decimal number, the whole text; nothing for hexadecimal, infinity, NaN and separators.
std::optional<double> read_number(std::string_view text);
// A whole number, the whole text; a leading zero is none, for nobody knows whether it means octal.
std::optional<long long> read_whole(std::string_view text);

}  // namespace kfab::manifest

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

// The numbers inside node names. 7, 07 and 007 are different names, so a number is its digit string; it is kept as
// its rank among all digit strings of 1 to 18 digits, ordered by length and then by value. Ranks of one length are
// consecutive, and comparing ranks is comparing in the order in which names are listed.
namespace kfab::nodeset {

using Rank = std::uint64_t;

inline constexpr std::size_t max_width = 18;

namespace detail {
constexpr auto make_powers() {
  std::array<std::uint64_t, max_width + 2> powers{1};
  for (std::size_t i = 1; i < powers.size(); ++i) powers[i] = powers[i - 1] * 10;
  return powers;
}
inline constexpr auto powers = make_powers();
// bases[w] is the rank of the first string of w digits; bases[19] is past the last rank.
constexpr auto make_bases() {
  std::array<std::uint64_t, max_width + 2> bases{};
  for (std::size_t w = 1; w <= max_width; ++w) bases[w + 1] = bases[w] + powers[w];
  return bases;
}
inline constexpr auto bases = make_bases();
}  // namespace detail

struct Number {
  std::uint64_t value = 0;
  std::size_t width = 1;   // digits, leading zeros included; 1 to 18
};

constexpr Rank rank_of(Number n) { return detail::bases[n.width] + n.value; }

constexpr Number number_of(Rank rank) {
  std::size_t width = 1;
  while (rank >= detail::bases[width + 1]) ++width;
  return {rank - detail::bases[width], width};
}

constexpr std::size_t digits_of(std::uint64_t value) {
  std::size_t digits = 1;
  while (digits <= max_width && value >= detail::powers[digits]) ++digits;
  return digits;
}

constexpr bool is_padded(Number n) { return n.width > 1 && n.value < detail::powers[n.width - 1]; }

// `digits` must be 1 to 18 decimal digits.
constexpr Number read_number(std::string_view digits) {
  Number n{0, digits.size()};
  for (const char c : digits) n.value = n.value * 10 + static_cast<std::uint64_t>(c - '0');
  return n;
}

inline void append_number(std::string& out, Number n) {
  std::array<char, max_width> text{};
  std::uint64_t left = n.value;
  for (std::size_t i = n.width; i > 0; --i, left /= 10) text[i - 1] = static_cast<char>('0' + left % 10);
  out.append(text.data(), n.width);
}

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace kfab::nodeset

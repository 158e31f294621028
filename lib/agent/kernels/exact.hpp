#pragma once

// The arithmetic whose right answers are known beforehand, in one header for host (C++20) and kernels (C++17).
//
// Operands are small integers of rank 4: A(i,k) = sum over r of a(r,i) p(r,k), B(j,k) = sum over s of b(s,j) q(s,k), with
// pseudo-random coefficients, so they differ in every place; the product's element is then
//   C(i,j) = sum over s of ( sum over r of a(r,i) G(r,s) ) b(s,j),   G(r,s) = sum over k of p(r,k) q(s,k)
// and costs a few multiplications, without a second matrix product, a second machine or a stored reference. K and the
// ranges keep the sum of all |A B| within what the accumulator holds exactly, so that neither order nor rounding
// matters: any device, any tiling, any number of threads must give these bits.

#include <cstdint>

#if defined(__CUDACC__)
#define KFAB_HD __host__ __device__ __forceinline__
#else
#define KFAB_HD inline
#endif

namespace kfab::exact {

enum Precision : int { fp32, fp64, fp16, bf16, tf32, int8, fp8, fp8_e5m2, fp4, precision_count };   // fp8: e4m3, fp4: e2m1

constexpr int rank = 4;

// |a|, |b| <= coefficient, |p|, |q| <= basis, so |A|, |B| <= rank * coefficient * basis; `exact_bits`: integers up to
// 2^exact_bits are exact in the accumulator. fp32 results of tensor cores are held to 2^22: they align products to the
// largest and cut off what is below, with 24 bits or a few more. fp8 and fp4 are summed in chunks of `chunk_k` into
// registers of fp32, because the accumulator keeps about 14 bits there.
struct Shape {
  const char* name;
  int coefficient, basis;
  int max_k;
  int chunk_k;             // 0: one accumulator over all of K
  int exact_bits;
  int operand_width;       // bits
  int result_bytes;
  bool integer_result;
};
constexpr Shape shapes[precision_count] = {
    {"fp32", 5, 3, 4096, 0, 24, 32, 4, false},    {"fp64", 500, 500, 4096, 0, 53, 64, 8, false},
    {"fp16", 3, 2, 4096, 0, 22, 16, 4, false},    {"bf16", 3, 2, 4096, 0, 22, 16, 4, false},
    {"tf32", 3, 2, 4096, 0, 22, 32, 4, false},    {"int8", 5, 6, 16384, 0, 31, 8, 4, true},
    {"fp8", 2, 1, 16384, 64, 22, 8, 4, false},    {"fp8_e5m2", 2, 1, 16384, 64, 22, 8, 4, false},
    {"fp4", 1, 1, 16384, 128, 22, 4, 4, false},
};
constexpr std::int64_t largest_operand(const Shape& s) { return std::int64_t{rank} * s.coefficient * s.basis; }
// The largest possible sum of |A B| over `k` elements.
constexpr std::int64_t largest_sum(const Shape& s, int k) { return largest_operand(s) * largest_operand(s) * k; }

KFAB_HD std::uint64_t mix64(std::uint64_t x) {   // a finaliser: every input bit reaches every output bit
  x ^= x >> 32;
  x *= 0xd6e8feb86659fd93ull;
  x ^= x >> 32;
  x *= 0xd6e8feb86659fd93ull;
  x ^= x >> 32;
  return x;
}

// Which of the four families of coefficients.
enum Stream : int { row_coefficient, column_coefficient, row_basis, column_basis };

// A whole number in [-range, range], the same everywhere for the same arguments.
KFAB_HD int draw(std::uint32_t seed, int stream, int r, std::uint32_t index, int range) {
  const std::uint64_t h = mix64((std::uint64_t{seed} << 40) ^ (std::uint64_t(stream * rank + r) << 33) ^ index);
  return int((h >> 20) % std::uint64_t(2 * range + 1)) - range;
}
KFAB_HD int row_value(std::uint32_t seed, int coefficient, int basis, std::uint32_t i, std::uint32_t k) {   // A(i,k)
  int sum = 0;
  for (int r = 0; r < rank; ++r) sum += draw(seed, row_coefficient, r, i, coefficient) * draw(seed, row_basis, r, k, basis);
  return sum;
}
KFAB_HD int column_value(std::uint32_t seed, int coefficient, int basis, std::uint32_t j, std::uint32_t k) {   // B(j,k)
  int sum = 0;
  for (int s = 0; s < rank; ++s)
    sum += draw(seed, column_coefficient, s, j, coefficient) * draw(seed, column_basis, s, k, basis);
  return sum;
}

struct Gram { std::int64_t g[rank][rank]; };
inline Gram gram(std::uint32_t seed, int basis, int k) {
  Gram out{};
  for (int kk = 0; kk < k; ++kk) {
    int p[rank], q[rank];
    for (int r = 0; r < rank; ++r) {
      p[r] = draw(seed, row_basis, r, std::uint32_t(kk), basis);
      q[r] = draw(seed, column_basis, r, std::uint32_t(kk), basis);
    }
    for (int r = 0; r < rank; ++r)
      for (int s = 0; s < rank; ++s) out.g[r][s] += std::int64_t{p[r]} * q[s];
  }
  return out;
}

// The row's part of the answer: w(s,i) = sum over r of a(r,i) G(r,s).
inline void row_weights(std::uint32_t seed, const Gram& gram, int coefficient, std::uint32_t i, std::int64_t (&w)[rank]) {
  for (int s = 0; s < rank; ++s) w[s] = 0;
  for (int r = 0; r < rank; ++r) {
    const std::int64_t a = draw(seed, row_coefficient, r, i, coefficient);
    for (int s = 0; s < rank; ++s) w[s] += a * gram.g[r][s];
  }
}
inline std::int64_t expected_value(std::uint32_t seed, const Gram& gram, int coefficient, std::uint32_t i, std::uint32_t j) {
  std::int64_t w[rank], sum = 0;
  row_weights(seed, gram, coefficient, i, w);
  for (int s = 0; s < rank; ++s) sum += w[s] * draw(seed, column_coefficient, s, j, coefficient);
  return sum;
}

// The bits of a whole number in a binary floating-point format. The caller keeps the value within what is exact there.
KFAB_HD std::uint64_t float_bits(std::int64_t value, int exponent_bits, int mantissa_bits) {
  const std::uint64_t sign = value < 0 ? std::uint64_t{1} << (exponent_bits + mantissa_bits) : 0;
  std::uint64_t magnitude = std::uint64_t(value < 0 ? -value : value);
  if (magnitude == 0) return 0;   // +0: a sum that cancels is +0 in round-to-nearest
  int top = 0;
  while ((magnitude >> top) > 1) ++top;
  const std::uint64_t bias = (std::uint64_t{1} << (exponent_bits - 1)) - 1;
  const std::uint64_t fraction = magnitude ^ (std::uint64_t{1} << top);
  const std::uint64_t mantissa = top <= mantissa_bits ? fraction << (mantissa_bits - top) : fraction >> (top - mantissa_bits);
  return sign | ((bias + std::uint64_t(top)) << mantissa_bits) | mantissa;
}
struct Format { int exponent_bits, mantissa_bits; };
KFAB_HD constexpr Format format_of(int precision) {
  switch (precision) {
    case fp16: return {5, 10};
    case bf16: return {8, 7};
    case fp8: return {4, 3};
    case fp8_e5m2: return {5, 2};
    case fp4: return {2, 1};
    case fp64: return {11, 52};
    default: return {8, 23};   // fp32, and tf32 in its 32 bits
  }
}
KFAB_HD std::uint64_t operand_bits(int precision, int value) {
  if (precision == int8) return std::uint64_t(value) & 0xff;
  const Format format = format_of(precision);
  return float_bits(value, format.exponent_bits, format.mantissa_bits);
}
// An operand of the other kind of data: sign and all mantissa bits random, the exponent one of four below 1, so that
// nothing overflows and every bit of the multipliers toggles. int8 and fp4 take any value. tf32 has its ten bits of mantissa
// and zeros below, so that hardware that rounds and hardware that cuts off see the same number.
KFAB_HD std::uint64_t random_operand(int precision, std::uint32_t seed, int columns, std::uint32_t row, std::uint32_t k) {
  const std::uint64_t h = mix64(mix64((std::uint64_t{seed} << 32) ^ std::uint64_t(columns + 1)) ^ ((std::uint64_t{row} << 32) | k));
  if (precision == int8) return h >> 56;
  if (precision == fp4) return h >> 60;
  const Format format = format_of(precision);
  const std::uint64_t bias = (std::uint64_t{1} << (format.exponent_bits - 1)) - 1;
  const std::uint64_t exponent = bias - 1 - ((h >> 60) & 3);
  std::uint64_t mantissa = (h & ((std::uint64_t{1} << 52) - 1)) >> (52 - format.mantissa_bits);
  if (precision == tf32) mantissa &= ~std::uint64_t{0x1fff};
  return (h >> 63) << (format.exponent_bits + format.mantissa_bits) | exponent << format.mantissa_bits | mantissa;
}
KFAB_HD std::uint64_t result_bits(int precision, std::int64_t value) {
  switch (precision) {
    case int8: return std::uint64_t(value) & 0xffffffffull;
    case fp64: return float_bits(value, 11, 52);
    default: return float_bits(value, 8, 23);
  }
}

// A sum over all elements of a slice in which each element's place counts, modulo 2^64: the same on every device.
KFAB_HD std::uint64_t digest_term(std::uint64_t index, std::uint64_t bits) { return (bits + 1) * (2 * index + 1); }

// A digest in 52 bits, so that a number in JSON holds it whole.
KFAB_HD std::uint64_t folded_digest(std::uint64_t digest) { return mix64(digest) >> 12; }

// --- memory patterns, in words of 64 bits ---
enum Pattern : int {
  solid,          // parameter everywhere
  walking_one,    // one bit, which moves with the word and with the parameter
  walking_zero,   // its complement
  own_address,    // the word's own place
  random_words,   // pseudo-random, seeded by the parameter
  modulo_20,      // parameter & 31 says which of 20 places holds ones, the others hold zeros
  shifted_32,     // one bit in every 32, which moves from one half word to the next
  moved_blocks,   // random_words after move_forth and move_back below
  pattern_count
};

// Block moves work in windows: the lower half goes to the upper one, one block of 64 bytes further, and comes back two
// blocks further, each time around. So lines travel over half a megabyte, through other channels and banks.
constexpr std::uint64_t window_words = std::uint64_t{1} << 17, half_words = window_words / 2, block_words = 8;
KFAB_HD std::uint64_t moved_forth(std::uint64_t in_half) { return (in_half + block_words) % half_words; }
KFAB_HD std::uint64_t moved_back(std::uint64_t in_half) { return (in_half + 2 * block_words) % half_words; }
// Where the word that lies at `index` after both moves was written.
KFAB_HD std::uint64_t moved_from(std::uint64_t index) {
  const std::uint64_t in_window = index % window_words, in_half = in_window % half_words;
  const std::uint64_t blocks = in_window < half_words ? 3 : 1;
  return index - in_window + (in_half + half_words - blocks * block_words) % half_words;
}

// index % 20 in 32 bits, which GPUs divide several times faster: 2^32 leaves 1 when divided by 5.
KFAB_HD std::uint32_t place_of_20(std::uint64_t index) {
  const std::uint64_t fours = index >> 2;
  const std::uint32_t place = (std::uint32_t(fours) % 5 + std::uint32_t(fours >> 32) % 5) % 5;
  return place * 4 + std::uint32_t(index & 3);
}

// Two neighbours share one mixing, so that 16 bytes cost three multiplications of 64 bits: a GPU has time for little more while
// its memory delivers them. The second is the first turned around, with other bits flipped.
KFAB_HD std::uint64_t random_even(std::uint64_t index, std::uint64_t parameter) { return mix64((index >> 1) * 0x9e3779b97f4a7c15ull + parameter); }
KFAB_HD std::uint64_t random_odd(std::uint64_t even) { return (even << 23 | even >> 41) ^ 0xc2b2ae3d27d4eb4full; }
KFAB_HD std::uint64_t random_word(std::uint64_t index, std::uint64_t parameter) {
  const std::uint64_t even = random_even(index, parameter);
  return index & 1 ? random_odd(even) : even;
}

KFAB_HD std::uint64_t pattern_word(int pattern, std::uint64_t index, std::uint64_t parameter) {
  switch (pattern) {
    case solid: return parameter;
    case walking_one: return std::uint64_t{1} << ((index + parameter) & 63);
    case walking_zero: return ~(std::uint64_t{1} << ((index + parameter) & 63));
    case own_address: return (index * 8) ^ parameter;
    case random_words: return random_word(index, parameter);
    case shifted_32:
      return std::uint64_t{1} << ((2 * index + parameter) & 31) | std::uint64_t{1} << (32 + ((2 * index + 1 + parameter) & 31));
    case moved_blocks: return random_word(moved_from(index), parameter);
    default: return place_of_20(index) == (parameter & 31) ? ~std::uint64_t{0} : 0;
  }
}
// The words at an even index and at the next one; what both need is worked out once.
struct Pair { std::uint64_t first, second; };
KFAB_HD Pair pattern_pair(int pattern, std::uint64_t index, std::uint64_t parameter) {
  if (pattern == random_words || pattern == moved_blocks) {   // what lies in pairs moves in pairs
    const std::uint64_t even = random_even(pattern == random_words ? index : moved_from(index), parameter);
    return {even, random_odd(even)};
  }
  if (pattern == modulo_20) {   // an even place is not the last of the twenty
    const std::uint32_t place = place_of_20(index), marked = std::uint32_t(parameter & 31);
    return {place == marked ? ~std::uint64_t{0} : 0, place + 1 == marked ? ~std::uint64_t{0} : 0};
  }
  return {pattern_word(pattern, index, parameter), pattern_word(pattern, index + 1, parameter)};
}

// What copies carry: cheap, different in every word, and not periodic within any buffer.
KFAB_HD std::uint64_t copy_word(std::uint64_t index, std::uint64_t seed) {
  return (index + seed) * 0x9e3779b97f4a7c15ull;
}

// --- what a checking kernel leaves behind: all counters have 64 bits ---
constexpr int max_records = 32;
struct Record { std::uint64_t index, expected, got, second_read; };
struct CheckState {
  std::uint64_t checked;       // elements compared
  std::uint64_t mismatches;
  std::uint64_t digest;        // of what was read
  std::uint64_t mask;          // bits that were wrong anywhere
  std::uint64_t first, last;   // places of wrong elements
  std::uint64_t recorded;      // may exceed max_records
  std::uint64_t unused;
  Record records[max_records];
};
constexpr CheckState empty_check_state() {
  CheckState state{};
  state.first = ~std::uint64_t{0};
  return state;
}

}  // namespace kfab::exact

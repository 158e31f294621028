#include "agent/kernels/exact.hpp"

#include <doctest/doctest.h>

#include "agent/kernels/blackwell.hpp"

#include <bit>
#include <cmath>
#include <cstring>
#include <set>
#include <vector>

using namespace kfab;

TEST_CASE("the largest possible sum of every precision is exact in its accumulator, at every K in use") {
  for (const auto& shape : exact::shapes) {
    CAPTURE(shape.name);
    CHECK(exact::largest_sum(shape, shape.max_k) <= std::int64_t{1} << shape.exact_bits);
    if (shape.chunk_k) CHECK(exact::largest_sum(shape, shape.chunk_k) <= 1 << 12);   // within about 14 bits
  }
  // Operands must be exact in their formats: 2^(fraction bits + 1).
  const int fraction_bits[exact::precision_count] = {23, 52, 10, 7, 10, 6, 3, 2, 1};
  for (int p = 0; p < exact::precision_count; ++p)
    CHECK(exact::largest_operand(exact::shapes[p]) <= (p == exact::int8 ? 127 : std::int64_t{1} << (fraction_bits[p] + 1)));
}

TEST_CASE("the known answer is the product, element by element") {
  constexpr std::uint32_t seed = 7;
  for (const auto& shape : exact::shapes) {
    const int k = 96;
    const auto gram = exact::gram(seed, shape.basis, k);
    for (const std::uint32_t i : {0u, 1u, 17u, 8191u})
      for (const std::uint32_t j : {0u, 3u, 4095u}) {
        std::int64_t sum = 0;
        for (std::uint32_t kk = 0; kk < std::uint32_t(k); ++kk)
          sum += std::int64_t{exact::row_value(seed, shape.coefficient, shape.basis, i, kk)} * exact::column_value(seed, shape.coefficient, shape.basis, j, kk);
        CHECK(exact::expected_value(seed, gram, shape.coefficient, i, j) == sum);
      }
  }
}

TEST_CASE("floating-point sums of the operands are exact in any order, up to the largest K") {
  constexpr std::uint32_t seed = 20261;
  for (const auto precision : {exact::fp32, exact::bf16, exact::fp64}) {
    const auto& shape = exact::shapes[precision];
    const auto gram = exact::gram(seed, shape.basis, shape.max_k);
    for (const std::uint32_t i : {5u, 900u}) {
      float forward = 0, backward = 0;
      double wide = 0;
      const int k = shape.max_k;
      for (int n = 0; n < k; ++n) {
        const auto product = [&](int at) {
          return double(exact::row_value(seed, shape.coefficient, shape.basis, i, std::uint32_t(at))) *
                 exact::column_value(seed, shape.coefficient, shape.basis, i + 1, std::uint32_t(at));
        };
        forward += float(product(n));
        backward += float(product(k - 1 - n));
        wide += product(n);
      }
      const auto expected = exact::expected_value(seed, gram, shape.coefficient, i, i + 1);
      CHECK(wide == double(expected));
      if (precision == exact::fp64) continue;
      CHECK(forward == float(expected));
      CHECK(std::bit_cast<std::uint32_t>(backward) == exact::result_bits(precision, expected));
    }
  }
}

TEST_CASE("what kernels work out for two neighbours at once are the words of the pattern") {
  for (const std::uint64_t base : {std::uint64_t{0}, std::uint64_t{1} << 17, (std::uint64_t{1} << 34) - 40, std::uint64_t{25'000'000'000}})
    for (std::uint64_t index = base; index < base + 200; ++index) {
      CHECK(exact::place_of_20(index) == index % 20);
      if (index % 2) continue;
      for (int pattern = 0; pattern < exact::pattern_count; ++pattern)
        for (const std::uint64_t parameter : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{7}, std::uint64_t{19}}) {
          const auto pair = exact::pattern_pair(pattern, index, parameter);
          CHECK(pair.first == exact::pattern_word(pattern, index, parameter));
          CHECK(pair.second == exact::pattern_word(pattern, index + 1, parameter));
        }
    }
}

TEST_CASE("random words differ in half of their bits from their neighbours, and no word comes twice") {
  std::set<std::uint64_t> seen;
  std::uint64_t differing = 0;
  constexpr std::uint64_t words = 20'000;
  for (std::uint64_t i = 0; i < words; ++i) {
    const auto word = exact::pattern_word(exact::random_words, i, 5);
    CHECK(seen.insert(word).second);
    differing += std::uint64_t(std::popcount(word ^ exact::pattern_word(exact::random_words, i + 1, 5)));
  }
  CHECK(double(differing) / double(words) == doctest::Approx(32).epsilon(0.02));
}

TEST_CASE("numbers as bits") {
  for (const int value : {0, 1, -1, 2, 3, -7, 24, 60, -60, 1000, 8191}) {
    CHECK(exact::float_bits(value, 8, 23) == std::bit_cast<std::uint32_t>(float(value)));
    CHECK(exact::float_bits(value, 11, 52) == std::bit_cast<std::uint64_t>(double(value)));
  }
  CHECK(exact::operand_bits(exact::fp16, 1) == 0x3c00);
  CHECK(exact::operand_bits(exact::fp16, -24) == 0xce00);
  CHECK(exact::operand_bits(exact::bf16, 3) == 0x4040);
  CHECK(exact::operand_bits(exact::fp8, 1) == 0x38);
  CHECK(exact::operand_bits(exact::fp8, -8) == 0xd0);
  CHECK(exact::operand_bits(exact::int8, -1) == 0xff);
}

TEST_CASE("operands differ from place to place, and rows from row to row") {
  std::set<std::vector<int>> rows;
  for (std::uint32_t i = 0; i < 64; ++i) {
    std::vector<int> row;
    for (std::uint32_t k = 0; k < 64; ++k) row.push_back(exact::row_value(1, 5, 3, i, k));
    CHECK(std::set<int>(row.begin(), row.end()).size() > 8);
    rows.insert(row);
  }
  CHECK(rows.size() >= 63);
}

TEST_CASE("random operands are numbers of their format, and of no more than their range") {
  for (int p = 0; p < exact::precision_count; ++p) {
    if (p == exact::int8 || p == exact::fp4) continue;   // any bits are a number
    const auto format = exact::format_of(p);
    const std::uint64_t bias = (1u << (format.exponent_bits - 1)) - 1;
    std::set<std::uint64_t> exponents, signs;
    std::uint64_t ones = 0, zeros = 0;
    for (std::uint32_t k = 0; k < 4096; ++k) {
      const auto bits = exact::random_operand(p, 1, 0, 3, k);
      const std::uint64_t beyond = format.exponent_bits + format.mantissa_bits == 63 ? 0 : bits >> (1 + format.exponent_bits + format.mantissa_bits);
      CHECK(beyond == 0);
      exponents.insert(bits >> format.mantissa_bits & ((1u << format.exponent_bits) - 1));
      signs.insert(bits >> (format.exponent_bits + format.mantissa_bits));
      const std::uint64_t mantissa = bits & ((std::uint64_t{1} << format.mantissa_bits) - 1);
      ones |= mantissa;
      zeros |= ~mantissa & ((std::uint64_t{1} << format.mantissa_bits) - 1);
    }
    CAPTURE(p);
    CHECK(exponents == std::set<std::uint64_t>{bias - 4, bias - 3, bias - 2, bias - 1});   // 1/16 up to 1
    CHECK(signs.size() == 2);
    const std::uint64_t all = ((std::uint64_t{1} << format.mantissa_bits) - 1) & ~(p == exact::tf32 ? std::uint64_t{0x1fff} : 0);
    CHECK(ones == all);
    CHECK((zeros & all) == all);
  }
  CHECK(exact::random_operand(exact::bf16, 1, 0, 3, 4) != exact::random_operand(exact::bf16, 1, 1, 3, 4));
  CHECK(exact::folded_digest(1) < std::uint64_t{1} << 52);
}

TEST_CASE("blocks move as they say") {
  // Two moves by the rules, and every word knows where it came from.
  std::vector<std::uint64_t> window(exact::window_words);
  for (std::uint64_t i = 0; i < exact::window_words; ++i) window[i] = i;
  const auto before = window;
  for (std::uint64_t i = 0; i < exact::half_words; ++i) window[exact::half_words + exact::moved_forth(i)] = before[i];
  const auto between = window;
  for (std::uint64_t i = 0; i < exact::half_words; ++i) window[exact::moved_back(i)] = between[exact::half_words + i];
  for (std::uint64_t i = 0; i < exact::window_words; ++i) REQUIRE(window[i] == exact::moved_from(i));
  CHECK(exact::moved_from(exact::window_words + 40) == exact::window_words + exact::moved_from(40));
}

TEST_CASE("patterns of memory") {
  CHECK(exact::pattern_word(exact::shifted_32, 0, 0) == 0x0000000200000001ull);
  CHECK(exact::pattern_word(exact::shifted_32, 16, 0) == exact::pattern_word(exact::shifted_32, 0, 0));
  CHECK(exact::pattern_word(exact::walking_one, 3, 62) == std::uint64_t{1} << 1);
  CHECK(exact::pattern_word(exact::walking_zero, 3, 62) == ~(std::uint64_t{1} << 1));
  CHECK(exact::pattern_word(exact::own_address, 5, 0) == 40);
  CHECK(exact::pattern_word(exact::modulo_20, 27, 7) == ~std::uint64_t{0});
  CHECK(exact::pattern_word(exact::modulo_20, 28, 7) == 0);
  std::set<std::uint64_t> words;
  for (std::uint64_t i = 0; i < 4096; ++i) words.insert(exact::pattern_word(exact::random_words, i, 1));
  CHECK(words.size() == 4096);
  CHECK(exact::digest_term(0, 5) + exact::digest_term(1, 6) != exact::digest_term(0, 6) + exact::digest_term(1, 5));   // place counts
}

TEST_CASE("Blackwell's descriptors, bit by bit as the PTX ISA lays them out") {
  using namespace kfab;
  // Result format << 4, operand formats << 7 and << 10, N / 8 << 17, M / 16 << 24.
  struct Row { int precision; int rows, columns; unsigned bits; };
  for (const auto& row : {Row{exact::bf16, 128, 256, 0x08400490u}, Row{exact::fp16, 128, 256, 0x08400010u}, Row{exact::tf32, 128, 256, 0x08400910u},
                          Row{exact::fp8, 128, 256, 0x08400010u}, Row{exact::fp8_e5m2, 128, 256, 0x08400490u}, Row{exact::int8, 128, 256, 0x084004a0u},
                          Row{exact::bf16, 64, 8, 0x04020490u}, Row{exact::bf16, 256, 128, 0x10200490u}}) {
    CAPTURE(row.precision);
    CAPTURE(row.columns);
    CHECK(blackwell::instruction_descriptor(row.precision, row.rows, row.columns) == row.bits);
  }
  // mxf4: E2M1 << 7 and << 10, N / 8 << 17, UE8M0 << 23, M / 16 << 24, and no format of results.
  CHECK(blackwell::scaled_instruction_descriptor(128, 128) == 0x08a00480u);
  CHECK(blackwell::scaled_instruction_descriptor(128, 256) == 0x08c00480u);
  // Address / 16, leading offset 1, groups of rows 64 apart, the constant 1 in bit 46, swizzle 2 in bits 61 to 63.
  CHECK(blackwell::shared_descriptor(0) == 0x4000404000010000ull);
  CHECK(blackwell::shared_descriptor(0x400) == 0x4000404000010040ull);
  CHECK(blackwell::shared_descriptor(0x3fff0) == 0x4000404000013fffull);
  // A step of 32 bytes along K moves the address alone, as long as it does not leave the field: the last stage is far below 256 KiB.
  for (const unsigned at : {0x400u, 0x18400u, 0x30400u})
    for (int step = 0; step < 4; ++step) CHECK(blackwell::shared_descriptor(at) + (unsigned long long)(step * 32 >> 4) == blackwell::shared_descriptor(at + unsigned(step) * 32));
  CHECK(blackwell::tensor_address(0, 96, 256) == 0x00600100u);
  CHECK(blackwell::tensor_address(0x80, 0, 32) == 0x000000a0u);
}

#include "agent/kernels/exact.hpp"

#include <doctest/doctest.h>

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
  const int fraction_bits[exact::precision_count] = {23, 52, 10, 7, 10, 6, 3};
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

TEST_CASE("patterns of memory") {
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

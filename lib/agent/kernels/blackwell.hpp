#pragma once

// The arithmetic of the descriptors by which Blackwell's tensor cores find their operands and are told what to multiply, for host and
// kernels: the layouts are those of the PTX ISA (tcgen05, "instruction descriptor" and "shared memory descriptor").

#include "exact.hpp"

namespace kfab::blackwell {

// Formats of operands as an instruction's kind has them. kind::f16 and kind::tf32: F16 0, BF16 1, TF32 2; kind::f8f6f4: E4M3 0,
// E5M2 1; kind::i8: signed 1; kind::mxf4: E2M1 1. Results: F32 1, S32 2.
struct Formats { unsigned operand, result; };
KFAB_HD constexpr Formats formats_of(int precision) {
  switch (precision) {
    case exact::bf16: return {1, 1};
    case exact::tf32: return {2, 1};
    case exact::fp8_e5m2: return {1, 1};
    case exact::int8: return {1, 2};
    default: return {0, 1};   // fp16, fp8 (e4m3)
  }
}

// Dense, both operands stored along K, nothing negated, nothing saturated: result format in bits 4-5, operand formats in 7-9 and
// 10-12, columns / 8 in 17-22, rows / 16 in 24-28.
KFAB_HD constexpr unsigned instruction_descriptor(int precision, int rows, int columns) {
  const Formats formats = formats_of(precision);
  return formats.result << 4 | formats.operand << 7 | formats.operand << 10 | unsigned(columns / 8) << 17 | unsigned(rows / 16) << 24;
}

// The same for kind::mxf4, whose results are always F32: where others tell their format stands which byte of the scale factors of B is
// the first (0), in bits 29-30 that of A (0), and in bit 23 that scale factors are powers of two (UE8M0).
KFAB_HD constexpr unsigned scaled_instruction_descriptor(int rows, int columns) {
  constexpr unsigned e2m1 = 1, powers_of_two = 1;
  return e2m1 << 7 | e2m1 << 10 | unsigned(columns / 8) << 17 | powers_of_two << 23 | unsigned(rows / 16) << 24;
}
// Four scale factors of 2^0. With all of them the same it does not matter which of them belongs to what.
constexpr unsigned scales_of_one = 0x7f7f7f7f;

// Rows of 128 bytes that lie one below the other from `shared_address` on, swizzled over 128 bytes as the copying unit leaves them, in
// groups of eight rows 1024 bytes apart: address / 16 in bits 0-13, a leading offset that this layout does not use in 16-29, the
// offset of groups / 16 in 32-45, the constant 1 in 46-48, the kind of swizzle (2: 128 bytes) in 61-63. Along K it is moved by
// adding bytes / 16.
KFAB_HD constexpr unsigned long long shared_descriptor(unsigned shared_address) {
  constexpr unsigned long long leading = 1, group_of_rows = 1024 >> 4, constant = 1, swizzle_128 = 2;
  return (unsigned long long)((shared_address & 0x3ffff) >> 4) | leading << 16 | group_of_rows << 32 | constant << 46 | swizzle_128 << 61;
}

// Where row `row` and column `column` of a result of 128 rows lie in tensor memory that begins at `base`: lanes in the upper half.
KFAB_HD constexpr unsigned tensor_address(unsigned base, int row, int column) { return base + (unsigned(row) << 16) + unsigned(column); }

}  // namespace kfab::blackwell

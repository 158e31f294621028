#include "agent/devices/cpu_kernels.hpp"

#include <cstring>

namespace kfab::agent::devices::cpu {

// Vectors of 16 bytes, which both x86-64 and Arm have in every processor; the 32 registers of Arm hold twice as many sums.
#if defined(__aarch64__)
#define KFAB_PORTABLE_ROWS 8
#else
#define KFAB_PORTABLE_ROWS 4
#endif
#define KFAB_NAME tile_f32_portable
#define KFAB_TYPE float
#define KFAB_LANES 4
#define KFAB_ROWS KFAB_PORTABLE_ROWS
#define KFAB_VECTORS 2
#define KFAB_COLUMNS tile_columns_f32
#include "agent/devices/cpu_gemm_tile.inc"
#define KFAB_NAME tile_f64_portable
#define KFAB_TYPE double
#define KFAB_LANES 2
#define KFAB_ROWS KFAB_PORTABLE_ROWS
#define KFAB_VECTORS 2
#define KFAB_COLUMNS tile_columns_f64
#include "agent/devices/cpu_gemm_tile.inc"
static void tile_i8_portable(const std::int8_t* a, const std::int8_t* b, int k, std::int32_t* c, std::ptrdiff_t c_stride) {
  for (int row = 0; row < tile_rows; row += 2) {
    for (int column = 0; column < tile_columns_i8; column += 2) {
      const std::int8_t *a0 = a + std::ptrdiff_t{row} * k, *a1 = a0 + k, *b0 = b + std::ptrdiff_t{column} * k, *b1 = b0 + k;
      std::int32_t s00 = 0, s01 = 0, s10 = 0, s11 = 0;
      for (int kk = 0; kk < k; ++kk) {
        s00 += std::int32_t{a0[kk]} * b0[kk];
        s01 += std::int32_t{a0[kk]} * b1[kk];
        s10 += std::int32_t{a1[kk]} * b0[kk];
        s11 += std::int32_t{a1[kk]} * b1[kk];
      }
      c[row * c_stride + column] = s00;
      c[row * c_stride + column + 1] = s01;
      c[(row + 1) * c_stride + column] = s10;
      c[(row + 1) * c_stride + column + 1] = s11;
    }
  }
}

#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define KFAB_NAME tile_f32_avx2
#define KFAB_TYPE float
#define KFAB_LANES 8
#define KFAB_ROWS 4
#define KFAB_VECTORS 2
#define KFAB_COLUMNS tile_columns_f32
#include "agent/devices/cpu_gemm_tile.inc"
#define KFAB_NAME tile_f64_avx2
#define KFAB_TYPE double
#define KFAB_LANES 4
#define KFAB_ROWS 4
#define KFAB_VECTORS 2
#define KFAB_COLUMNS tile_columns_f64
#include "agent/devices/cpu_gemm_tile.inc"
static void tile_i8_avx2(const std::int8_t* a, const std::int8_t* b, int k, std::int32_t* c, std::ptrdiff_t c_stride) {
  for (int row = 0; row < tile_rows; row += 2) {
    for (int column = 0; column < tile_columns_i8; column += 2) {
      const std::int8_t *a0 = a + std::ptrdiff_t{row} * k, *a1 = a0 + k, *b0 = b + std::ptrdiff_t{column} * k, *b1 = b0 + k;
      std::int32_t s00 = 0, s01 = 0, s10 = 0, s11 = 0;
      for (int kk = 0; kk < k; ++kk) {
        s00 += std::int32_t{a0[kk]} * b0[kk];
        s01 += std::int32_t{a0[kk]} * b1[kk];
        s10 += std::int32_t{a1[kk]} * b0[kk];
        s11 += std::int32_t{a1[kk]} * b1[kk];
      }
      c[row * c_stride + column] = s00;
      c[row * c_stride + column + 1] = s01;
      c[(row + 1) * c_stride + column] = s10;
      c[(row + 1) * c_stride + column + 1] = s11;
    }
  }
}
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512")
#define KFAB_NAME tile_f32_avx512
#define KFAB_TYPE float
#define KFAB_LANES 16
#define KFAB_ROWS 8
#define KFAB_VECTORS 2
#define KFAB_COLUMNS tile_columns_f32
#include "agent/devices/cpu_gemm_tile.inc"
#define KFAB_NAME tile_f64_avx512
#define KFAB_TYPE double
#define KFAB_LANES 8
#define KFAB_ROWS 8
#define KFAB_VECTORS 2
#define KFAB_COLUMNS tile_columns_f64
#include "agent/devices/cpu_gemm_tile.inc"
static void tile_i8_avx512(const std::int8_t* a, const std::int8_t* b, int k, std::int32_t* c, std::ptrdiff_t c_stride) {
  for (int row = 0; row < tile_rows; row += 2) {
    for (int column = 0; column < tile_columns_i8; column += 2) {
      const std::int8_t *a0 = a + std::ptrdiff_t{row} * k, *a1 = a0 + k, *b0 = b + std::ptrdiff_t{column} * k, *b1 = b0 + k;
      std::int32_t s00 = 0, s01 = 0, s10 = 0, s11 = 0;
      for (int kk = 0; kk < k; ++kk) {
        s00 += std::int32_t{a0[kk]} * b0[kk];
        s01 += std::int32_t{a0[kk]} * b1[kk];
        s10 += std::int32_t{a1[kk]} * b0[kk];
        s11 += std::int32_t{a1[kk]} * b1[kk];
      }
      c[row * c_stride + column] = s00;
      c[row * c_stride + column + 1] = s01;
      c[(row + 1) * c_stride + column] = s10;
      c[(row + 1) * c_stride + column + 1] = s11;
    }
  }
}
#pragma GCC pop_options
#endif

Isa best_isa() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return Isa::avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Isa::avx2;
#endif
  return Isa::portable;
}

const char* to_string(Isa isa) {
  switch (isa) {
    case Isa::avx512: return "AVX-512";
    case Isa::avx2: return "AVX2";
    case Isa::portable: break;
  }
#if defined(__aarch64__)
  return "NEON";
#else
  return "portable";
#endif
}

void gemm_tile(const float* a, const float* b, int k, float* c, std::ptrdiff_t c_stride, Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx512) return tile_f32_avx512(a, b, k, c, c_stride);
  if (isa == Isa::avx2) return tile_f32_avx2(a, b, k, c, c_stride);
#endif
  (void)isa;
  tile_f32_portable(a, b, k, c, c_stride);
}
void gemm_tile(const double* a, const double* b, int k, double* c, std::ptrdiff_t c_stride, Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx512) return tile_f64_avx512(a, b, k, c, c_stride);
  if (isa == Isa::avx2) return tile_f64_avx2(a, b, k, c, c_stride);
#endif
  (void)isa;
  tile_f64_portable(a, b, k, c, c_stride);
}
void gemm_tile(const std::int8_t* a, const std::int8_t* b, int k, std::int32_t* c, std::ptrdiff_t c_stride, Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx512) return tile_i8_avx512(a, b, k, c, c_stride);
  if (isa == Isa::avx2) return tile_i8_avx2(a, b, k, c, c_stride);
#endif
  (void)isa;
  tile_i8_portable(a, b, k, c, c_stride);
}

}  // namespace kfab::agent::devices::cpu

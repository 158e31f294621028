#pragma once

// Matrix products C = A B^T with both operands stored row by row over K, so that one text serves every format: the
// tensor-core kernel works on bytes. Rows of A are taken from `row_shift` on, modulo M, so that each slice of results has
// its own right answer. Grid: x = N / tile, y = M / tile; 256 threads.

#include "primitives.cuh"

namespace kfab::kernels {

// 128 x 128 results of a block, 64 x 32 of a warp; 64 bytes of K a stage, three stages in flight: 48 KiB.
constexpr int tile = 128, stage_bytes = 64, stages = 3;

template <int precision> struct AccumulatorOf { using type = float; };
template <> struct AccumulatorOf<exact::int8> { using type = int; };

// A row has four chunks of 16 bytes; their order changes with the row so that eight rows of a matrix load lie in
// different banks.
KFAB_DEVICE int chunk_offset(int row, int chunk) { return row * stage_bytes + ((chunk ^ ((row >> 1) & 3)) << 4); }

template <int precision>
KFAB_DEVICE void gemm_tensor(const unsigned char* a, const unsigned char* b, unsigned* c, int m, int n, int k_bytes,
                             int row_shift) {
  using Accumulator = typename AccumulatorOf<precision>::type;
  constexpr bool chunked = exact::shapes[precision].chunk_k != 0;
  static_assert(!chunked || exact::shapes[precision].chunk_k * exact::shapes[precision].operand_width == stage_bytes * 8,
                "a chunk is one stage");
  __shared__ __align__(128) unsigned char shared[stages][2][tile * stage_bytes];

  const int thread = threadIdx.x, lane = thread & 31, warp = thread >> 5;
  const int warp_row = (warp & 1) * 64, warp_column = (warp >> 1) * 32;
  const int a_row = (int(blockIdx.y) * tile + row_shift) % m, b_row = int(blockIdx.x) * tile;
  const int steps = k_bytes / stage_bytes;

  auto fetch = [&](int step) {
    unsigned char* to = &shared[step % stages][0][0];
    for (int part = 0; part < 2; ++part) {
      const int id = thread + part * 256, row = id >> 2, chunk = id & 3;
      const unsigned long long from = (unsigned long long)step * stage_bytes + chunk * 16;
      copy_async_16(to + chunk_offset(row, chunk), a + (unsigned long long)(a_row + row) * k_bytes + from);
      copy_async_16(to + tile * stage_bytes + chunk_offset(row, chunk), b + (unsigned long long)(b_row + row) * k_bytes + from);
    }
  };

  Accumulator sum[4][4][4], part[4][4][4];
#pragma unroll
  for (int i = 0; i < 64; ++i) {
    (&sum[0][0][0])[i] = 0;
    (&part[0][0][0])[i] = 0;
  }

  for (int step = 0; step < stages - 1; ++step) {
    if (step < steps) fetch(step);
    commit_copies();
  }
  for (int step = 0; step < steps; ++step) {
    wait_copies<stages - 2>();
    __syncthreads();   // the stage is there for all, and nobody still reads the one that is overwritten next
    if (step + stages - 1 < steps) fetch(step + stages - 1);
    commit_copies();
    const unsigned char* as = &shared[step % stages][0][0];
    const unsigned char* bs = as + tile * stage_bytes;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      unsigned fa[4][4], fb[4][2];
#pragma unroll
      for (int i = 0; i < 4; ++i)
        load_matrix_x4(fa[i], as + chunk_offset(warp_row + i * 16 + (lane & 15), half * 2 + (lane >> 4)));
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        unsigned both[4];
        load_matrix_x4(both, bs + chunk_offset(warp_column + j * 16 + (lane & 7) + ((lane >> 4) << 3),
                                               half * 2 + ((lane >> 3) & 1)));
        fb[2 * j][0] = both[0];
        fb[2 * j][1] = both[1];
        fb[2 * j + 1][0] = both[2];
        fb[2 * j + 1][1] = both[3];
      }
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          if constexpr (chunked) multiply_add<precision>(part[i][j], fa[i], fb[j]);
          else multiply_add<precision>(sum[i][j], fa[i], fb[j]);
        }
    }
    if constexpr (chunked) {
#pragma unroll
      for (int i = 0; i < 64; ++i) {
        (&sum[0][0][0])[i] += (&part[0][0][0])[i];
        (&part[0][0][0])[i] = 0;
      }
    }
  }

#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j)
#pragma unroll
      for (int below = 0; below < 2; ++below) {
        const int row = int(blockIdx.y) * tile + warp_row + i * 16 + below * 8 + (lane >> 2);
        const int column = int(blockIdx.x) * tile + warp_column + j * 8 + (lane & 3) * 2;
        union { Accumulator v[2]; uint2 bits; } out;
        out.v[0] = sum[i][j][2 * below];
        out.v[1] = sum[i][j][2 * below + 1];
        *reinterpret_cast<uint2*>(c + (unsigned long long)row * n + column) = out.bits;
      }
}

// Doubles on tensor cores: 128 x 64 results of a block, 32 x 32 of a warp; 16 doubles of K a stage, two stages: 48 KiB.
constexpr int f64_rows = 128, f64_columns = 64, f64_k = 16;
KFAB_DEVICE int f64_offset(int row, int k) {   // in doubles; quads of K change order with the row, against bank conflicts
  return row * f64_k + ((((k >> 2) ^ row) & 3) << 2) + (k & 3);
}
KFAB_DEVICE void gemm_tensor_f64(const double* a, const double* b, double* c, int m, int n, int k, int row_shift) {
  __shared__ __align__(128) double shared[2][(f64_rows + f64_columns) * f64_k];
  const int thread = threadIdx.x, lane = thread & 31, warp = thread >> 5;
  const int warp_row = (warp & 3) * 32, warp_column = (warp >> 2) * 32;
  const int a_row = (int(blockIdx.y) * f64_rows + row_shift) % m, b_row = int(blockIdx.x) * f64_columns;
  const int steps = k / f64_k;

  auto fetch = [&](int step) {
    double* to = shared[step & 1];
    for (int id = thread; id < (f64_rows + f64_columns) * 8; id += 256) {   // pairs of doubles
      const int row = id >> 3, kk = (id & 7) * 2;
      const bool of_a = row < f64_rows;
      const double* from = of_a ? a + (unsigned long long)(a_row + row) * k : b + (unsigned long long)(b_row + row - f64_rows) * k;
      copy_async_16(to + (of_a ? 0 : f64_rows * f64_k) + f64_offset(of_a ? row : row - f64_rows, kk), from + step * f64_k + kk);
    }
  };

  double sum[4][4][2];
#pragma unroll
  for (int i = 0; i < 32; ++i) (&sum[0][0][0])[i] = 0;
  fetch(0);
  commit_copies();
  for (int step = 0; step < steps; ++step) {
    wait_copies<0>();
    __syncthreads();
    if (step + 1 < steps) fetch(step + 1);
    commit_copies();
    const double* as = shared[step & 1];
    const double* bs = as + f64_rows * f64_k;
#pragma unroll
    for (int quad = 0; quad < f64_k; quad += 4) {
      double fa[4], fb[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        fa[i] = as[f64_offset(warp_row + i * 8 + (lane >> 2), quad + (lane & 3))];
        fb[i] = bs[f64_offset(warp_column + i * 8 + (lane >> 2), quad + (lane & 3))];
      }
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) multiply_add_f64(sum[i][j], fa[i], fb[j]);
    }
  }
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int row = int(blockIdx.y) * f64_rows + warp_row + i * 8 + (lane >> 2);
      const int column = int(blockIdx.x) * f64_columns + warp_column + j * 8 + (lane & 3) * 2;
      *reinterpret_cast<double2*>(c + (unsigned long long)row * n + column) = make_double2(sum[i][j][0], sum[i][j][1]);
    }
}

// Without tensor cores: each thread 8 x 8 results in fp32 (128 x 128 a block), 4 x 4 in fp64 (64 x 64).
template <class T, int per_thread>
KFAB_DEVICE void gemm_vector(const T* a, const T* b, T* c, int m, int n, int k, int row_shift) {
  constexpr int side = 16 * per_thread, depth = 16, quads = side * depth / 4 / 256;
  __shared__ __align__(16) T as[depth][side + 4];
  __shared__ __align__(16) T bs[depth][side + 4];
  const int thread = threadIdx.x, tx = thread & 15, ty = thread >> 4;
  const int a_row = (int(blockIdx.y) * side + row_shift) % m, b_row = int(blockIdx.x) * side;
  T sum[per_thread][per_thread];
#pragma unroll
  for (int i = 0; i < per_thread * per_thread; ++i) (&sum[0][0])[i] = 0;
  T next_a[quads][4], next_b[quads][4];
  auto fetch = [&](int at) {
#pragma unroll
    for (int q = 0; q < quads; ++q) {
      const int id = thread + q * 256, row = id >> 2, kk = (id & 3) * 4;
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        next_a[q][e] = a[(unsigned long long)(a_row + row) * k + at + kk + e];
        next_b[q][e] = b[(unsigned long long)(b_row + row) * k + at + kk + e];
      }
    }
  };
  fetch(0);
  for (int at = 0; at < k; at += depth) {
    __syncthreads();
#pragma unroll
    for (int q = 0; q < quads; ++q) {
      const int id = thread + q * 256, row = id >> 2, kk = (id & 3) * 4;
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        as[kk + e][row] = next_a[q][e];
        bs[kk + e][row] = next_b[q][e];
      }
    }
    __syncthreads();
    if (at + depth < k) fetch(at + depth);
#pragma unroll
    for (int kk = 0; kk < depth; ++kk) {
      T ra[per_thread], rb[per_thread];
#pragma unroll
      for (int i = 0; i < per_thread; ++i) {
        ra[i] = as[kk][ty * per_thread + i];
        rb[i] = bs[kk][tx + 16 * i];   // spread, so that stores of a half warp are contiguous
      }
#pragma unroll
      for (int i = 0; i < per_thread; ++i)
#pragma unroll
        for (int j = 0; j < per_thread; ++j) sum[i][j] += ra[i] * rb[j];
    }
  }
#pragma unroll
  for (int i = 0; i < per_thread; ++i)
#pragma unroll
    for (int j = 0; j < per_thread; ++j)
      c[(unsigned long long)(int(blockIdx.y) * side + ty * per_thread + i) * n + int(blockIdx.x) * side + tx + 16 * j] = sum[i][j];
}

}  // namespace kfab::kernels

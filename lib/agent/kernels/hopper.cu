// Matrix products as Hopper does them fastest: one block a multiprocessor that stays, one warpgroup that only fetches tiles
// by the tensor memory unit, two that only multiply, four or six stages between them. C = A B^T with both operands stored row
// by row over K, like gemm.cuh, and with the same right answers. Compiled for sm_90a alone.
//
// Nobody trusts this kernel unseen: the agent multiplies something small with it in a process of its own and compares every
// bit with the known answer and with the warp-level kernel before a burn-in may use it. A wait that takes too long ends the
// kernel and is told in `stalled`.

#include "hopper.cuh"

using namespace kfab;
using namespace kfab::kernels;
using u64 = unsigned long long;

namespace kfab::kernels {

// A tile of 128 x 256 results, each consumer 64 x 256 in 128 registers. Chunked sums need two sets of registers: 128 x 128.
constexpr int tile_rows = 128, line_bytes = 128, step_bytes = 32;
template <bool chunked> struct Tile {
  static constexpr int columns = chunked ? 128 : 256, stages = chunked ? 6 : 4;
  static constexpr int a_bytes = tile_rows * line_bytes, b_bytes = columns * line_bytes, stage = a_bytes + b_bytes;
  static_assert(stages * stage == 196'608, "what the host asks for, see hopper_shared_bytes");
};

// A chunk is a line: 128 elements of fp8, whose sums must be exact in about 14 bits.
static_assert(exact::largest_sum(exact::shapes[exact::fp8], line_bytes) <= 1 << 13 && exact::largest_sum(exact::shapes[exact::fp8_e5m2], line_bytes) <= 1 << 13);

template <int precision> struct SumOf { using type = float; };
template <> struct SumOf<exact::int8> { using type = int; };

// Which tile comes when: sixteen rows of tiles at a time, so that what runs at once shares its operands in the L2 cache.
struct Place { int row, column; };
KFAB_DEVICE Place place_of(int tile, int rows, int columns) {
  const int band = 16, first = tile / (band * columns) * band, in_band = tile % (band * columns);
  const int here = rows - first < band ? rows - first : band;
  return {first + in_band % here, in_band / here};
}

template <int precision, bool chunked>
KFAB_DEVICE void gemm_hopper(const TensorMap* map_a, const TensorMap* map_b, unsigned* c, int m, int n, int k_bytes, int row_shift,
                             unsigned* stalled) {
  using T = Tile<chunked>;
  using Sum = typename SumOf<precision>::type;
  unsigned char* base = dynamic_shared();
  base += (1024 - (shared_address(base) & 1023)) & 1023;
  u64* full = reinterpret_cast<u64*>(base + T::stages * T::stage);
  u64* empty = full + T::stages;

  const int thread = threadIdx.x, group = same_in_warp(thread >> 7), warp = same_in_warp((thread & 127) >> 5), lane = thread & 31;
  if (thread == 0) {
    for (int s = 0; s < T::stages; ++s) {
      barrier_init(full + s, 1);
      barrier_init(empty + s, 8);   // each warp that multiplies
    }
    barriers_ready();
  }
  __syncthreads();

  const int rows = m / tile_rows, columns = n / T::columns, tiles = rows * columns, steps = k_bytes / line_bytes;
  int stage = 0;
  unsigned phase = 0;
  const auto advance = [&] {
    if (++stage == T::stages) {
      stage = 0;
      phase ^= 1;
    }
  };

  if (group == 0) {
    give_registers<40>();
    if (thread != 0) return;
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
      const Place at = place_of(tile, rows, columns);
      const int a_row = (at.row * tile_rows + row_shift) % m, b_row = at.column * T::columns;
      for (int step = 0; step < steps; ++step, advance()) {
        if (!barrier_wait(empty + stage, phase ^ 1)) {
          *stalled = 1;
          return;
        }
        unsigned char* to = base + stage * T::stage;
        barrier_expect(full + stage, T::stage);
        tensor_load(to, map_a, step * line_bytes, a_row, full + stage);
        tensor_load(to + T::a_bytes, map_b, step * line_bytes, b_row, full + stage);
      }
    }
  } else {
    take_registers<232>();
    constexpr int held = T::columns / 2;
    Sum sum[held];
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
      const Place at = place_of(tile, rows, columns);
      int previous = 0;
      for (int step = 0; step < steps; ++step, advance()) {
        if (!barrier_wait(full + stage, phase)) {
          *stalled = 2;
          group_wait<0>();
          return;
        }
        const unsigned char* from = base + stage * T::stage;
        const u64 a = matrix_descriptor(from + (group - 1) * 64 * line_bytes), b = matrix_descriptor(from + T::a_bytes);
        if constexpr (chunked) {
          Sum part[held];
          group_fence();
#pragma unroll
          for (int i = 0; i < line_bytes / step_bytes; ++i) group_product<precision>(part, a + (i * step_bytes >> 4), b + (i * step_bytes >> 4), i);
          group_commit();
          group_wait<0>();
          if (lane == 0) barrier_arrive(empty + stage);   // what was read may be overwritten while the chunk is added
#pragma unroll
          for (int i = 0; i < held; ++i) {
            hold(part[i]);
            sum[i] = step == 0 ? part[i] : sum[i] + part[i];
          }
        } else {
          group_fence();
#pragma unroll
          for (int i = 0; i < line_bytes / step_bytes; ++i) group_product<precision>(sum, a + (i * step_bytes >> 4), b + (i * step_bytes >> 4), step + i);
          group_commit();
          group_wait<1>();   // what the step before read is done with
          if (step > 0 && lane == 0) barrier_arrive(empty + previous);
          previous = stage;
        }
      }
      if constexpr (!chunked) {
        group_wait<0>();
        if (lane == 0) barrier_arrive(empty + previous);
#pragma unroll
        for (int i = 0; i < held; ++i) hold(sum[i]);
      }
      const int row = at.row * tile_rows + (group - 1) * 64 + warp * 16 + (lane >> 2);
      const int column = at.column * T::columns + (lane & 3) * 2;
#pragma unroll
      for (int j = 0; j < T::columns / 8; ++j)
#pragma unroll
        for (int below = 0; below < 2; ++below) {
          union { Sum v[2]; uint2 bits; } out;
          out.v[0] = sum[4 * j + 2 * below];
          out.v[1] = sum[4 * j + 2 * below + 1];
          store_streaming(reinterpret_cast<uint2*>(c + u64(row + 8 * below) * n + column + 8 * j), out.bits);
        }
    }
  }
}

}  // namespace kfab::kernels

#define KFAB_HOPPER_KERNEL(NAME, PRECISION, CHUNKED)                                                                               \
  extern "C" __global__ void __launch_bounds__(384, 1) NAME(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, \
                                                            unsigned* c, int m, int n, int k_bytes, int row_shift, unsigned* stalled) { \
    gemm_hopper<PRECISION, CHUNKED>(&a, &b, c, m, n, k_bytes, row_shift, stalled);                                                  \
  }
KFAB_HOPPER_KERNEL(kfab_hopper_bf16, exact::bf16, false)
KFAB_HOPPER_KERNEL(kfab_hopper_fp16, exact::fp16, false)
KFAB_HOPPER_KERNEL(kfab_hopper_tf32, exact::tf32, false)
KFAB_HOPPER_KERNEL(kfab_hopper_int8, exact::int8, false)
KFAB_HOPPER_KERNEL(kfab_hopper_fp8, exact::fp8, false)
KFAB_HOPPER_KERNEL(kfab_hopper_fp8_e5m2, exact::fp8_e5m2, false)
KFAB_HOPPER_KERNEL(kfab_hopper_fp8_chunked, exact::fp8, true)
KFAB_HOPPER_KERNEL(kfab_hopper_fp8_e5m2_chunked, exact::fp8_e5m2, true)

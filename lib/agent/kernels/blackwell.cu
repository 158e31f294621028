// Matrix products by Blackwell's tensor cores (tcgen05): one block a multiprocessor that stays, one thread that only fetches tiles by
// the tensor memory unit, one that only asks for products, four stages between them, and four warps that carry results from tensor
// memory to global memory while the next tile is multiplied into the other half of it. C = A B^T with both operands stored row by row
// over K, like gemm.cuh, and with the same right answers. Compiled for sm_100a and sm_103a.
//
// Written by the PTX ISA and run under the emulator of the tests alone: no GPU of this kind has seen it yet. Nobody trusts it unseen:
// the agent multiplies something small with it in a process of its own and compares every bit with the known answer and with the
// warp-level kernel before a burn-in may use it. Every wait for a barrier ends after seconds by the clock and is told in `stalled`;
// tensor memory is given back on every way out.

#include "blackwell.cuh"

using namespace kfab;
using namespace kfab::kernels;
using u64 = unsigned long long;

namespace kfab::kernels {

// Two tiles fill tensor memory; those of fp4 are half as wide, for its scale factors lie there as well.
template <bool scaled>
struct BlackwellTile {
  static constexpr int rows = 128, columns = scaled ? 128 : 256, line = 128, step = 32, stages = scaled ? 6 : 4, halves = 2;
  static constexpr int a_bytes = rows * line, b_bytes = columns * line, stage = a_bytes + b_bytes;
  static_assert(stages * stage == 196'608, "what the host asks for, see hopper_shared_bytes");
  static constexpr int scales_a = halves * columns, scales_b = scales_a + 128;   // columns, of which each product reads a few
  static_assert((scaled ? scales_b + 128 : scales_a) == tensor_columns, "all of tensor memory");
  static constexpr int fetcher = 0, multiplier = 1, first_carrier = 2, carriers = 4;   // warps; a carrier's lanes are those of its number by four
};

// Which tile comes when: sixteen rows of tiles at a time, as in hopper.cu.
struct TilePlace { int row, column; };
KFAB_DEVICE TilePlace tile_place(int tile, int rows, int columns) {
  const int band = 16, first = tile / (band * columns) * band, in_band = tile % (band * columns);
  const int here = rows - first < band ? rows - first : band;
  return {first + in_band % here, in_band / here};
}

template <int precision>
KFAB_DEVICE void gemm_blackwell(const TensorMap* map_a, const TensorMap* map_b, unsigned* c, int m, int n, int k_bytes, int row_shift,
                                unsigned* stalled) {
  constexpr bool scaled = precision == exact::fp4;
  using T = BlackwellTile<scaled>;
  unsigned char* base = dynamic_shared();
  base += (1024 - (shared_address(base) & 1023)) & 1023;
  u64* full = reinterpret_cast<u64*>(base + T::stages * T::stage);
  u64* empty = full + T::stages;
  u64* summed = empty + T::stages;         // a half of tensor memory holds a whole tile
  u64* carried = summed + T::halves;       // and may be overwritten
  unsigned* where = reinterpret_cast<unsigned*>(carried + T::halves);

  const int thread = threadIdx.x, warp = thread >> 5, lane = thread & 31;
  if (thread == 0) {
    for (int s = 0; s < T::stages; ++s) {
      barrier_init(full + s, 1);
      barrier_init(empty + s, 1);
    }
    for (int h = 0; h < T::halves; ++h) {
      barrier_init(summed + h, 1);
      barrier_init(carried + h, T::carriers);
    }
    barriers_ready();
  }
  if (warp == T::first_carrier) tensor_take(where);
  tensor_fence_before();
  __syncthreads();
  tensor_fence_after();
  const unsigned tensor = *where;
  if constexpr (scaled) {
    if (warp >= T::first_carrier) {
      for (unsigned column = T::scales_a; column < tensor_columns; column += 32) tensor_fill(blackwell::tensor_address(tensor, (warp & 3) * 32, int(column)), blackwell::scales_of_one);
      tensor_filled();
    }
    tensor_fence_before();
    __syncthreads();
    tensor_fence_after();
  }

  const int rows = m / T::rows, columns = n / T::columns, tiles = rows * columns, steps = k_bytes / T::line;
  int stage = 0, half = 0;
  unsigned phase = 0, half_phase = 0;
  const auto next_stage = [&] {
    if (++stage == T::stages) {
      stage = 0;
      phase ^= 1;
    }
  };
  const auto next_half = [&] {
    if (++half == T::halves) {
      half = 0;
      half_phase ^= 1;
    }
  };

  bool going = true;   // false once a wait took too long: everybody goes to the end by himself
  if (warp == T::fetcher) {
    if (lane == 0)
      for (int tile = blockIdx.x; tile < tiles && going; tile += gridDim.x) {
        const TilePlace at = tile_place(tile, rows, columns);
        const int a_row = (at.row * T::rows + row_shift) % m, b_row = at.column * T::columns;
        for (int step = 0; step < steps; ++step, next_stage()) {
          if (!barrier_wait(empty + stage, phase ^ 1)) {
            *stalled = 1;
            going = false;
            break;
          }
          unsigned char* to = base + stage * T::stage;
          barrier_expect(full + stage, T::stage);
          tensor_load(to, map_a, step * T::line, a_row, full + stage);
          tensor_load(to + T::a_bytes, map_b, step * T::line, b_row, full + stage);
        }
      }
  } else if (warp == T::multiplier) {
    constexpr unsigned instruction =
        scaled ? blackwell::scaled_instruction_descriptor(T::rows, T::columns) : blackwell::instruction_descriptor(precision, T::rows, T::columns);
    if (lane == 0)
      for (int tile = blockIdx.x; tile < tiles && going; tile += gridDim.x, next_half()) {
        if (!barrier_wait(carried + half, half_phase ^ 1)) {
          *stalled = 2;
          break;
        }
        tensor_fence_after();
        const unsigned to = blackwell::tensor_address(tensor, 0, half * T::columns);
        for (int step = 0; step < steps; ++step, next_stage()) {
          if (!barrier_wait(full + stage, phase)) {
            *stalled = 3;
            going = false;
            break;
          }
          tensor_fence_after();
          const unsigned from = shared_address(base) + unsigned(stage * T::stage);
          const u64 a = blackwell::shared_descriptor(from), b = blackwell::shared_descriptor(from + T::a_bytes);
          for (int i = 0; i < T::line / T::step; ++i) {
            const u64 a_step = a + u64(i * T::step >> 4), b_step = b + u64(i * T::step >> 4);
            if constexpr (scaled) tensor_product_scaled(to, a_step, b_step, instruction, tensor + T::scales_a, tensor + T::scales_b, step + i);
            else tensor_product<precision>(to, a_step, b_step, instruction, step + i);
          }
          tensor_commit(empty + stage);
        }
        if (going) tensor_commit(summed + half);
      }
  } else {
    const int quarter = (warp & 3) * 32;
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x, next_half()) {
      if (!whole_warp(barrier_wait(summed + half, half_phase))) {
        *stalled = 4;
        break;
      }
      tensor_fence_after();
      const TilePlace at = tile_place(tile, rows, columns);
      unsigned* line = c + u64(at.row * T::rows + quarter + lane) * n + at.column * T::columns;
      for (int column = 0; column < T::columns; column += 32) {
        unsigned r[32];
        tensor_read(r, blackwell::tensor_address(tensor, quarter, half * T::columns + column));
        tensor_wait();
#pragma unroll
        for (int i = 0; i < 32; i += 4) store_streaming(reinterpret_cast<uint4*>(line + column + i), uint4{r[i], r[i + 1], r[i + 2], r[i + 3]});
      }
      tensor_fence_before();
      if (lane == 0) barrier_arrive(carried + half);
    }
  }

  tensor_fence_before();
  __syncthreads();
  if (warp == T::first_carrier) {
    tensor_fence_after();
    tensor_give_back(tensor);
  }
}

}  // namespace kfab::kernels

#define KFAB_BLACKWELL_KERNEL(NAME, PRECISION)                                                                                     \
  extern "C" __global__ void __launch_bounds__(192, 1) NAME(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, \
                                                            unsigned* c, int m, int n, int k_bytes, int row_shift, unsigned* stalled) { \
    gemm_blackwell<PRECISION>(&a, &b, c, m, n, k_bytes, row_shift, stalled);                                                        \
  }
KFAB_BLACKWELL_KERNEL(kfab_blackwell_bf16, exact::bf16)
KFAB_BLACKWELL_KERNEL(kfab_blackwell_fp16, exact::fp16)
KFAB_BLACKWELL_KERNEL(kfab_blackwell_tf32, exact::tf32)
KFAB_BLACKWELL_KERNEL(kfab_blackwell_fp4, exact::fp4)
KFAB_BLACKWELL_KERNEL(kfab_blackwell_fp8, exact::fp8)
KFAB_BLACKWELL_KERNEL(kfab_blackwell_fp8_e5m2, exact::fp8_e5m2)
// The same text once more, proven on what is small alone: should the accumulators of fp8 prove to hold fewer bits than exact sums
// over all of K need, these two still serve full mantissas.
KFAB_BLACKWELL_KERNEL(kfab_blackwell_fp8_random, exact::fp8)
KFAB_BLACKWELL_KERNEL(kfab_blackwell_fp8_e5m2_random, exact::fp8_e5m2)
#if defined(KFAB_EMULATE) || !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM100_ALL)
KFAB_BLACKWELL_KERNEL(kfab_blackwell_int8, exact::int8)
#endif

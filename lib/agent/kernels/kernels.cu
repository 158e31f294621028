// All that runs on a GPU. One file and few includes: it is compiled once for each architecture. No fmt, no runtime API.

#include "gemm.cuh"

using namespace kfab;
using kfab::exact::CheckState;
using u64 = unsigned long long;

namespace kfab::kernels {

// What a thread found. It becomes part of the check's state at the end, and of what is wrong only the first few records are
// written down at once: memory that is wrong everywhere must not make all threads wait for one counter.
struct Tally {
  u64 checked = 0, mismatches = 0, digest = 0, mask = 0, first = ~u64{0}, last = 0;
  bool full = false;   // the records are, as far as this thread has seen
};

template <class Word>
KFAB_DEVICE void note_mismatch(Tally& mine, CheckState* state, u64 index, u64 expected, u64 got, const Word* at) {
  ++mine.mismatches;
  mine.mask |= expected ^ got;
  mine.first = index < mine.first ? index : mine.first;
  mine.last = index > mine.last ? index : mine.last;
  if (mine.full) return;
  u64* recorded = reinterpret_cast<u64*>(state) + 6;   // the order of members of CheckState
  const u64 slot = read_again(recorded) < exact::max_records ? atomicAdd(recorded, u64{1}) : exact::max_records;
  mine.full = slot >= exact::max_records;
  if (mine.full) return;
  state->records[slot].index = index;
  state->records[slot].expected = expected;
  state->records[slot].got = got;
  state->records[slot].second_read = read_again(at);
}
// All threads of a block come here; so many atomic operations of 64 bits on one address would cost more than the check.
KFAB_DEVICE void add_tally(CheckState* state, const Tally& mine) {
  constexpr int counters = 3, most_warps = 16;
  __shared__ u64 of_warp[counters][most_warps];
  auto* s = reinterpret_cast<u64*>(state);
  if (mine.mismatches) {
    atomicOr(s + 3, mine.mask);
    atomicMin(s + 4, mine.first);
    atomicMax(s + 5, mine.last);
  }
  u64 sums[counters] = {mine.checked, mine.mismatches, mine.digest};
  sum_of_warp(sums);
  const int warp = threadIdx.x / 32, warps = blockDim.x / 32;
  if (threadIdx.x % 32 == 0)
    for (int i = 0; i < counters; ++i) of_warp[i][warp] = sums[i];
  __syncthreads();
  if (threadIdx.x >= counters) return;
  u64 total = 0;
  for (int i = 0; i < warps; ++i) total += of_warp[threadIdx.x][i];
  atomicAdd(s + threadIdx.x, total);
}

}  // namespace kfab::kernels
using namespace kfab::kernels;

// --- operands and products ---

// One operand, row by row: rows x k elements of the format, `width` bits each. `columns` 0: A, 1: B. `random`: full
// mantissas instead of small integers. A thread writes whole bytes: two elements of fp4.
extern "C" __global__ void kfab_fill_operand(unsigned char* out, int precision, int columns, unsigned seed, int coefficient,
                                             int basis, int width, int k, u64 elements, int random) {
  const int each = width == 4 ? 2 : 1;
  for (u64 at = (u64(blockIdx.x) * blockDim.x + threadIdx.x) * each; at < elements; at += u64(gridDim.x) * blockDim.x * each) {
    u64 bits = 0;
    for (int e = 0; e < each; ++e) {
      const unsigned row = unsigned((at + e) / k), kk = unsigned((at + e) % k);
      u64 one;
      if (random) one = exact::random_operand(precision, seed, columns, row, kk);
      else if (columns) one = exact::operand_bits(precision, exact::column_value(seed, coefficient, basis, row, kk));
      else one = exact::operand_bits(precision, exact::row_value(seed, coefficient, basis, row, kk));
      bits |= one << (4 * e);
    }
    if (width == 4) out[at / 2] = (unsigned char)bits;
    else if (width == 8) out[at] = (unsigned char)bits;
    else if (width == 16) reinterpret_cast<unsigned short*>(out)[at] = (unsigned short)bits;
    else if (width == 32) reinterpret_cast<unsigned*>(out)[at] = unsigned(bits);
    else reinterpret_cast<u64*>(out)[at] = bits;
  }
}

#define KFAB_TENSOR_KERNEL(NAME)                                                                               \
  extern "C" __global__ void __launch_bounds__(256) kfab_gemm_##NAME(const unsigned char* a, const unsigned char* b, \
                                                                     unsigned* c, int m, int n, int k_bytes, int row_shift) { \
    gemm_tensor<exact::NAME>(a, b, c, m, n, k_bytes, row_shift);                                               \
  }
KFAB_TENSOR_KERNEL(fp16)
KFAB_TENSOR_KERNEL(bf16)
KFAB_TENSOR_KERNEL(tf32)
KFAB_TENSOR_KERNEL(int8)
KFAB_TENSOR_KERNEL(fp8)
KFAB_TENSOR_KERNEL(fp8_e5m2)
KFAB_TENSOR_KERNEL(fp4)

extern "C" __global__ void __launch_bounds__(256) kfab_gemm_fp64(const unsigned char* a, const unsigned char* b, unsigned* c,
                                                                 int m, int n, int k_bytes, int row_shift) {
  gemm_tensor_f64(reinterpret_cast<const double*>(a), reinterpret_cast<const double*>(b), reinterpret_cast<double*>(c), m, n, k_bytes / 8, row_shift);
}
extern "C" __global__ void __launch_bounds__(256) kfab_gemm_fp64_vector(const unsigned char* a, const unsigned char* b, unsigned* c,
                                                                        int m, int n, int k_bytes, int row_shift) {
  gemm_vector<double, 4>(reinterpret_cast<const double*>(a), reinterpret_cast<const double*>(b), reinterpret_cast<double*>(c), m, n, k_bytes / 8, row_shift);
}
extern "C" __global__ void __launch_bounds__(256) kfab_gemm_fp32(const unsigned char* a, const unsigned char* b, unsigned* c,
                                                                 int m, int n, int k_bytes, int row_shift) {
  gemm_vector<float, 8>(reinterpret_cast<const float*>(a), reinterpret_cast<const float*>(b), reinterpret_cast<float*>(c), m, n, k_bytes / 4, row_shift);
}

// Compares a slice of 32-bit results with the known answers. A thread keeps the coefficients of its four columns and
// walks down the rows. Grid: x = ceil(n / 1024), y = any; 256 threads. The weights are those of the rows of A, so they
// are shifted as the product was.
extern "C" __global__ void __launch_bounds__(256) kfab_verify_32(const uint4* c, int m, int n, int row_shift, const int4* row_weights,
                                                                 const int4* column_coefficients, int precision, CheckState* state) {
  Tally mine;
  const int column = (int(blockIdx.x) * 256 + int(threadIdx.x)) * 4;
  if (column < n) {
    int4 q[4];
    for (int j = 0; j < 4; ++j) q[j] = column_coefficients[column + j];
    for (int row = blockIdx.y; row < m; row += gridDim.y) {
      const int4 w = row_weights[(row + row_shift) % m];
      const u64 at = u64(row) * n + column;
      const uint4 v = c[at / 4];
      const unsigned got[4] = {v.x, v.y, v.z, v.w};
      for (int j = 0; j < 4; ++j) {
        const int value = w.x * q[j].x + w.y * q[j].y + w.z * q[j].z + w.w * q[j].w;
        const unsigned expected = precision == exact::int8 ? unsigned(value) : __float_as_uint(float(value));
        mine.digest += exact::digest_term(at + j, got[j]);
        if (got[j] != expected) note_mismatch(mine, state, at + j, expected, got[j], reinterpret_cast<const unsigned*>(c) + at + j);
      }
      mine.checked += 4;
    }
  }
  add_tally(state, mine);
}
// The same for 64-bit results; two columns a thread, grid x = ceil(n / 512). Weights and coefficients: four 64-bit
// integers each.
extern "C" __global__ void __launch_bounds__(256) kfab_verify_64(const u64* c, int m, int n, int row_shift, const long long* row_weights,
                                                                 const long long* column_coefficients, int, CheckState* state) {
  Tally mine;
  const int column = (int(blockIdx.x) * 256 + int(threadIdx.x)) * 2;
  if (column < n) {
    long long q[2][4];
    for (int j = 0; j < 2; ++j)
      for (int s = 0; s < 4; ++s) q[j][s] = column_coefficients[(column + j) * 4 + s];
    for (int row = blockIdx.y; row < m; row += gridDim.y) {
      const long long* w = row_weights + u64((row + row_shift) % m) * 4;
      const u64 at = u64(row) * n + column;
      const ulonglong2 v = *reinterpret_cast<const ulonglong2*>(c + at);
      const u64 got[2] = {v.x, v.y};
      for (int j = 0; j < 2; ++j) {
        const long long value = w[0] * q[j][0] + w[1] * q[j][1] + w[2] * q[j][2] + w[3] * q[j][3];
        const u64 expected = u64(__double_as_longlong(double(value)));
        mine.digest += exact::digest_term(at + j, got[j]);
        if (got[j] != expected) note_mismatch(mine, state, at + j, expected, got[j], c + at + j);
      }
      mine.checked += 2;
    }
  }
  add_tally(state, mine);
}

// Compares a slice with another that must be the same, bit by bit, and takes its digest: for data whose right answer only
// the hardware itself knows. `wide`: results of 64 bits. `vectors`: of 16 bytes.
extern "C" __global__ void __launch_bounds__(256) kfab_compare(const uint4* slice, const uint4* reference, u64 vectors, int wide,
                                                               CheckState* state) {
  Tally mine;
  for (u64 at = u64(blockIdx.x) * blockDim.x + threadIdx.x; at < vectors; at += u64(gridDim.x) * blockDim.x) {
    const uint4 v = slice[at], w = reference[at];
    if (wide) {
      const u64 got[2] = {u64(v.y) << 32 | v.x, u64(v.w) << 32 | v.z}, expected[2] = {u64(w.y) << 32 | w.x, u64(w.w) << 32 | w.z};
      for (int j = 0; j < 2; ++j) {
        mine.digest += exact::digest_term(at * 2 + j, got[j]);
        if (got[j] != expected[j]) note_mismatch(mine, state, at * 2 + j, expected[j], got[j], reinterpret_cast<const u64*>(slice) + at * 2 + j);
      }
      mine.checked += 2;
    } else {
      const unsigned got[4] = {v.x, v.y, v.z, v.w}, expected[4] = {w.x, w.y, w.z, w.w};
      for (int j = 0; j < 4; ++j) {
        mine.digest += exact::digest_term(at * 4 + j, got[j]);
        if (got[j] != expected[j]) note_mismatch(mine, state, at * 4 + j, expected[j], got[j], reinterpret_cast<const unsigned*>(slice) + at * 4 + j);
      }
      mine.checked += 4;
    }
  }
  add_tally(state, mine);
}

// --- memory patterns: 16 bytes a thread, neighbouring threads neighbouring addresses, four on the way at once ---

constexpr int in_flight = 4;

// `only`: 0 every word, 1 the words that modulo_20 marks, 2 the others. `base` is the place of the first word in the
// whole of what is tested. Words are pairs; `words` and `base` are even.
extern "C" __global__ void __launch_bounds__(512) kfab_memory_fill(ulonglong2* p, u64 words, u64 base, int pattern, u64 parameter,
                                                                   u64 flip, int only) {
  const u64 pairs = words / 2, step = u64(gridDim.x) * blockDim.x, marked = parameter & 31;
  const u64 mine = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  u64* single = reinterpret_cast<u64*>(p);
  if (only == 1) {   // one word in twenty, and nobody visits the others
    const u64 first = (marked + 20 - exact::place_of_20(base)) % 20;
    for (u64 at = first + 20 * mine; at < words; at += 20 * step) single[at] = exact::pattern_word(pattern, base + at, parameter) ^ flip;
    return;
  }
  for (u64 at = mine; at < pairs; at += step) {
    const u64 index = base + at * 2;
    const exact::Pair words_here = exact::pattern_pair(pattern, index, parameter);
    ulonglong2 v;
    v.x = words_here.first ^ flip;
    v.y = words_here.second ^ flip;
    const u64 place = only == 2 ? exact::place_of_20(index) : 0;
    if (only == 2 && place == marked) single[at * 2 + 1] = v.y;
    else if (only == 2 && place + 1 == marked) single[at * 2] = v.x;
    else p[at] = v;
  }
}
// Compares, and with `rewrite` leaves the complement of what should be there.
extern "C" __global__ void __launch_bounds__(512) kfab_memory_check(ulonglong2* p, u64 words, u64 base, int pattern, u64 parameter,
                                                                    u64 flip, int rewrite, CheckState* state) {
  Tally mine;
  const u64 pairs = words / 2, step = u64(gridDim.x) * blockDim.x;
  for (u64 from = u64(blockIdx.x) * blockDim.x + threadIdx.x; from < pairs; from += step * in_flight) {
    ulonglong2 v[in_flight];
#pragma unroll
    for (int i = 0; i < in_flight; ++i)
      if (from + step * i < pairs) v[i] = p[from + step * i];
#pragma unroll
    for (int i = 0; i < in_flight; ++i) {
      const u64 at = from + step * i, index = base + at * 2;
      if (at >= pairs) break;
      const exact::Pair right = exact::pattern_pair(pattern, index, parameter);
      const u64 first = right.first ^ flip, second = right.second ^ flip;
      mine.checked += 2;
      mine.digest += v[i].x + v[i].y;
      if (v[i].x != first) note_mismatch(mine, state, index, first, v[i].x, reinterpret_cast<const u64*>(p) + at * 2);
      if (v[i].y != second) note_mismatch(mine, state, index + 1, second, v[i].y, reinterpret_cast<const u64*>(p) + at * 2 + 1);
      if (rewrite) {
        ulonglong2 out;
        out.x = ~first;
        out.y = ~second;
        p[at] = out;
      }
    }
  }
  add_tally(state, mine);
}
// The two moves of exact.hpp: `back` 0 from the lower half of each window to the upper, 1 from there to the lower.
extern "C" __global__ void __launch_bounds__(512) kfab_memory_move(ulonglong2* p, u64 words, int back) {
  const u64 pairs = words / exact::window_words * exact::half_words / 2, step = u64(gridDim.x) * blockDim.x;   // that move
  for (u64 first = u64(blockIdx.x) * blockDim.x + threadIdx.x; first < pairs; first += step * in_flight) {
    ulonglong2 v[in_flight];
    u64 to[in_flight];
#pragma unroll
    for (int i = 0; i < in_flight; ++i) {
      const u64 at = first + step * i;
      if (at >= pairs) break;
      const u64 window = at * 2 / exact::half_words * exact::window_words, in_half = at * 2 % exact::half_words;
      to[i] = window + (back ? exact::moved_back(in_half) : exact::half_words + exact::moved_forth(in_half));
      v[i] = p[(window + in_half + (back ? exact::half_words : 0)) / 2];
    }
#pragma unroll
    for (int i = 0; i < in_flight; ++i)
      if (first + step * i < pairs) p[to[i] / 2] = v[i];
  }
}

// --- copies ---

extern "C" __global__ void __launch_bounds__(512) kfab_copy_fill(u64* p, u64 words, u64 seed) {
  for (u64 at = u64(blockIdx.x) * blockDim.x + threadIdx.x; at < words; at += u64(gridDim.x) * blockDim.x)
    p[at] = exact::copy_word(at, seed);
}
extern "C" __global__ void __launch_bounds__(512) kfab_copy_check(const u64* p, u64 words, u64 seed, CheckState* state) {
  Tally mine;
  for (u64 at = u64(blockIdx.x) * blockDim.x + threadIdx.x; at < words; at += u64(gridDim.x) * blockDim.x) {
    const u64 got = p[at], expected = exact::copy_word(at, seed);
    ++mine.checked;
    if (got != expected) note_mismatch(mine, state, at, expected, got, p + at);
  }
  add_tally(state, mine);
}

// A copy by the multiprocessors: 16 bytes a thread, eight on the way at once.
extern "C" __global__ void __launch_bounds__(512) kfab_copy_sm(uint4* to, const uint4* from, u64 vectors) {
  constexpr int at_once = 8;
  const u64 step = u64(gridDim.x) * blockDim.x;
  u64 at = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  for (; at + step * (at_once - 1) < vectors; at += step * at_once) {
    uint4 v[at_once];
#pragma unroll
    for (int i = 0; i < at_once; ++i) v[i] = from[at + step * i];
#pragma unroll
    for (int i = 0; i < at_once; ++i) to[at + step * i] = v[i];
  }
  for (; at < vectors; at += step) to[at] = from[at];
}
// One read after the other, each of which says where the next one is; past the caches of the multiprocessor.
extern "C" __global__ void kfab_chase(const u64* start, u64 hops, u64* out) {
  const u64* at = start;
  for (u64 i = 0; i < hops; ++i) at = reinterpret_cast<const u64*>(read_again(at));
  *out = reinterpret_cast<u64>(at);
}

// Holds a stream until the host writes the latch, so that everything behind it is queued before the first byte moves; gives
// up after `limit_ns`, so that a host that dies leaves no kernel behind.
extern "C" __global__ void kfab_spin(volatile int* latch, u64 limit_ns) {
  const u64 start = nanoseconds();
  while (*latch == 0 && nanoseconds() - start < limit_ns) {
  }
}

// STREAM's four in one: 0 c = a, 1 b = 2 c, 2 c = a + b, 3 a = b + 2 c; with the scalar 2, a round multiplies `a` by
// eight, so that every value stays exact for hundreds of rounds. 4: a = start values.
extern "C" __global__ void __launch_bounds__(512) kfab_stream(double2* a, double2* b, double2* c, u64 pairs, int operation) {
  for (u64 at = u64(blockIdx.x) * blockDim.x + threadIdx.x; at < pairs; at += u64(gridDim.x) * blockDim.x) {
    if (operation == 0) {
      c[at] = a[at];
    } else if (operation == 1) {
      const double2 v = c[at];
      b[at] = make_double2(2 * v.x, 2 * v.y);
    } else if (operation == 2) {
      const double2 v = a[at], w = b[at];
      c[at] = make_double2(v.x + w.x, v.y + w.y);
    } else if (operation == 3) {
      const double2 v = b[at], w = c[at];
      a[at] = make_double2(v.x + 2 * w.x, v.y + 2 * w.y);
    } else {
      a[at] = make_double2(double((at * 2) % 65521 + 1), double((at * 2 + 1) % 65521 + 1));
    }
  }
}
// After `rounds` rounds: a = start 8^rounds, b = 2 x start 8^(rounds-1), c = 3 x start 8^(rounds-1). `factor` is the bits
// of that power of eight, or its multiple.
extern "C" __global__ void __launch_bounds__(512) kfab_stream_check(const u64* p, u64 elements, double factor, CheckState* state) {
  Tally mine;
  for (u64 at = u64(blockIdx.x) * blockDim.x + threadIdx.x; at < elements; at += u64(gridDim.x) * blockDim.x) {
    const u64 got = p[at], expected = u64(__double_as_longlong(double(at % 65521 + 1) * factor));
    ++mine.checked;
    if (got != expected) note_mismatch(mine, state, at, expected, got, p + at);
  }
  add_tally(state, mine);
}

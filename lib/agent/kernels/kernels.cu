// All that runs on a GPU. One file and few includes: it is compiled once for each architecture. No fmt, no runtime API.

#include "gemm.cuh"

using namespace kfab;
using kfab::exact::CheckState;
using u64 = unsigned long long;

namespace kfab::kernels {

// A block's part of a check, added to the whole once by its first thread.
struct Tally { u64 checked, mismatches, digest; };

KFAB_DEVICE void note_mismatch(CheckState* state, u64 index, u64 expected, u64 got, u64 second_read) {
  auto* s = reinterpret_cast<u64*>(state);   // the order of members of CheckState
  atomicOr(s + 3, expected ^ got);
  atomicMin(s + 4, index);
  atomicMax(s + 5, index);
  const u64 at = atomicAdd(s + 6, u64{1});
  if (at < exact::max_records) {
    state->records[at].index = index;
    state->records[at].expected = expected;
    state->records[at].got = got;
    state->records[at].second_read = second_read;
  }
}
KFAB_DEVICE void add_tally(CheckState* state, const Tally& mine) {
  __shared__ u64 total[3];
  if (threadIdx.x < 3) total[threadIdx.x] = 0;
  __syncthreads();
  atomicAdd(&total[0], mine.checked);
  atomicAdd(&total[1], mine.mismatches);
  atomicAdd(&total[2], mine.digest);
  __syncthreads();
  if (threadIdx.x < 3) atomicAdd(reinterpret_cast<u64*>(state) + threadIdx.x, total[threadIdx.x]);
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
  Tally mine{0, 0, 0};
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
        if (got[j] != expected) {
          ++mine.mismatches;
          note_mismatch(state, at + j, expected, got[j], read_again(reinterpret_cast<const unsigned*>(c) + at + j));
        }
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
  Tally mine{0, 0, 0};
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
        if (got[j] != expected) {
          ++mine.mismatches;
          note_mismatch(state, at + j, expected, got[j], read_again(c + at + j));
        }
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
  Tally mine{0, 0, 0};
  for (u64 at = u64(blockIdx.x) * blockDim.x + threadIdx.x; at < vectors; at += u64(gridDim.x) * blockDim.x) {
    const uint4 v = slice[at], w = reference[at];
    if (wide) {
      const u64 got[2] = {u64(v.y) << 32 | v.x, u64(v.w) << 32 | v.z}, expected[2] = {u64(w.y) << 32 | w.x, u64(w.w) << 32 | w.z};
      for (int j = 0; j < 2; ++j) {
        mine.digest += exact::digest_term(at * 2 + j, got[j]);
        if (got[j] != expected[j]) {
          ++mine.mismatches;
          note_mismatch(state, at * 2 + j, expected[j], got[j], read_again(reinterpret_cast<const u64*>(slice) + at * 2 + j));
        }
      }
      mine.checked += 2;
    } else {
      const unsigned got[4] = {v.x, v.y, v.z, v.w}, expected[4] = {w.x, w.y, w.z, w.w};
      for (int j = 0; j < 4; ++j) {
        mine.digest += exact::digest_term(at * 4 + j, got[j]);
        if (got[j] != expected[j]) {
          ++mine.mismatches;
          note_mismatch(state, at * 4 + j, expected[j], got[j], read_again(reinterpret_cast<const unsigned*>(slice) + at * 4 + j));
        }
      }
      mine.checked += 4;
    }
  }
  add_tally(state, mine);
}

// --- memory patterns: 16 bytes a thread, neighbouring threads neighbouring addresses, four on the way at once ---

constexpr int in_flight = 4;

// `only`: 0 every word, 1 the words that modulo_20 marks, 2 the others. `base` is the place of the first word in the
// whole of what is tested. Words are pairs; `words` is even.
extern "C" __global__ void __launch_bounds__(512) kfab_memory_fill(ulonglong2* p, u64 words, u64 base, int pattern, u64 parameter,
                                                                   u64 flip, int only) {
  const u64 pairs = words / 2, step = u64(gridDim.x) * blockDim.x;
  for (u64 at = u64(blockIdx.x) * blockDim.x + threadIdx.x; at < pairs; at += step) {
    const u64 index = base + at * 2;
    bool first = true, second = true;
    if (only != 0) {
      const u64 place = index % 20, marked = parameter & 31;
      first = (place == marked) == (only == 1);
      second = ((place == 19 ? 0 : place + 1) == marked) == (only == 1);
    }
    ulonglong2 v;
    v.x = exact::pattern_word(pattern, index, parameter) ^ flip;
    v.y = exact::pattern_word(pattern, index + 1, parameter) ^ flip;
    if (first && second) {
      p[at] = v;
    } else {
      if (first) reinterpret_cast<u64*>(p + at)[0] = v.x;
      if (second) reinterpret_cast<u64*>(p + at)[1] = v.y;
    }
  }
}
// Compares, and with `rewrite` leaves the complement of what should be there.
extern "C" __global__ void __launch_bounds__(512) kfab_memory_check(ulonglong2* p, u64 words, u64 base, int pattern, u64 parameter,
                                                                    u64 flip, int rewrite, CheckState* state) {
  Tally mine{0, 0, 0};
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
      const u64 first = exact::pattern_word(pattern, index, parameter) ^ flip, second = exact::pattern_word(pattern, index + 1, parameter) ^ flip;
      mine.checked += 2;
      mine.digest += v[i].x + v[i].y;
      if (v[i].x != first) {
        ++mine.mismatches;
        note_mismatch(state, index, first, v[i].x, read_again(reinterpret_cast<const u64*>(p) + at * 2));
      }
      if (v[i].y != second) {
        ++mine.mismatches;
        note_mismatch(state, index + 1, second, v[i].y, read_again(reinterpret_cast<const u64*>(p) + at * 2 + 1));
      }
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
  const u64 pairs = words / exact::window_words * exact::half_words / 2;   // that move
  for (u64 at = u64(blockIdx.x) * blockDim.x + threadIdx.x; at < pairs; at += u64(gridDim.x) * blockDim.x) {
    const u64 window = at * 2 / exact::half_words * exact::window_words, in_half = at * 2 % exact::half_words;
    const u64 from = window + in_half + (back ? exact::half_words : 0);
    const u64 to = window + (back ? exact::moved_back(in_half) : exact::half_words + exact::moved_forth(in_half));
    p[to / 2] = p[from / 2];
  }
}

// --- copies ---

extern "C" __global__ void __launch_bounds__(512) kfab_copy_fill(u64* p, u64 words, u64 seed) {
  for (u64 at = u64(blockIdx.x) * blockDim.x + threadIdx.x; at < words; at += u64(gridDim.x) * blockDim.x)
    p[at] = exact::copy_word(at, seed);
}
extern "C" __global__ void __launch_bounds__(512) kfab_copy_check(const u64* p, u64 words, u64 seed, CheckState* state) {
  Tally mine{0, 0, 0};
  for (u64 at = u64(blockIdx.x) * blockDim.x + threadIdx.x; at < words; at += u64(gridDim.x) * blockDim.x) {
    const u64 got = p[at], expected = exact::copy_word(at, seed);
    ++mine.checked;
    if (got != expected) {
      ++mine.mismatches;
      note_mismatch(state, at, expected, got, read_again(p + at));
    }
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
  Tally mine{0, 0, 0};
  for (u64 at = u64(blockIdx.x) * blockDim.x + threadIdx.x; at < elements; at += u64(gridDim.x) * blockDim.x) {
    const u64 got = p[at], expected = u64(__double_as_longlong(double(at % 65521 + 1) * factor));
    ++mine.checked;
    if (got != expected) {
      ++mine.mismatches;
      note_mismatch(state, at, expected, got, read_again(p + at));
    }
  }
  add_tally(state, mine);
}

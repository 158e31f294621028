#pragma once

// Runs the text of kernels.cu on a processor: each CUDA thread is a fiber, blocks run one after the other, barriers and the
// operations of a whole warp are meetings. So the tiling, the order of chunks in shared memory, fragments, tails and
// comparisons that a GPU would execute are executed here; only the instructions of primitives.cuh are stood in for, by the
// layouts of the PTX ISA. Hopper's copies of tiles, its barriers that count bytes and its products of a warpgroup as well
// (hopper.cuh), and Blackwell's tensor memory and its products that one thread asks for (blackwell.cuh). What it cannot show: timing, races between blocks, and a missing wait for something asynchronous.

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <type_traits>
#include <vector>

#define KFAB_EMULATE
#include "agent/kernels/exact.hpp"

#define KFAB_DEVICE inline
#define __global__
#define __shared__ static
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)
#define __grid_constant__

struct uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(16) double2 { double x, y; };
struct alignas(16) ulonglong2 { unsigned long long x, y; };
struct Index3 { unsigned x, y, z; };
inline double2 make_double2(double x, double y) { return {x, y}; }

namespace emulator {

constexpr int most_threads = 512;
constexpr std::size_t stack_bytes = 64 * 1024;

struct Fiber {
  ucontext_t context;   // to enter its stack; from then on jumps, which cost no system call
  jmp_buf place;
  bool started = false;
  Index3 thread{};
  bool done = false;
  const unsigned* generation = nullptr;   // waits until this is no longer `seen`
  unsigned seen = 0;
};

// A meeting of a warp: each lane leaves pointers to its registers; the last one works for all.
struct Warp {
  int arrived = 0;
  unsigned generation = 0;
  void* operand[3][32];
};

// The same of a warpgroup.
struct Group {
  int arrived = 0;
  unsigned generation = 0;
  void* sums[128];
};

struct Machine {
  std::vector<Fiber> fibers = std::vector<Fiber>(most_threads);
  std::unique_ptr<char[]> stacks{new char[most_threads * stack_bytes]};
  std::vector<Warp> warps = std::vector<Warp>(most_threads / 32);
  std::vector<Group> groups = std::vector<Group>(most_threads / 128);
  jmp_buf scheduler;
  Fiber* current = nullptr;
  int alive = 0, arrived = 0;
  unsigned generation = 0;
  Index3 block{}, block_dim{}, grid_dim{};
  std::function<void()> body;
};
inline Machine machine;

[[gnu::noinline]] inline void leave(Fiber& self) {
  if (_setjmp(self.place) == 0) _longjmp(machine.scheduler, 1);
}
[[gnu::noinline]] inline void resume(Fiber& fiber) {
  machine.current = &fiber;
  if (_setjmp(machine.scheduler) != 0) return;
  if (fiber.started) _longjmp(fiber.place, 1);
  fiber.started = true;
  setcontext(&fiber.context);
}

inline void wait_for(const unsigned& generation) {
  Fiber& self = *machine.current;
  self.generation = &generation;
  self.seen = generation;
  leave(self);
}

inline void meet_block() {
  if (++machine.arrived == machine.alive) {
    machine.arrived = 0;
    ++machine.generation;
  } else {
    wait_for(machine.generation);
  }
}

template <class F>
void meet_warp(void* a, void* b, void* c, F&& work) {
  const unsigned thread = machine.current->thread.x;
  Warp& warp = machine.warps[thread / 32];
  warp.operand[0][thread % 32] = a;
  warp.operand[1][thread % 32] = b;
  warp.operand[2][thread % 32] = c;
  if (++warp.arrived == 32) {
    warp.arrived = 0;
    work(warp);
    ++warp.generation;
  } else {
    wait_for(warp.generation);
  }
}

// A fiber lives as long as the machine: when its thread is over, it waits to be the same thread of the next block.
inline void enter() {
  for (;;) {
    machine.body();
    machine.current->done = true;
    --machine.alive;
    leave(*machine.current);
  }
}

// A stack of its own for a fiber that has not run yet.
[[gnu::noinline]] inline void prepare(unsigned i) {
  Fiber& fiber = machine.fibers[i];
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = machine.stacks.get() + i * stack_bytes;
  fiber.context.uc_stack.ss_size = stack_bytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, enter, 0);
}

inline void run_block(unsigned threads) {
  machine.alive = int(threads);
  machine.arrived = 0;
  for (unsigned i = 0; i < threads; ++i) {
    Fiber& fiber = machine.fibers[i];
    fiber.thread = {i, 0, 0};
    fiber.done = false;
    fiber.generation = nullptr;
    if (!fiber.started) prepare(i);
  }
  while (machine.alive > 0) {
    for (unsigned i = 0; i < threads; ++i) {
      Fiber& fiber = machine.fibers[i];
      if (fiber.done || (fiber.generation && *fiber.generation == fiber.seen)) continue;
      fiber.generation = nullptr;
      resume(fiber);
    }
  }
}

inline void launch(unsigned gx, unsigned gy, unsigned threads, std::function<void()> body) {
  machine.body = std::move(body);
  machine.block_dim = {threads, 1, 1};
  machine.grid_dim = {gx, gy, 1};
  for (unsigned y = 0; y < gy; ++y)
    for (unsigned x = 0; x < gx; ++x) {
      machine.block = {x, y, 0};
      run_block(threads);
    }
}

// The value of one element of an operand register, by its format.
inline float half_value(unsigned bits) {
  const int exponent = int(bits >> 10 & 31), fraction = int(bits & 1023);
  const float magnitude = exponent ? std::ldexp(float(1024 + fraction), exponent - 25) : std::ldexp(float(fraction), -24);
  return bits & 0x8000 ? -magnitude : magnitude;
}
inline float e4m3_value(unsigned bits) {
  const int exponent = int(bits >> 3 & 15), fraction = int(bits & 7);
  const float magnitude = exponent ? std::ldexp(float(8 + fraction), exponent - 10) : std::ldexp(float(fraction), -9);
  return bits & 0x80 ? -magnitude : magnitude;
}
inline float e5m2_value(unsigned bits) { return half_value(bits << 8); }
inline float e2m1_value(unsigned bits) {
  constexpr float magnitudes[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  return bits & 8 ? -magnitudes[bits & 7] : magnitudes[bits & 7];
}
// Tables, for these are asked for millions of times.
template <std::size_t count, float (*value)(unsigned)>
const float* table() {
  static const std::vector<float> all = [] {
    std::vector<float> out(count);
    for (unsigned bits = 0; bits < count; ++bits) out[bits] = value(bits);
    return out;
  }();
  return all.data();
}
// Element `e` of packed bytes.
inline float element(int precision, const unsigned char* from, int e) {
  const int width = kfab::exact::shapes[precision].operand_width;
  const unsigned char* at = from + e * width / 8;
  std::uint16_t half = 0;
  std::uint32_t word = 0;
  switch (precision) {
    case kfab::exact::fp16: std::memcpy(&half, at, 2); return table<65536, half_value>()[half];
    case kfab::exact::bf16: std::memcpy(&half, at, 2); return std::bit_cast<float>(std::uint32_t{half} << 16);
    case kfab::exact::fp8: return table<256, e4m3_value>()[*at];
    case kfab::exact::fp8_e5m2: return table<256, e5m2_value>()[*at];
    case kfab::exact::fp4: return e2m1_value(e % 2 ? *at >> 4 : *at & 15);
    case kfab::exact::int8: return float(static_cast<signed char>(*at));
    default: std::memcpy(&word, at, 4); return std::bit_cast<float>(word & 0xffffe000u);   // tf32: ten bits of fraction
  }
}

// m16n8k(32 bytes): gathers A and B from the lanes' registers by the layout of the PTX ISA, multiplies, adds to D.
template <int precision, class Accumulator>
void mma_16_8(Accumulator (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  meet_warp(d, const_cast<unsigned*>(a), const_cast<unsigned*>(b), [](Warp& warp) {
    constexpr int width = kfab::exact::shapes[precision].operand_width, depth = 256 / width;
    static float am[16][depth], bm[depth][8];
    for (int lane = 0; lane < 32; ++lane) {
      const int group = lane >> 2, in_group = lane & 3, per_register = 32 / width;
      const auto* ar = static_cast<const unsigned*>(warp.operand[1][lane]);
      const auto* br = static_cast<const unsigned*>(warp.operand[2][lane]);
      for (int r = 0; r < 4; ++r) {
        unsigned char raw[4];
        std::memcpy(raw, &ar[r], 4);
        const int row = r & 1 ? group + 8 : group, first = in_group * per_register + (r >= 2 ? depth / 2 : 0);
        for (int e = 0; e < per_register; ++e) am[row][first + e] = element(precision, raw, e);
      }
      for (int r = 0; r < 2; ++r) {
        unsigned char raw[4];
        std::memcpy(raw, &br[r], 4);
        const int first = in_group * per_register + (r ? depth / 2 : 0);
        for (int e = 0; e < per_register; ++e) bm[first + e][group] = element(precision, raw, e);
      }
    }
    Accumulator products[16][8] = {};
    for (int row = 0; row < 16; ++row)
      for (int k = 0; k < depth; ++k)
        for (int column = 0; column < 8; ++column) products[row][column] += Accumulator(am[row][k]) * Accumulator(bm[k][column]);
    for (int lane = 0; lane < 32; ++lane) {
      auto* dr = static_cast<Accumulator*>(warp.operand[0][lane]);
      for (int i = 0; i < 4; ++i) dr[i] += products[(lane >> 2) + (i >= 2 ? 8 : 0)][(lane & 3) * 2 + (i & 1)];
    }
  });
}

// --- Hopper ---

constexpr std::size_t shared_bytes = 227 * 1024;
alignas(1024) inline unsigned char dynamic[shared_bytes];

// A barrier in its 64 bits: arrivals of a phase, those still missing, bytes still to come, and which phase it is in.
struct Barrier { unsigned short expected, missing; int bytes : 31; unsigned phase : 1; };
static_assert(sizeof(Barrier) == 8);
inline Barrier& barrier_at(unsigned long long* p) { return *reinterpret_cast<Barrier*>(p); }
inline void settle(Barrier& barrier) {
  if (barrier.missing != 0 || barrier.bytes != 0) return;
  barrier.missing = barrier.expected;
  barrier.phase ^= 1;
}

inline int lose_tiles = 0;   // so many of the next copies of tiles never arrive

// What the fake driver encodes into a CUtensorMap: bytes, two dimensions, swizzled over 128 bytes.
struct TensorMap { const unsigned char* base; unsigned long long width, height, stride; unsigned box_width, box_height; };

// The place of byte `byte` of row `row` in shared memory, by a matrix descriptor.
inline const unsigned char* described(unsigned long long descriptor, int row, int byte) {
  const unsigned start = unsigned(descriptor & 0x3fff) << 4, groups = unsigned(descriptor >> 32 & 0x3fff) << 4;
  unsigned at = start + unsigned(row / 8) * groups + unsigned(row % 8) * 128 + unsigned(byte);
  if (descriptor >> 62 == 1) at ^= (at >> 7 & 7) << 4;
  return dynamic + at;
}

template <int precision, class Sum, std::size_t held>
void group_product(Sum (&d)[held], unsigned long long a, unsigned long long b, int keep) {
  const unsigned thread = machine.current->thread.x;
  Group& group = machine.groups[thread / 128];
  group.sums[thread % 128] = d;
  if (++group.arrived < 128) return wait_for(group.generation);
  group.arrived = 0;
  constexpr int columns = int(held) * 2, depth = 256 / kfab::exact::shapes[precision].operand_width;
  static float am[64][depth], bm[depth][columns];
  static Sum products[64][columns];
  unsigned char line[32];
  const auto read = [&](unsigned long long descriptor, int row) {
    for (int chunk = 0; chunk < 32; chunk += 16) std::memcpy(line + chunk, described(descriptor, row, chunk), 16);
  };
  for (int row = 0; row < 64; ++row) {
    read(a, row);
    for (int k = 0; k < depth; ++k) am[row][k] = element(precision, line, k);
  }
  for (int column = 0; column < columns; ++column) {
    read(b, column);
    for (int k = 0; k < depth; ++k) bm[k][column] = element(precision, line, k);
  }
  for (int row = 0; row < 64; ++row) {
    std::fill_n(products[row], columns, Sum{});
    for (int k = 0; k < depth; ++k)
      for (int column = 0; column < columns; ++column) products[row][column] += Sum(am[row][k]) * Sum(bm[k][column]);
  }
  for (int t = 0; t < 128; ++t) {
    auto* sums = static_cast<Sum*>(group.sums[t]);
    for (int i = 0; i < int(held); ++i) {
      const Sum one = products[t / 32 * 16 + t % 32 / 4 + (i & 2) * 4][i / 4 * 8 + t % 4 * 2 + (i & 1)];
      sums[i] = keep ? sums[i] + one : one;
    }
  }
  ++group.generation;
}

// --- Blackwell ---

constexpr int tensor_lanes = 128, tensor_width = 512;
inline unsigned tensor_memory[tensor_lanes][tensor_width];
inline int tensor_taken = 0;            // blocks that hold it: never more than one, and none at the end
inline int tensor_faults = 0;           // uses of tensor memory, or of a descriptor, that the ISA forbids
inline int skip_commits = 0;            // so many of the next commits arrive nowhere

inline void fault_unless(bool right) { tensor_faults += !right; }

// What an instruction descriptor asks for, decoded bit by bit as the ISA has it; shares nothing with how it was made.
struct Instruction { int rows, columns, result, operand; bool plain; };
inline Instruction decode(unsigned bits) {
  const auto field = [&](int from, int width) { return int(bits >> from & ((1u << width) - 1)); };
  return {field(24, 5) * 16, field(17, 6) * 8, field(4, 2), field(7, 3),
          field(7, 3) == field(10, 3) && field(0, 4) == 0 && field(6, 1) == 0 && field(13, 4) == 0 && field(23, 1) == 0 && field(29, 3) == 0};
}

// The same of a kind with scale factors: where others have the format of results, and above, stand which of them come first; bit 23
// says that they are powers of two.
inline Instruction decode_scaled(unsigned bits) {
  Instruction out = decode(bits & ~(1u << 23));
  out.plain = out.plain && out.result == 0 && (bits >> 23 & 1) == 1;
  out.result = 1;
  return out;
}
// Whether the scale factors that a product may read are all 2^0: nothing else is emulated.
inline void fault_unless_ones(unsigned scales) {
  for (int lane = 0; lane < tensor_lanes; ++lane)
    for (unsigned column = 0; column < 8; ++column)
      fault_unless((scales >> 16) == 0 && scales % 4 == 0 && scales + column < unsigned(tensor_width) && tensor_memory[lane][(scales + column) % unsigned(tensor_width)] == 0x7f7f7f7fu);
}

template <int precision>
void tensor_product(unsigned to, unsigned long long a, unsigned long long b, unsigned bits, int keep) {
  using kfab::exact::shapes;
  constexpr int depth = 256 / shapes[precision].operand_width;
  const Instruction asked = precision == kfab::exact::fp4 ? decode_scaled(bits) : decode(bits);
  constexpr int operand = precision == kfab::exact::bf16 || precision == kfab::exact::fp8_e5m2 || precision == kfab::exact::int8 || precision == kfab::exact::fp4 ? 1 : precision == kfab::exact::tf32 ? 2 : 0;
  const unsigned column = to & 0xffff;
  fault_unless(asked.plain && asked.operand == operand && asked.result == (precision == kfab::exact::int8 ? 2 : 1));
  fault_unless(asked.rows == 128 && asked.columns % 16 == 0 && asked.columns >= 16 && asked.columns <= 256 && (to >> 16) == 0 && column + unsigned(asked.columns) <= tensor_width);
  for (const auto one : {a, b}) fault_unless((one >> 46 & 7) == 1 && (one >> 61) == 2 && (one >> 49 & 0xfff) == 0);
  fault_unless(tensor_taken == 1);
  if (tensor_faults) return;
  static float am[128][depth], bm[depth][256];
  unsigned char line[32];
  const auto read = [&](unsigned long long descriptor, int row) {
    for (int chunk = 0; chunk < 32; chunk += 16) std::memcpy(line + chunk, described(descriptor, row, chunk), 16);
  };
  for (int row = 0; row < asked.rows; ++row) {
    read(a, row);
    for (int k = 0; k < depth; ++k) am[row][k] = element(precision, line, k);
  }
  for (int j = 0; j < asked.columns; ++j) {
    read(b, j);
    for (int k = 0; k < depth; ++k) bm[k][j] = element(precision, line, k);
  }
  using Sum = std::conditional_t<precision == kfab::exact::int8, int, float>;
  for (int row = 0; row < asked.rows; ++row) {
    Sum sums[256] = {};
    for (int k = 0; k < depth; ++k)
      for (int j = 0; j < asked.columns; ++j) sums[j] += Sum(am[row][k]) * Sum(bm[k][j]);
    for (int j = 0; j < asked.columns; ++j) {
      unsigned& cell = tensor_memory[row][column + unsigned(j)];
      cell = std::bit_cast<unsigned>(keep ? std::bit_cast<Sum>(cell) + sums[j] : sums[j]);
    }
  }
}

}  // namespace emulator

#define threadIdx (emulator::machine.current->thread)
#define blockIdx (emulator::machine.block)
#define blockDim (emulator::machine.block_dim)
#define gridDim (emulator::machine.grid_dim)
#define __syncthreads() emulator::meet_block()

inline unsigned long long atomicAdd(unsigned long long* p, unsigned long long v) { const auto old = *p; *p += v; return old; }
inline void atomicOr(unsigned long long* p, unsigned long long v) { *p |= v; }
inline void atomicMin(unsigned long long* p, unsigned long long v) { *p = v < *p ? v : *p; }
inline void atomicMax(unsigned long long* p, unsigned long long v) { *p = v > *p ? v : *p; }
inline unsigned __float_as_uint(float v) { return std::bit_cast<unsigned>(v); }
inline long long __double_as_longlong(double v) { return std::bit_cast<long long>(v); }

namespace kfab::kernels {

inline void copy_async_16(void* shared, const void* global) { std::memcpy(shared, global, 16); }
inline void commit_copies() {}
template <int>
void wait_copies() {}

inline void load_matrix_x4(unsigned (&r)[4], const void* row) {
  emulator::meet_warp(r, const_cast<void*>(row), nullptr, [](emulator::Warp& warp) {
    for (int lane = 0; lane < 32; ++lane)
      for (int matrix = 0; matrix < 4; ++matrix)
        std::memcpy(static_cast<unsigned*>(warp.operand[0][lane]) + matrix,
                    static_cast<const char*>(warp.operand[1][matrix * 8 + lane / 4]) + lane % 4 * 4, 4);
  });
}
template <int precision>
void multiply_add(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { emulator::mma_16_8<precision>(d, a, b); }
template <int precision>
void multiply_add(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { emulator::mma_16_8<precision>(d, a, b); }
inline void multiply_add_f64(double (&d)[2], double a, double b) {
  emulator::meet_warp(d, &a, &b, [](emulator::Warp& warp) {
    double am[8][4], bm[4][8];
    for (int lane = 0; lane < 32; ++lane) {
      am[lane / 4][lane % 4] = *static_cast<const double*>(warp.operand[1][lane]);
      bm[lane % 4][lane / 4] = *static_cast<const double*>(warp.operand[2][lane]);
    }
    for (int lane = 0; lane < 32; ++lane)
      for (int i = 0; i < 2; ++i)
        for (int k = 0; k < 4; ++k) static_cast<double*>(warp.operand[0][lane])[i] += am[lane / 4][k] * bm[k][lane % 4 * 2 + i];
  });
}
template <int count>
void sum_of_warp(unsigned long long (&values)[count]) {
  emulator::meet_warp(values, nullptr, nullptr, [](emulator::Warp& warp) {
    auto* first = static_cast<unsigned long long*>(warp.operand[0][0]);
    for (int lane = 1; lane < 32; ++lane)
      for (int i = 0; i < count; ++i) first[i] += static_cast<unsigned long long*>(warp.operand[0][lane])[i];
  });
}
inline unsigned long long read_again(const unsigned long long* p) { return *p; }
inline unsigned read_again(const unsigned* p) { return *p; }
// Each look at the clock takes a while, so that a wait without end comes to one.
inline unsigned long long nanoseconds() {
  static unsigned long long now = 0;
  return now += 1'000;
}

inline unsigned char* dynamic_shared() { return emulator::dynamic; }
inline unsigned shared_address(const void* p) { return unsigned(static_cast<const unsigned char*>(p) - emulator::dynamic); }
inline void barrier_init(unsigned long long* p, unsigned arrivals) {
  emulator::barrier_at(p) = {static_cast<unsigned short>(arrivals), static_cast<unsigned short>(arrivals), 0, 0};
}
inline void barriers_ready() {}
inline void barrier_arrive(unsigned long long* p) {
  --emulator::barrier_at(p).missing;
  emulator::settle(emulator::barrier_at(p));
}
inline void barrier_expect(unsigned long long* p, unsigned bytes) {
  emulator::barrier_at(p).bytes += int(bytes);
  barrier_arrive(p);
}
// A wait that is not over lets the other threads on.
inline bool barrier_try(unsigned long long* p, unsigned parity) {
  if (emulator::barrier_at(p).phase != (parity & 1)) return true;
  emulator::leave(*emulator::machine.current);
  return emulator::barrier_at(p).phase != (parity & 1);
}
inline void tensor_load(void* shared, const void* encoded, int x, int y, unsigned long long* barrier) {
  if (emulator::lose_tiles > 0) {
    --emulator::lose_tiles;
    return;
  }
  emulator::TensorMap map;
  std::memcpy(&map, encoded, sizeof map);
  for (unsigned row = 0; row < map.box_height; ++row)
    for (unsigned byte = 0; byte < map.box_width; byte += 16) {
      unsigned at = shared_address(shared) + row * 128 + byte;
      at ^= (at >> 7 & 7) << 4;
      const bool inside = unsigned(y) + row < map.height && unsigned(x) + byte + 16 <= map.width;
      if (inside) std::memcpy(emulator::dynamic + at, map.base + (unsigned(y) + row) * map.stride + unsigned(x) + byte, 16);
      else std::memset(emulator::dynamic + at, 0, 16);
    }
  emulator::barrier_at(barrier).bytes -= int(map.box_width * map.box_height);
  emulator::settle(emulator::barrier_at(barrier));
}
inline void group_fence() {}
inline void group_commit() {}
template <int>
void group_wait() {}
template <int>
void give_registers() {}
template <int>
void take_registers() {}
inline int same_in_warp(int v) { return v; }
inline void store_streaming(uint2* to, uint2 v) { *to = v; }
inline void store_streaming(uint4* to, uint4 v) { *to = v; }
template <class T>
void hold(T&) {}
template <int precision, class Sum, std::size_t held>
void group_product(Sum (&d)[held], unsigned long long a, unsigned long long b, int keep) { emulator::group_product<precision>(d, a, b, keep); }

// Of a warp's meeting one thread does the work.
inline void tensor_take(unsigned* address) {
  emulator::meet_warp(address, nullptr, nullptr, [](emulator::Warp& warp) {
    emulator::fault_unless(++emulator::tensor_taken == 1);
    *static_cast<unsigned*>(warp.operand[0][0]) = 0;
    for (auto& lane : emulator::tensor_memory) std::fill(std::begin(lane), std::end(lane), 0xdeadbeefu);
  });
}
inline void tensor_give_back(unsigned) {
  emulator::meet_warp(nullptr, nullptr, nullptr, [](emulator::Warp&) { emulator::fault_unless(--emulator::tensor_taken == 0); });
}
inline void tensor_fence_before() {}
inline void tensor_fence_after() {}
inline void tensor_commit(unsigned long long* barrier) {
  if (emulator::skip_commits > 0) {
    --emulator::skip_commits;
    return;
  }
  barrier_arrive(barrier);
}
template <int precision>
void tensor_product(unsigned to, unsigned long long a, unsigned long long b, unsigned instruction, int keep) { emulator::tensor_product<precision>(to, a, b, instruction, keep); }
inline void tensor_product_scaled(unsigned to, unsigned long long a, unsigned long long b, unsigned instruction, unsigned scales_a, unsigned scales_b, int keep) {
  emulator::fault_unless_ones(scales_a);
  emulator::fault_unless_ones(scales_b);
  emulator::tensor_product<exact::fp4>(to, a, b, instruction, keep);
}
inline void tensor_fill(unsigned to, unsigned value) {
  emulator::meet_warp(&to, &value, nullptr, [](emulator::Warp& warp) {
    for (int lane = 0; lane < 32; ++lane) {
      const unsigned at = *static_cast<unsigned*>(warp.operand[0][lane]), row = (at >> 16) + unsigned(lane), column = at & 0xffff;
      emulator::fault_unless((at >> 16) == (emulator::machine.current->thread.x / 32 % 4) * 32 && column + 32 <= unsigned(emulator::tensor_width));
      if (!emulator::tensor_faults) std::fill_n(&emulator::tensor_memory[row][column], 32, *static_cast<unsigned*>(warp.operand[1][lane]));
    }
  });
}
inline void tensor_filled() {}
inline void tensor_read(unsigned (&r)[32], unsigned from) {
  emulator::meet_warp(r, &from, nullptr, [](emulator::Warp& warp) {
    for (int lane = 0; lane < 32; ++lane) {
      const unsigned at = *static_cast<unsigned*>(warp.operand[1][lane]), row = (at >> 16) + unsigned(lane), column = at & 0xffff;
      // A warp reaches a quarter of the lanes: that of its number by four.
      emulator::fault_unless((at >> 16) == (emulator::machine.current->thread.x / 32 % 4) * 32 && column + 32 <= unsigned(emulator::tensor_width));
      if (!emulator::tensor_faults) std::memcpy(warp.operand[0][lane], &emulator::tensor_memory[row][column], 32 * sizeof(unsigned));
    }
  });
}
inline void tensor_wait() {}
inline bool whole_warp(bool v) {
  bool all = v;
  emulator::meet_warp(&all, &v, nullptr, [](emulator::Warp& warp) {
    bool every = true;
    for (int lane = 0; lane < 32; ++lane) every = every && *static_cast<bool*>(warp.operand[1][lane]);
    for (int lane = 0; lane < 32; ++lane) *static_cast<bool*>(warp.operand[0][lane]) = every;
  });
  return all;
}

}  // namespace kfab::kernels

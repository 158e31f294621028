#pragma once

// The few things that differ between a GPU and the emulator of the tests: asynchronous copies to shared memory, matrix
// loads and matrix multiply-accumulate of one warp. Everything above them is one text for both. The layouts are those of
// the PTX ISA. Emulation (KFAB_EMULATE) is in tests/gpu/emulator.hpp, which must be included before.

#include "exact.hpp"

#if !defined(KFAB_EMULATE)
#define KFAB_DEVICE __device__ __forceinline__

namespace kfab::kernels {

KFAB_DEVICE unsigned shared_address(const void* p) { return static_cast<unsigned>(__cvta_generic_to_shared(p)); }

// 16 bytes from global to shared memory, in flight until wait_copies.
KFAB_DEVICE void copy_async_16(void* shared, const void* global) {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(shared)), "l"(global) : "memory");
#else
  *static_cast<uint4*>(shared) = *static_cast<const uint4*>(global);
#endif
}
KFAB_DEVICE void commit_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int pending>
KFAB_DEVICE void wait_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
#endif
}

// Four 8x8 matrices of 16-bit elements; lanes 0-7 give the row addresses of the first, 8-15 of the second, and so on.
// Lane l receives word l%4 of row l/4 of each.
KFAB_DEVICE void load_matrix_x4(unsigned (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

// D += A B for a 16 x 8 tile over 32 bytes of K. In bytes all the formats have one layout: register i of A holds bytes
// 4*(lane%4) + 16*(i/2) .. +3 of row lane/4 + 8*(i%2), register i of B bytes 4*(lane%4) + 16*i .. +3 of column lane/4.
#define KFAB_MMA_FLOAT(INSTRUCTION)                                                                        \
  asm volatile(INSTRUCTION " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                        \
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                            \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
template <int precision>
KFAB_DEVICE void multiply_add(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  if constexpr (precision == exact::fp16) {
#if __CUDA_ARCH__ >= 800
    KFAB_MMA_FLOAT("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32");
#else
    for (int half = 0; half < 2; ++half)
      asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                   : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                   : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(b[half]));
#endif
  } else if constexpr (precision == exact::bf16) {
#if __CUDA_ARCH__ >= 800
    KFAB_MMA_FLOAT("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32");
#else
    __trap();
#endif
  } else if constexpr (precision == exact::tf32) {
#if __CUDA_ARCH__ >= 800
    KFAB_MMA_FLOAT("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32");
#else
    __trap();
#endif
  } else if constexpr (precision == exact::fp8) {
#if __CUDA_ARCH__ >= 890
    KFAB_MMA_FLOAT("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32");
#else
    __trap();
#endif
  } else if constexpr (precision == exact::fp8_e5m2) {
#if __CUDA_ARCH__ >= 890
    KFAB_MMA_FLOAT("mma.sync.aligned.m16n8k32.row.col.f32.e5m2.e5m2.f32");
#else
    __trap();
#endif
  } else {
#if defined(__CUDA_ARCH_FEAT_SM120_ALL)
    const unsigned one = 0x7f7f7f7f;   // every scale is 2^0, so which of them applies to which lane does not matter
    const unsigned short zero = 0;
    asm volatile(
        "mma.sync.aligned.kind::mxf4.block_scale.scale_vec::2X.m16n8k64.row.col.f32.e2m1.e2m1.f32.ue8m0 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3}, %10, {%11,%12}, %13, {%14,%15};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(one), "h"(zero), "h"(zero), "r"(one), "h"(zero), "h"(zero));
#else
    __trap();
#endif
  }
}
template <int precision>
KFAB_DEVICE void multiply_add(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  for (int half = 0; half < 2; ++half)
    for (int rows = 0; rows < 2; ++rows)
      asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};"
                   : "+r"(d[2 * rows]), "+r"(d[2 * rows + 1])
                   : "r"(a[2 * half + rows]), "r"(b[half]));
#endif
}

// D += A B for an 8 x 8 tile of doubles over 4 elements of K: A holds (lane/4, lane%4), B (lane%4, lane/4), D
// (lane/4, 2*(lane%4) + i).
KFAB_DEVICE void multiply_add_f64(double (&d)[2], double a, double b) {
#if __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0,%1}, {%2}, {%3}, {%0,%1};"
               : "+d"(d[0]), "+d"(d[1])
               : "d"(a), "d"(b));
#else
  __trap();
#endif
}

// Adds each value over the lanes of a warp, all of which must come; the first lane has the sums.
template <int count>
KFAB_DEVICE void sum_of_warp(unsigned long long (&values)[count]) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2)
#pragma unroll
    for (int i = 0; i < count; ++i) values[i] += __shfl_down_sync(0xffffffffu, values[i], distance);
}

KFAB_DEVICE unsigned long long read_again(const unsigned long long* p) {   // past the caches
  unsigned long long v;
  asm volatile("ld.relaxed.sys.global.u64 %0, [%1];" : "=l"(v) : "l"(p) : "memory");
  return v;
}
KFAB_DEVICE unsigned read_again(const unsigned* p) {
  unsigned v;
  asm volatile("ld.relaxed.sys.global.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
  return v;
}
KFAB_DEVICE unsigned long long nanoseconds() {
  unsigned long long t;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(t));
  return t;
}

}  // namespace kfab::kernels
#endif

#pragma once

// What Blackwell alone has (sm_100a, sm_103a): products of a whole block that one thread asks for, and the tensor memory in which
// their sums lie. Copies of tiles and barriers are Hopper's (hopper.cuh). The emulator of the tests stands in for these few
// functions by the layouts of the PTX ISA.

#include "blackwell.hpp"
#include "hopper.cuh"

namespace kfab::kernels {

constexpr unsigned tensor_columns = 512;   // all that a multiprocessor has

#if !defined(KFAB_EMULATE)

// On other architectures nothing of this is ever called: the image is for these two alone.
#if defined(__CUDA_ARCH_FEAT_SM100_ALL) || defined(__CUDA_ARCH_FEAT_SM103_ALL)
#define KFAB_TCGEN05(...) asm volatile(__VA_ARGS__)
#else
#define KFAB_TCGEN05(...) static_cast<void>(0)
#endif

// By one whole warp: takes all tensor memory and leaves its address in shared memory. It waits while another block has it; this
// kernel's shared memory leaves no room for another block, and each gives it back before it ends, however it ends.
KFAB_DEVICE void tensor_take(unsigned* address) {
  KFAB_TCGEN05("tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 [%0], %1;" ::"r"(shared_address(address)), "r"(tensor_columns) : "memory");
  KFAB_TCGEN05("tcgen05.relinquish_alloc_permit.cta_group::1.sync.aligned;" ::: "memory");
}
KFAB_DEVICE void tensor_give_back(unsigned address) {   // by the same warp
  KFAB_TCGEN05("tcgen05.dealloc.cta_group::1.sync.aligned.b32 %0, %1;" ::"r"(address), "r"(tensor_columns) : "memory");
}
// What was ordered by a barrier between threads is ordered for the tensor core as well.
KFAB_DEVICE void tensor_fence_before() { KFAB_TCGEN05("tcgen05.fence::before_thread_sync;" ::: "memory"); }
KFAB_DEVICE void tensor_fence_after() { KFAB_TCGEN05("tcgen05.fence::after_thread_sync;" ::: "memory"); }
// The barrier is arrived at when all products that this thread has asked for are done.
KFAB_DEVICE void tensor_commit(unsigned long long* barrier) {
  KFAB_TCGEN05("tcgen05.commit.cta_group::1.mbarrier::arrive::one.shared::cluster.b64 [%0];" ::"r"(shared_address(barrier)) : "memory");
}

#define KFAB_TENSOR_PRODUCT(KIND)                                                                                              \
  KFAB_TCGEN05("{\n.reg .pred p;\nsetp.ne.b32 p, %4, 0;\ntcgen05.mma.cta_group::1.kind::" KIND " [%0], %1, %2, %3, p;\n}" ::"r"(to), \
               "l"(a), "l"(b), "r"(instruction), "r"(keep)                                                                    \
               : "memory")
// By one thread: 32 bytes of K of both operands in shared memory, sums in tensor memory. `keep` 0: the sums start at zero.
template <int precision>
KFAB_DEVICE void tensor_product(unsigned to, unsigned long long a, unsigned long long b, unsigned instruction, int keep) {
  if constexpr (precision == exact::bf16 || precision == exact::fp16) KFAB_TENSOR_PRODUCT("f16");
  else if constexpr (precision == exact::tf32) KFAB_TENSOR_PRODUCT("tf32");
  else if constexpr (precision == exact::int8) {
#if defined(__CUDA_ARCH_FEAT_SM100_ALL)   // sm_103 has no products of integers there
    KFAB_TENSOR_PRODUCT("i8");
#endif
  } else KFAB_TENSOR_PRODUCT("f8f6f4");
}

// The same of fp4 (mxf4), whose scale factors lie in tensor memory.
KFAB_DEVICE void tensor_product_scaled(unsigned to, unsigned long long a, unsigned long long b, unsigned instruction, unsigned scales_a, unsigned scales_b, int keep) {
  KFAB_TCGEN05("{\n.reg .pred p;\nsetp.ne.b32 p, %4, 0;\ntcgen05.mma.cta_group::1.kind::mxf4.block_scale.scale_vec::2X [%0], %1, %2, %3, [%5], [%6], p;\n}" ::"r"(to),
               "l"(a), "l"(b), "r"(instruction), "r"(keep), "r"(scales_a), "r"(scales_b)
               : "memory");
}
// By a whole warp, of its own quarter of the lanes: the same value into 32 columns from `to` on; there after tensor_filled().
KFAB_DEVICE void tensor_fill(unsigned to, unsigned value) {
  KFAB_TCGEN05(
      "tcgen05.st.sync.aligned.32x32b.x32.b32 [%0], {%1,%1,%1,%1,%1,%1,%1,%1,%1,%1,%1,%1,%1,%1,%1,%1,"
      "%1,%1,%1,%1,%1,%1,%1,%1,%1,%1,%1,%1,%1,%1,%1,%1};" ::"r"(to),
      "r"(value)
      : "memory");
}
KFAB_DEVICE void tensor_filled() { KFAB_TCGEN05("tcgen05.wait::st.sync.aligned;" ::: "memory"); }

// By a whole warp, of its own quarter of the lanes: 32 columns from `from` on, those of one row to each thread; they are there
// after tensor_wait().
KFAB_DEVICE void tensor_read(unsigned (&r)[32], unsigned from) {
  KFAB_TCGEN05(
      "tcgen05.ld.sync.aligned.32x32b.x32.b32 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
      "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, [%32];"
      : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]), "=r"(r[4]), "=r"(r[5]), "=r"(r[6]), "=r"(r[7]), "=r"(r[8]), "=r"(r[9]),
        "=r"(r[10]), "=r"(r[11]), "=r"(r[12]), "=r"(r[13]), "=r"(r[14]), "=r"(r[15]), "=r"(r[16]), "=r"(r[17]), "=r"(r[18]),
        "=r"(r[19]), "=r"(r[20]), "=r"(r[21]), "=r"(r[22]), "=r"(r[23]), "=r"(r[24]), "=r"(r[25]), "=r"(r[26]), "=r"(r[27]),
        "=r"(r[28]), "=r"(r[29]), "=r"(r[30]), "=r"(r[31])
      : "r"(from)
      : "memory");
}
KFAB_DEVICE void tensor_wait() { KFAB_TCGEN05("tcgen05.wait::ld.sync.aligned;" ::: "memory"); }
// Whether all threads of the warp say so: what follows must be done by all of them or by none.
KFAB_DEVICE bool whole_warp(bool v) { return __all_sync(0xffffffffu, v) != 0; }
KFAB_DEVICE void store_streaming(uint4* to, uint4 v) { __stcs(to, v); }
#endif

}  // namespace kfab::kernels

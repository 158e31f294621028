#pragma once

// What Hopper alone has (sm_90a): copies of tiles by the tensor memory unit, barriers in shared memory that count bytes,
// and products of whole warpgroups from shared memory. As in primitives.cuh, the emulator of the tests stands in for these
// few functions by the layouts of the PTX ISA, and everything above them is one text.

#include "primitives.cuh"

namespace kfab::kernels {

struct alignas(64) TensorMap { unsigned long long words[16]; };   // CUtensorMap: opaque, 128 bytes

#if !defined(KFAB_EMULATE)

KFAB_DEVICE unsigned char* dynamic_shared() {
  extern __shared__ __align__(1024) unsigned char kfab_dynamic[];
  return kfab_dynamic;
}

KFAB_DEVICE void barrier_init(unsigned long long* barrier, unsigned arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}
// What was initialised is seen by the copying unit; then the block's threads meet.
KFAB_DEVICE void barriers_ready() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async;" ::: "memory");
}
KFAB_DEVICE void barrier_expect(unsigned long long* barrier, unsigned bytes) {   // and arrives
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes) : "memory");
}
KFAB_DEVICE void barrier_arrive(unsigned long long* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
KFAB_DEVICE bool barrier_try(unsigned long long* barrier, unsigned parity) {
  unsigned done;
  asm volatile(
      "{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.b32 %0, 1, 0, p;\n}"
      : "=r"(done)
      : "r"(shared_address(barrier)), "r"(parity)
      : "memory");
  return done != 0;
}
// A box of the tensor that starts at byte x of row y, to shared memory; the barrier counts its bytes.
KFAB_DEVICE void tensor_load(void* shared, const TensorMap* map, int x, int y, unsigned long long* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(shared_address(shared)),
      "l"(map), "r"(x), "r"(y), "r"(shared_address(barrier))
      : "memory");
}

KFAB_DEVICE void group_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
KFAB_DEVICE void group_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int pending>
KFAB_DEVICE void group_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory"); }
template <int registers>
KFAB_DEVICE void give_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers)); }
template <int registers>
KFAB_DEVICE void take_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers)); }
// What all lanes of a warp have alike, told to the compiler: descriptors made from it stay in registers of the warp.
KFAB_DEVICE int same_in_warp(int v) { return __shfl_sync(0xffffffffu, v, 0); }
KFAB_DEVICE void store_streaming(uint2* to, uint2 v) { __stcs(to, v); }
// Keeps the compiler from moving sums about while products of the group are under way.
KFAB_DEVICE void hold(float& v) { asm volatile("" : "+f"(v)::"memory"); }
KFAB_DEVICE void hold(int& v) { asm volatile("" : "+r"(v)::"memory"); }

#define KFAB_8(C, i) C(d[i]), C(d[i + 1]), C(d[i + 2]), C(d[i + 3]), C(d[i + 4]), C(d[i + 5]), C(d[i + 6]), C(d[i + 7])
#define KFAB_32(C, i) KFAB_8(C, i), KFAB_8(C, i + 8), KFAB_8(C, i + 16), KFAB_8(C, i + 24)
#define KFAB_64(C, i) KFAB_32(C, i), KFAB_32(C, i + 32)
#define KFAB_OUT_F(x) "+f"(x)
#define KFAB_OUT_R(x) "+r"(x)
#define KFAB_FIRST_64 \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31," \
  "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47," \
  "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define KFAB_SECOND_64 \
  "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79," \
  "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95," \
  "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111," \
  "%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
#define KFAB_GROUP_PRODUCT_256(OUT, SHAPE, TAIL)                                                       \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %130, 0;\nwgmma.mma_async.sync.aligned." SHAPE " {"   \
               KFAB_FIRST_64 "," KFAB_SECOND_64 "}, %128, %129, p" TAIL ";\n}"                         \
               : KFAB_64(OUT, 0), KFAB_64(OUT, 64)                                                     \
               : "l"(a), "l"(b), "r"(keep))
#define KFAB_GROUP_PRODUCT_128(OUT, SHAPE, TAIL)                                                       \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\nwgmma.mma_async.sync.aligned." SHAPE " {"    \
               KFAB_FIRST_64 "}, %64, %65, p" TAIL ";\n}"                                              \
               : KFAB_64(OUT, 0)                                                                       \
               : "l"(a), "l"(b), "r"(keep))

// 64 x 256 (or 128) results over 32 bytes of K, both operands in shared memory by descriptors. `keep` 0: the sums start at
// zero. Thread t of the group holds, for j = 0, 1, ...: d[4j], d[4j+1] of row 16*(t/32) + t%32/4 and columns 8j + 2*(t%4)
// and the next, d[4j+2], d[4j+3] of the row eight below.
template <int precision>
KFAB_DEVICE void group_product(float (&d)[128], unsigned long long a, unsigned long long b, int keep) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  if constexpr (precision == exact::bf16) KFAB_GROUP_PRODUCT_256(KFAB_OUT_F, "m64n256k16.f32.bf16.bf16", ", 1, 1, 0, 0");
  else if constexpr (precision == exact::fp16) KFAB_GROUP_PRODUCT_256(KFAB_OUT_F, "m64n256k16.f32.f16.f16", ", 1, 1, 0, 0");
  else if constexpr (precision == exact::tf32) KFAB_GROUP_PRODUCT_256(KFAB_OUT_F, "m64n256k8.f32.tf32.tf32", ", 1, 1");
  else if constexpr (precision == exact::fp8) KFAB_GROUP_PRODUCT_256(KFAB_OUT_F, "m64n256k32.f32.e4m3.e4m3", ", 1, 1");
  else KFAB_GROUP_PRODUCT_256(KFAB_OUT_F, "m64n256k32.f32.e5m2.e5m2", ", 1, 1");
#endif
}
template <int precision>
KFAB_DEVICE void group_product(int (&d)[128], unsigned long long a, unsigned long long b, int keep) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  KFAB_GROUP_PRODUCT_256(KFAB_OUT_R, "m64n256k32.s32.s8.s8", "");
#endif
}
template <int precision>
KFAB_DEVICE void group_product(float (&d)[64], unsigned long long a, unsigned long long b, int keep) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  if constexpr (precision == exact::fp8) KFAB_GROUP_PRODUCT_128(KFAB_OUT_F, "m64n128k32.f32.e4m3.e4m3", ", 1, 1");
  else KFAB_GROUP_PRODUCT_128(KFAB_OUT_F, "m64n128k32.f32.e5m2.e5m2", ", 1, 1");
#endif
}
#endif

// The descriptor of rows of 128 bytes that lie one below the other, swizzled over 128 bytes as the copying unit leaves them:
// groups of eight rows 1024 bytes apart. Along K it is moved by adding bytes to its start.
KFAB_DEVICE unsigned long long matrix_descriptor(const void* shared) {
  constexpr unsigned long long swizzle_128 = 1, leading = 1, group_of_rows = 1024 >> 4;
  return (shared_address(shared) & 0x3ffff) >> 4 | leading << 16 | group_of_rows << 32 | swizzle_128 << 62;
}

constexpr unsigned long long longest_wait_ns = 5'000'000'000ull;

// False when it took so long that nothing will come any more.
KFAB_DEVICE bool barrier_wait(unsigned long long* barrier, unsigned parity) {
  if (barrier_try(barrier, parity)) return true;
  const unsigned long long start = nanoseconds();
  while (!barrier_try(barrier, parity))
    if (nanoseconds() - start > longest_wait_ns) return false;
  return true;
}

}  // namespace kfab::kernels

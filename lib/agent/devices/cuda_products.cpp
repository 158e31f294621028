#include "agent/devices/cuda_products.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/codes/validation.hpp"

namespace kfab::agent::devices::cuda {
namespace {

constexpr int most_side = 8192, least_side = 256, least_k = 256;
constexpr unsigned hopper_threads = 384, blackwell_threads = 192;
constexpr unsigned hopper_shared_bytes = 196'608 + 1024 + 128;   // stages, room to align them, barriers; Blackwell's kernels as well
constexpr int every = 1000;                                      // most_capability: no newer one is too new

constexpr ProductKernel kernels[] = {
    {exact::fp8, 90, 90, "kfab_hopper_fp8_chunked", 128, 128, "wgmma e4m3 and TMA, fp32 sums of chunks of 128", true, false, hopper_threads, true},
    {exact::fp8, 90, 90, "kfab_hopper_fp8", 128, 256, "wgmma e4m3 and TMA, one accumulator", false, true, hopper_threads, true},
    {exact::fp8, 100, 103, "kfab_blackwell_fp8", 128, 256, "tcgen05 e4m3 and TMA, one accumulator", true, true, blackwell_threads, true},
    {exact::fp8, 100, 103, "kfab_blackwell_fp8_random", 128, 256, "tcgen05 e4m3 and TMA, one accumulator", false, true, blackwell_threads, true},
    {exact::fp8, 89, every, "kfab_gemm_fp8", 128, 128, "mma.sync e4m3, fp32 sums of chunks of 64"},
    {exact::fp8_e5m2, 90, 90, "kfab_hopper_fp8_e5m2_chunked", 128, 128, "wgmma e5m2 and TMA, fp32 sums of chunks of 128", true, false, hopper_threads, true},
    {exact::fp8_e5m2, 90, 90, "kfab_hopper_fp8_e5m2", 128, 256, "wgmma e5m2 and TMA, one accumulator", false, true, hopper_threads, true},
    {exact::fp8_e5m2, 100, 103, "kfab_blackwell_fp8_e5m2", 128, 256, "tcgen05 e5m2 and TMA, one accumulator", true, true, blackwell_threads, true},
    {exact::fp8_e5m2, 100, 103, "kfab_blackwell_fp8_e5m2_random", 128, 256, "tcgen05 e5m2 and TMA, one accumulator", false, true, blackwell_threads, true},
    {exact::fp8_e5m2, 89, every, "kfab_gemm_fp8_e5m2", 128, 128, "mma.sync e5m2, fp32 sums of chunks of 64"},
    {exact::fp4, 100, 103, "kfab_blackwell_fp4", 128, 128, "tcgen05 mxf4 e2m1 and TMA, all scales 1, one accumulator", true, true, blackwell_threads, true},
    {exact::fp4, 120, 120, "kfab_gemm_fp4", 128, 128, "mma.sync mxf4 e2m1, all scales 1, fp32 sums of chunks of 128", true, true, 0, true},
    {exact::bf16, 90, 90, "kfab_hopper_bf16", 128, 256, "wgmma and TMA, fp32 sums", true, true, hopper_threads, true},
    {exact::bf16, 100, 103, "kfab_blackwell_bf16", 128, 256, "tcgen05 and TMA, fp32 sums", true, true, blackwell_threads, true},
    {exact::bf16, 80, every, "kfab_gemm_bf16", 128, 128, "mma.sync, fp32 sums"},
    {exact::fp16, 90, 90, "kfab_hopper_fp16", 128, 256, "wgmma and TMA, fp32 sums", true, true, hopper_threads, true},
    {exact::fp16, 100, 103, "kfab_blackwell_fp16", 128, 256, "tcgen05 and TMA, fp32 sums", true, true, blackwell_threads, true},
    {exact::fp16, 75, every, "kfab_gemm_fp16", 128, 128, "mma.sync, fp32 sums"},
    {exact::tf32, 90, 90, "kfab_hopper_tf32", 128, 256, "wgmma and TMA, fp32 sums", true, true, hopper_threads, true},
    {exact::tf32, 100, 103, "kfab_blackwell_tf32", 128, 256, "tcgen05 and TMA, fp32 sums", true, true, blackwell_threads, true},
    {exact::tf32, 80, every, "kfab_gemm_tf32", 128, 128, "mma.sync, fp32 sums"},
    {exact::int8, 90, 90, "kfab_hopper_int8", 128, 256, "wgmma and TMA, int32 sums", true, true, hopper_threads, true},
    {exact::int8, 100, 100, "kfab_blackwell_int8", 128, 256, "tcgen05 and TMA, int32 sums", true, true, blackwell_threads, true},
    {exact::int8, 75, every, "kfab_gemm_int8", 128, 128, "mma.sync, int32 sums"},
    {exact::fp32, 50, every, "kfab_gemm_fp32", 128, 128, "vector units"},
    {exact::fp64, 80, every, "kfab_gemm_fp64", 128, 64, "mma.sync"},
    {exact::fp64, 50, every, "kfab_gemm_fp64_vector", 64, 64, "vector units"},
};

}  // namespace

std::string_view to_string(Data data) { return data == Data::exact ? "exact" : "random"; }
std::string_view prefix_of(Data data) { return data == Data::exact ? "" : "random_"; }

std::span<const ProductKernel> product_kernels() { return kernels; }

const ProductKernel* choose_kernel(Session& session, exact::Precision precision, Data data, const std::vector<KernelProof>& proofs,
                                   std::vector<KernelProof>* refused) {
  for (const auto& kernel : kernels) {
    if (kernel.precision != precision || session.capability() < kernel.least_capability || session.capability() > kernel.most_capability) continue;
    if (!(data == Data::exact ? kernel.for_exact : kernel.for_random)) continue;
    if (!kernel.must_prove) return &kernel;
    const auto proof = std::find_if(proofs.begin(), proofs.end(), [&](const auto& one) { return one.name == kernel.name; });
    if (proof != proofs.end() && proof->proven) return &kernel;
    if (refused) refused->push_back({kernel.name, proof == proofs.end() || proof->reason.empty() ? "it was not proven" : proof->reason, false, proof != proofs.end() && proof->wrong});
  }
  return nullptr;
}

std::uint64_t Products::operand_bytes(const exact::Shape& shape, const Sizes& size) {
  return (std::uint64_t(size.m) + std::uint64_t(size.n)) * std::uint64_t(size.k) * std::uint64_t(shape.operand_width) / 8;
}

// The longer K is, the less of the time goes to storing and comparing results, which is no load for the tensor units: by 8192 of
// 16 bits a product of 8192 x 8192 is some 20 times as long as its comparison. Exact data has the bound of its sums.
static int usual_k(const exact::Shape& shape, Data data) {
  const int most = shape.operand_width <= 8 ? 16384 : shape.operand_width == 16 ? 8192 : 4096;
  return data == Data::exact ? std::min(most, shape.max_k) : most;
}

Sizes sizes_for(const exact::Shape& shape, Data data, std::uint64_t bytes) {
  Sizes size{most_side, most_side, usual_k(shape, data)};
  while (size.m > least_side && std::uint64_t(size.m) * std::uint64_t(size.n) * std::uint64_t(shape.result_bytes) > bytes / 8) size.m = size.n = size.m / 2;
  while (size.k > least_k && Products::operand_bytes(shape, size) > bytes / 4) size.k /= 2;
  return size;
}

Products::Products(Session& session, exact::Precision precision, Data data, Sizes size, int coefficient, int basis)
    : session_(session), precision_(precision), data_(data), shape_(exact::shapes[precision]), size_(size) {
  if (coefficient) shape_.coefficient = coefficient;
  if (basis) shape_.basis = basis;
}

Status Products::prepare() {
  KFAB_TRY(flag, session_.allocate(256));
  stalled_ = std::move(flag);
  const std::uint64_t none = 0;
  KFAB_TRY_VOID(session_.upload(stalled_.at(), &none, sizeof none));
  KFAB_TRY_VOID(fill(a_, size_.m, 0));
  KFAB_TRY_VOID(fill(b_, size_.n, 1));
  if (data_ == Data::exact) KFAB_TRY_VOID(upload_answers());
  return session_.synchronize(session_.stream());
}

Status Products::fill(DeviceMemory& memory, int rows, int columns) {
  const std::uint64_t elements = std::uint64_t(rows) * std::uint64_t(size_.k);
  KFAB_TRY(taken, session_.allocate(elements * std::uint64_t(shape_.operand_width) / 8));
  memory = std::move(taken);
  return session_.launch("kfab_fill_operand", session_.filling(elements, 256), session_.stream(), memory.at(), int(precision_), columns, operand_seed,
                         shape_.coefficient, shape_.basis, shape_.operand_width, size_.k, static_cast<unsigned long long>(elements), int(data_ == Data::random));
}

// The tables from which the comparison takes the right answers, in the width of the result.
Status Products::upload_answers() {
  const auto gram = exact::gram(operand_seed, shape_.basis, size_.k);
  std::vector<std::int64_t> weights, coefficients;
  for (int i = 0; i < size_.m; ++i) {
    std::int64_t w[exact::rank];
    exact::row_weights(operand_seed, gram, shape_.coefficient, std::uint32_t(i), w);
    weights.insert(weights.end(), w, w + exact::rank);
  }
  for (int j = 0; j < size_.n; ++j)
    for (int s = 0; s < exact::rank; ++s)
      coefficients.push_back(exact::draw(operand_seed, exact::column_coefficient, s, std::uint32_t(j), shape_.coefficient));
  const auto put = [&](const std::vector<std::int64_t>& table, DeviceMemory& to) -> Status {
    KFAB_TRY(memory, session_.allocate(table.size() * std::size_t(shape_.result_bytes)));
    to = std::move(memory);
    if (shape_.result_bytes == 8) return session_.upload(to.at(), table.data(), to.bytes());
    const std::vector<std::int32_t> narrow(table.begin(), table.end());
    return session_.upload(to.at(), narrow.data(), to.bytes());
  };
  KFAB_TRY_VOID(put(weights, weights_));
  return put(coefficients, coefficients_);
}

// Both operands as bytes, in boxes of 128 bytes of K: one format for all, since the unit only moves them.
Status Products::tensor_maps(const ProductKernel& kernel) {
  if (mapped_for_ == &kernel) return ok();
  const auto& driver = session_.driver();
  if (!driver->encode_tensor_map) return error(code::driver_too_old, "the driver has no function cuTensorMapEncodeTiled");
  constexpr int bytes = 0, no_interleave = 0, swizzle_128 = 3, promote_256 = 3, zeros_outside = 0;
  const std::uint64_t k_bytes = std::uint64_t(size_.k) * std::uint64_t(shape_.operand_width) / 8;
  const unsigned steps[] = {1, 1};
  const auto encode = [&](TensorMap& map, const DeviceMemory& memory, int rows, int box_rows) {
    const std::uint64_t sizes[] = {k_bytes, std::uint64_t(rows)}, strides[] = {k_bytes};
    const unsigned box[] = {128, unsigned(box_rows)};
    return driver->checked(driver->encode_tensor_map(&map, bytes, 2, reinterpret_cast<void*>(std::uintptr_t(memory.at())), sizes, strides, box, steps,
                                                     no_interleave, swizzle_128, promote_256, zeros_outside),
                           "describe an operand to the tensor memory unit");
  };
  KFAB_TRY_VOID(encode(map_a_, a_, size_.m, kernel.tile_rows));
  KFAB_TRY_VOID(encode(map_b_, b_, size_.n, kernel.tile_columns));
  mapped_for_ = &kernel;
  return ok();
}

Status Products::multiply(const ProductKernel& kernel, Pointer result, int row_shift, unsigned most_blocks) {
  const unsigned columns = unsigned(size_.n / kernel.tile_columns), rows = unsigned(size_.m / kernel.tile_rows);
  const int k_bytes = size_.k * shape_.operand_width / 8;
  if (kernel.threads == 0)
    return session_.launch(kernel.name, {columns, rows, 256}, session_.stream(), a_.at(), b_.at(), result, size_.m, size_.n, k_bytes, row_shift);
  KFAB_TRY_VOID(tensor_maps(kernel));
  unsigned blocks = std::min(columns * rows, unsigned(session_.multiprocessors()));
  if (most_blocks) blocks = std::min(blocks, most_blocks);
  return session_.launch(kernel.name, {blocks, 1, kernel.threads, hopper_shared_bytes}, session_.stream(), map_a_, map_b_, result, size_.m, size_.n, k_bytes,
                         row_shift, stalled_.at());
}

Status Products::compare_known(Pointer result, int row_shift, Pointer state) {
  const bool wide = shape_.result_bytes == 8;
  const unsigned per_block = wide ? 512 : 1024, x = (unsigned(size_.n) + per_block - 1) / per_block;
  const unsigned y = std::max(1u, std::min(unsigned(size_.m) / 8, unsigned(session_.multiprocessors()) * 16 / x));
  return session_.launch(wide ? "kfab_verify_64" : "kfab_verify_32", {x, y, 256}, session_.stream(), result, size_.m, size_.n, row_shift, weights_.at(),
                         coefficients_.at(), int(precision_), state);
}

Status Products::compare_same(Pointer result, Pointer reference, Pointer state) {
  const unsigned long long vectors = result_bytes() / 16;
  return session_.launch("kfab_compare", session_.filling(vectors, 256), session_.stream(), result, reference, vectors, int(shape_.result_bytes == 8), state);
}

Result<bool> Products::stalled() {
  std::uint32_t flag = 0;
  const std::uint32_t none = 0;
  KFAB_TRY_VOID(session_.synchronize(session_.stream()));
  KFAB_TRY_VOID(session_.download(&flag, stalled_.at(), sizeof flag));
  if (flag) KFAB_TRY_VOID(session_.upload(stalled_.at(), &none, sizeof none));
  return flag != 0;
}

Status CheckStates::prepare(Session& session, int count) {
  KFAB_TRY(memory, session.allocate(sizeof(exact::CheckState) * std::uint64_t(count)));
  memory_ = std::move(memory);
  return ok();
}

Status CheckStates::clear(Session& session, int count) {
  const std::vector<exact::CheckState> states(std::size_t(count), exact::empty_check_state());
  return session.upload(memory_.at(), states.data(), sizeof(exact::CheckState) * states.size());
}

Result<std::vector<exact::CheckState>> CheckStates::collect(Session& session, int count) {
  std::vector<exact::CheckState> states(std::size_t(count), exact::empty_check_state());
  KFAB_TRY_VOID(session.synchronize(session.stream()));
  KFAB_TRY_VOID(session.download(states.data(), memory_.at(), sizeof(exact::CheckState) * states.size()));
  return states;
}

}  // namespace kfab::agent::devices::cuda

#pragma once

#include <span>
#include <string>
#include <vector>

#include "agent/devices/cuda_session.hpp"

// What burn-in multiplies, with which kernel, and how results are compared: shared by the burn-in and by the proof of kernels.
namespace kfab::agent::devices::cuda {

// exact: small integers of rank 4, whose products are known beforehand on any device. random: full mantissas; the same kernel
// gives the same bits on every GPU of a model, and nobody knows them before.
enum class Data : std::uint8_t { exact, random };
std::string_view to_string(Data);
// What metrics and digests of that data are called: "" and "random_".
std::string_view prefix_of(Data);

struct ProductKernel {
  exact::Precision precision;
  int least_capability, most_capability;
  const char* name;
  int tile_rows, tile_columns;
  const char* how;
  bool for_exact = true, for_random = true;   // fp8 in one accumulator is exact only for what is small
  unsigned threads = 0;                       // of a kernel that takes tensor maps and stays on its multiprocessor; 0: one block a tile
  bool must_prove = false;
};
// In order of preference.
std::span<const ProductKernel> product_kernels();

// The kernel for a precision on this GPU, nullptr when it has none; `refused` gets those that would have been preferred, with
// the reasons of their proofs.
const ProductKernel* choose_kernel(Session&, exact::Precision, Data, const std::vector<KernelProof>&, std::vector<KernelProof>* refused = nullptr);

inline constexpr std::uint32_t operand_seed = 20261;

struct Sizes { int m, n, k; };
// The largest square result, up to 8192, that leaves room for eight slices, and operands of at most a quarter of the memory.
Sizes sizes_for(const exact::Shape&, Data, std::uint64_t bytes);

// Operands A and B of one precision on the GPU, and what is needed to know and compare results. Nothing waits: all is queued
// on the session's stream, but for what says so.
class Products {
 public:
  // `coefficient` and `basis` 0: those of the precision.
  Products(Session& session, exact::Precision precision, Data data, Sizes size, int coefficient = 0, int basis = 0);

  Status prepare();                                     // allocates, fills, uploads answers; waits
  Status multiply(const ProductKernel&, Pointer result, int row_shift, unsigned most_blocks = 0);
  // Compares a result with the known one (exact data) into a CheckState on the GPU.
  Status compare_known(Pointer result, int row_shift, Pointer state);
  // Compares with another result that must be the same, bit by bit, and takes the digest.
  Status compare_same(Pointer result, Pointer reference, Pointer state);
  // Whether a kernel gave up waiting since it was asked last; waits.
  Result<bool> stalled();

  const exact::Shape& shape() const { return shape_; }
  const Sizes& size() const { return size_; }
  Data data() const { return data_; }
  std::uint64_t elements() const { return std::uint64_t(size_.m) * std::uint64_t(size_.n); }
  std::uint64_t result_bytes() const { return elements() * std::uint64_t(shape_.result_bytes); }
  double operations() const { return 2.0 * double(elements()) * size_.k; }
  Pointer a() const { return a_.at(); }
  Pointer b() const { return b_.at(); }
  // Bytes of both operands, for a budget.
  static std::uint64_t operand_bytes(const exact::Shape&, const Sizes&);

 private:
  Status fill(DeviceMemory&, int rows, int columns);
  Status upload_answers();
  Status tensor_maps(const ProductKernel&);

  Session& session_;
  exact::Precision precision_;
  Data data_;
  exact::Shape shape_;
  Sizes size_;
  DeviceMemory a_, b_, weights_, coefficients_, stalled_;
  struct alignas(64) TensorMap { std::uint64_t words[16]; };
  TensorMap map_a_{}, map_b_{};
  const ProductKernel* mapped_for_ = nullptr;
};

// Check states on the GPU, one for each comparison of a batch.
class CheckStates {
 public:
  Status prepare(Session&, int count);
  Pointer at(int i) const { return memory_.at(sizeof(exact::CheckState) * std::uint64_t(i)); }
  Status clear(Session&, int count);                                   // waits
  Result<std::vector<exact::CheckState>> collect(Session&, int count);  // waits for the session's stream

 private:
  DeviceMemory memory_;
};

}  // namespace kfab::agent::devices::cuda

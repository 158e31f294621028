#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/devices/cuda_session.hpp"

// cuBLASLt where the node has it, found at run time: a second engine for the same products, so that kfab's own figures can
// be seen beside the library's. Nothing of it is linked; the declarations are our own, by the public documentation.
namespace kfab::agent::devices::cuda {

class CublasLt {
 public:
  // Loads the first library of the list that is there. Errors: second_engine_missing, with what each of them said.
  static Result<std::unique_ptr<CublasLt>> load(const std::vector<std::string>& libraries, const std::shared_ptr<Driver>&);
  ~CublasLt();
  CublasLt(const CublasLt&) = delete;
  CublasLt& operator=(const CublasLt&) = delete;

  // Takes the algorithms that the library proposes for C = A B^T, m x n x k, both operands row by row over K, results as kfab's own kernels leave them.
  // `fast_sums`: fp8 may be summed with fewer bits, as is usual. Errors: second_engine_missing, when it has none.
  Status plan(const Session&, exact::Precision, int m, int n, int k, bool fast_sums);
  // Of several that it proposes the fastest, found by multiplying: its own order is a guess, and the best figure is what kfab's own
  // kernel is held against. One that fails is left out. Waits. Errors: device_call_failed, when none multiplies.
  Status choose_fastest(const Session&, Pointer a, Pointer b, Pointer c);
  std::string chosen() const;   // "algorithm 3 of the 8 that it proposes, the fastest"
  // Queues the planned product. Errors: device_call_failed.
  Status multiply(Pointer a, Pointer b, Pointer c, void* stream);

  const std::string& version() const { return version_; }   // "13.0.2"

 private:
  CublasLt() = default;
  struct Functions;
  void forget();
  std::unique_ptr<Functions> call_;
  std::string version_;
  void *handle_ = nullptr, *operation_ = nullptr, *layouts_[3] = {};
  struct Algorithm { std::uint64_t words[8]; };
  std::vector<Algorithm> algorithms_;   // in the library's order
  std::size_t chosen_ = 0;
  DeviceMemory workspace_;
  exact::Precision precision_ = exact::fp32;
};

}  // namespace kfab::agent::devices::cuda

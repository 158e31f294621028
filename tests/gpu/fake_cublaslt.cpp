// A libcublasLt.so.13 for machines without a GPU: the products that kfab asks for, one after the other on the processor.
// KFAB_FAKE_CUBLASLT plants faults: "none" (no algorithm for anything), "wrong" (another layout: all is wrong), "sick" (one
// of 64 columns is wrong in each product, as of a multiprocessor that is ill), "unsteady" (a fourth is wrong, another one in each product),
// "flip=N" (one bit of product number N), "...,only=GPU-01" (of the processes alone that CUDA_VISIBLE_DEVICES shows that GPU), "three" (it proposes three algorithms: a slow one, one that fails, and a fast one).

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "gpu/emulator.hpp"

namespace {

using namespace kfab;

struct Operation { int compute = 0, transpose_a = 0, transpose_b = 0; };
struct Layout { int type = 0; std::uint64_t rows = 0, columns = 0; std::int64_t leading = 0; };
struct Choice { std::uint64_t algorithm[8]; std::size_t workspace; int state; float waves; int reserved[4]; };

std::string fault() {
  const char *text = std::getenv("KFAB_FAKE_CUBLASLT"), *visible = std::getenv("CUDA_VISIBLE_DEVICES");
  const std::string all = text ? text : "";
  const auto only = all.find(",only=");
  if (only != std::string::npos && std::string(visible ? visible : "").find(all.substr(only + 6)) == std::string::npos) return "";
  return all.substr(0, only);
}
int products = 0;
constexpr std::uint64_t usual = 42, slow = 43, failing = 44;

// cudaDataType to the formats of the emulator; tf32 is fp32 under another kind of sums.
int precision_of(int type, int compute) {
  switch (type) {
    case 0: return compute == 77 ? exact::tf32 : exact::fp32;
    case 1: return exact::fp64;
    case 2: return exact::fp16;
    case 3: return exact::int8;
    case 14: return exact::bf16;
    case 28: return exact::fp8;
    default: return -1;
  }
}
double value(int precision, const unsigned char* from, std::size_t e) {
  if (precision == exact::fp64) {
    double wide;
    return std::memcpy(&wide, from + e * 8, 8), wide;
  }
  if (precision == exact::fp32) {
    float single;
    return std::memcpy(&single, from + e * 4, 4), single;
  }
  return emulator::element(precision, from + e * std::size_t(exact::shapes[precision].operand_width) / 8, 0);
}

}  // namespace

extern "C" {

int cublasLtCreate(void** handle) { return *handle = new int, 0; }
int cublasLtDestroy(void* handle) { return delete static_cast<int*>(handle), 0; }
std::size_t cublasLtGetVersion() { return 130002; }
int cublasLtMatmulDescCreate(void** out, int compute, int) { return *out = new Operation{compute, 0, 0}, 0; }
int cublasLtMatmulDescDestroy(void* operation) { return delete static_cast<Operation*>(operation), 0; }
int cublasLtMatmulDescSetAttribute(void* operation, int attribute, const void* value, std::size_t size) {
  auto& to = *static_cast<Operation*>(operation);
  if (attribute == 3 && size == 4) return std::memcpy(&to.transpose_a, value, 4), 0;
  if (attribute == 4 && size == 4) return std::memcpy(&to.transpose_b, value, 4), 0;
  return attribute == 25 && size == 1 ? 0 : 7;
}
int cublasLtMatrixLayoutCreate(void** out, int type, std::uint64_t rows, std::uint64_t columns, std::int64_t leading) {
  return *out = new Layout{type, rows, columns, leading}, 0;
}
int cublasLtMatrixLayoutDestroy(void* layout) { return delete static_cast<Layout*>(layout), 0; }
int cublasLtMatmulPreferenceCreate(void** out) { return *out = new std::uint64_t(0), 0; }
int cublasLtMatmulPreferenceDestroy(void* preference) { return delete static_cast<std::uint64_t*>(preference), 0; }
int cublasLtMatmulPreferenceSetAttribute(void*, int attribute, const void*, std::size_t size) { return attribute == 1 && size == 8 ? 0 : 7; }
int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void*, int wanted, void* results, int* found) {
  if (fault() == "none" || wanted < 1) return *found = 0, 15;   // not supported
  *found = 0;
  const std::vector<std::uint64_t> all = fault() == "three" ? std::vector<std::uint64_t>{slow, failing, usual} : std::vector<std::uint64_t>{usual};
  for (const auto algorithm : all) {
    if (*found == wanted) break;
    Choice choice{};
    choice.algorithm[0] = algorithm;
    std::memcpy(static_cast<char*>(results) + sizeof choice * std::size_t((*found)++), &choice, sizeof choice);
  }
  return 0;
}
int cublasLtMatmul(void*, void* operation, const void*, const void* a, void* a_layout, const void* b, void* b_layout, const void*, const void*, void*, void* d,
                   void* d_layout, const void* algorithm, void*, std::size_t, void*) {
  const auto& op = *static_cast<Operation*>(operation);
  const auto &la = *static_cast<Layout*>(a_layout), &lb = *static_cast<Layout*>(b_layout), &ld = *static_cast<Layout*>(d_layout);
  std::uint64_t chosen;
  std::memcpy(&chosen, algorithm, 8);
  const int precision = precision_of(la.type, op.compute);
  if (chosen == slow) usleep(60'000);
  if ((chosen != usual && chosen != slow) || op.transpose_a != 1 || op.transpose_b != 0 || precision < 0 || la.rows != lb.rows || la.columns != ld.rows || lb.columns != ld.columns) return 7;
  std::vector<double> left(la.rows * la.columns), right(lb.rows * lb.columns);
  const auto read = [&](std::vector<double>& to, const void* from, const Layout& layout, bool turned) {
    for (std::uint64_t column = 0; column < layout.columns; ++column)
      for (std::uint64_t row = 0; row < layout.rows; ++row)
        to[turned ? row * layout.columns + column : column * layout.rows + row] = value(precision, static_cast<const unsigned char*>(from), column * std::uint64_t(layout.leading) + row);
  };
  read(left, a, la, true);   // so that the innermost loop runs over neighbours
  read(right, b, lb, false);
  std::vector<double> sums(ld.rows);
  const double off = fault() == "wrong" ? 1 : 0;
  for (std::uint64_t column = 0; column < ld.columns; ++column) {
    std::fill(sums.begin(), sums.end(), off);
    for (std::uint64_t k = 0; k < la.rows; ++k)
      for (std::uint64_t row = 0; row < ld.rows; ++row) sums[row] += left[k * la.columns + row] * right[column * lb.rows + k];
    const bool ill = (fault() == "sick" && column % 64 == 5) || (fault() == "unsteady" && (column + std::uint64_t(products)) % 4 == 0);
    for (std::uint64_t row = 0; row < ld.rows; ++row) {
      const double sum = sums[row] + (ill ? 1 : 0);
      const std::uint64_t at = column * std::uint64_t(ld.leading) + row;
      if (ld.type == 1) static_cast<double*>(d)[at] = sum;
      else if (ld.type == 10) static_cast<std::int32_t*>(d)[at] = std::int32_t(sum);
      else static_cast<float*>(d)[at] = float(sum);
    }
  }
  ++products;
  if (fault().rfind("flip=", 0) == 0 && products == std::atoi(fault().c_str() + 5)) static_cast<unsigned*>(d)[4321] ^= 0x800;
  return 0;
}

}  // extern "C"

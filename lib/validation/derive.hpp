#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "validation/measurement.hpp"

// Nominal figures of a GPU of which nobody has stated any, from what it says of itself: the number of its multiprocessors, its
// clocks, the width of its memory bus and of its PCIe link.
namespace kfab::validation {

struct DerivedFigure {
  double value = 0;
  std::string how;        // "148 multiprocessors x 1,965 MHz x 8,192 per clock"
};

// Operations in one clock of one multiprocessor by compute capability (75 is 7.5), dense, a multiplication and an addition counted
// as two; 0: none, or none that is published.
struct RateRow { int capability; double fp64, fp32, tf32, half, fp8, int8; };
std::span<const RateRow> rate_table();

// By the keys of Profile::nominal: hbm_gbps, pcie_gbps, and <precision>_tflops or int8_tops where the arithmetic of its compute
// capability is known. What the accelerator does not tell, or what kfab knows no rate of, is left out: nothing is guessed. The
// figures are read from its measurements device.* (test "health").
std::map<std::string, DerivedFigure> derived_figures(const TestReport&, const Accelerator&);
// GB/s each way of a PCIe link after coding, by generation (1 to 6) and width; nothing for others.
std::optional<double> pcie_gbps(int generation, int width);

}  // namespace kfab::validation

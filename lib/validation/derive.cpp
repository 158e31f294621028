#include "validation/derive.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/text.hpp"

namespace kfab::validation {
namespace {

// From the data sheets by peak / (multiprocessors x boost clock): A100 312 TFLOPS = 108 x 1.41 GHz x 2048, H100
// SXM 989 = 132 x 1.83 GHz x 4096, B200 2250 = 148 x 1.86 GHz x 8192, L40S 362 = 142 x 2.52 GHz x 1024. Where boards of one
// capability differ (8.6, 8.9 and 12.0 have half the rate with fp32 accumulators on GeForce) the lower rate stands here.
constexpr std::array rates{
    RateRow{75, 4, 128, 0, 512, 0, 2048},    RateRow{80, 128, 128, 1024, 2048, 0, 4096},      RateRow{86, 4, 256, 256, 512, 0, 2048},
    RateRow{89, 4, 256, 256, 512, 1024, 2048}, RateRow{90, 256, 256, 2048, 4096, 8192, 8192}, RateRow{100, 128, 256, 4096, 8192, 16384, 16384},
    RateRow{103, 0, 256, 4096, 8192, 16384, 0}, RateRow{120, 4, 256, 256, 512, 1024, 2048},
};
// Models whose arithmetic is held below that of their chip: what the chip could says nothing of them.
struct Reduced { std::string_view word, key; };   // key: empty for all
constexpr std::array reduced{Reduced{"H20", ""}, Reduced{"H20-3e", ""}, Reduced{"H800", "fp64_tflops"}, Reduced{"CMP", ""}};
bool is_reduced(std::string_view model, std::string_view key) {
  return std::any_of(reduced.begin(), reduced.end(), [&](const Reduced& row) {
    const auto words = split(std::string(model), ' ');
    return (row.key.empty() || row.key == key) && std::find(words.begin(), words.end(), row.word) != words.end();
  });
}
struct Key { std::string_view name; double RateRow::* rate; };
constexpr std::array keys{Key{"fp64_tflops", &RateRow::fp64}, Key{"fp32_tflops", &RateRow::fp32}, Key{"tf32_tflops", &RateRow::tf32}, Key{"bf16_tflops", &RateRow::half},
                          Key{"fp16_tflops", &RateRow::half}, Key{"fp8_tflops", &RateRow::fp8},   Key{"int8_tops", &RateRow::int8}};

// GT/s times what the coding leaves, by lane and direction: 8b/10b, then 128b/130b, then FLITs.
constexpr std::array lane_gbps{0.0, 0.25, 0.5, 0.985, 1.969, 3.938, 7.563};

std::optional<double> device_figure(const TestReport& report, const Accelerator& accelerator, std::string_view name, double least, double most) {
  for (const auto& m : report.measurements)
    if (m.accelerator == accelerator.id && m.device == accelerator.device && m.metric == name && m.value && *m.value >= least && *m.value <= most) return m.value;
  return std::nullopt;
}

}  // namespace

std::span<const RateRow> rate_table() { return rates; }

std::optional<double> pcie_gbps(int generation, int width) {
  if (generation < 1 || generation >= static_cast<int>(lane_gbps.size()) || width < 1 || width > 32) return std::nullopt;
  return lane_gbps[static_cast<std::size_t>(generation)] * width;
}

std::map<std::string, DerivedFigure> derived_figures(const TestReport& report, const Accelerator& accelerator) {
  std::map<std::string, DerivedFigure> out;
  const auto figure = [&](std::string_view name, double least, double most) { return device_figure(report, accelerator, name, least, most); };
  const auto memory_mhz = figure("device.memory_clock_mhz", 1, 100'000), bus = figure("device.memory_bus_bits", 8, 65'536);
  if (memory_mhz && bus)
    out["hbm_gbps"] = {2 * *memory_mhz * 1e6 * *bus / 8 / 1e9, fmt::format("2 x {} MHz x {} bits", format_number(*memory_mhz, 0), format_number(*bus, 0))};
  const auto generation = figure("device.pcie_generation", 1, 16), width = figure("device.pcie_width", 1, 32);
  if (generation && width)
    if (const auto gbps = pcie_gbps(static_cast<int>(*generation), static_cast<int>(*width)))
      out["pcie_gbps"] = {*gbps, fmt::format("PCIe {}.0 x{}", static_cast<int>(*generation), static_cast<int>(*width))};
  const auto multiprocessors = figure("device.multiprocessors", 1, 10'000), clock = figure("device.sm_clock_mhz", 1, 20'000),
             capability = figure("device.capability", 10, 1'000);
  const auto row = capability ? std::find_if(rates.begin(), rates.end(), [&](const RateRow& r) { return r.capability == static_cast<int>(*capability); }) : rates.end();
  if (multiprocessors && clock && row != rates.end())
    for (const Key& key : keys) {
      const double rate = (*row).*key.rate;
      if (rate > 0 && !is_reduced(accelerator.model, key.name))
        out[std::string(key.name)] = {*multiprocessors * *clock * 1e6 * rate / 1e12, fmt::format("{} multiprocessors x {} MHz x {} per clock", format_number(*multiprocessors, 0),
                                                                                              format_number(*clock, 0), format_number(rate, 0))};
    }
  return out;
}

}  // namespace kfab::validation

#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "agent/devices/device.hpp"

// Power, temperature, clocks and the reasons for holding them back, sampled while a test runs on one GPU.
namespace kfab::agent::devices {

class NvmlSampler {
 public:
  // Starts sampling; without the library, or for a GPU that it does not know, does nothing. After `most_samples` the pauses grow.
  // Work that lasted less than `least_work_s` in all has no power of its own: meters tick every 20 to 100 ms, and power that is read
  // may be the mean of the last second.
  NvmlSampler(const std::string& library, const std::string& uuid, const std::string& pci_bus_id, std::chrono::milliseconds period = std::chrono::milliseconds(100), std::size_t most_samples = 100'000,
              double least_work_s = 3);
  ~NvmlSampler();
  NvmlSampler(const NvmlSampler&) = delete;
  NvmlSampler& operator=(const NvmlSampler&) = delete;

  // Names what follows until the next call: the words must outlive the sampler.
  void interval(std::string_view name);
  // What is between them is the work `name` ("gemm_bf16"), to be told by itself; all stretches of a name together.
  void begin_work(std::string name);
  void end_work();
  // Energy since the driver was loaded in joules, or since sampling began where NVML gives power alone; nothing without either.
  std::optional<double> energy_j() const;

  // Stops and emits <family>.power_w (mean; detail: most and limit), .power_of_limit_pct (of the work that draws most, else the mean of
  // all; below 95 with what held it back; nothing where no limit is told), of each work <family>.<work>.power_w and
  // .power_of_limit_pct, .temperature_c (most), .sm_clock_mhz (median),
  // .throttle.<reason>_pct (share of samples) and .ecc_uncorrected (difference over the test), each as null with a reason
  // where the GPU or driver does not tell it; test "telemetry". Where there were several intervals, power, temperature, clock
  // and reasons of each as <family>.load.<interval>.*.
  void report(std::string_view family, TestSink&);

 private:
  void report_power_of_work(std::string_view family, std::optional<double> limit_w, TestSink&);
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kfab::agent::devices

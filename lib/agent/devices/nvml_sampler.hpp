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
  NvmlSampler(const std::string& library, const std::string& uuid, const std::string& pci_bus_id, std::chrono::milliseconds period = std::chrono::milliseconds(100), std::size_t most_samples = 100'000);
  ~NvmlSampler();
  NvmlSampler(const NvmlSampler&) = delete;
  NvmlSampler& operator=(const NvmlSampler&) = delete;

  // Names what follows until the next call: the words must outlive the sampler.
  void interval(std::string_view name);
  // Energy since the driver was loaded in joules, or since sampling began where NVML gives power alone; nothing without either.
  std::optional<double> energy_j() const;

  // Stops and emits <family>.power_w (mean; detail: most and limit), .power_of_limit_pct (below 95 with what held it back; nothing
  // where no limit is told), .temperature_c (most), .sm_clock_mhz (median),
  // .throttle.<reason>_pct (share of samples) and .ecc_uncorrected (difference over the test), each as null with a reason
  // where the GPU or driver does not tell it; test "telemetry". Where there were several intervals, power, temperature, clock
  // and reasons of each as <family>.load.<interval>.*.
  void report(std::string_view family, TestSink&);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kfab::agent::devices

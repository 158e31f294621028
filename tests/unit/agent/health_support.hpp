#pragma once

// Health over a stand-in for libnvidia-ml (tests/fakes/fake_nvml.cpp), a recorded kernel log and a tree of sysfs.
#include <fstream>

#include "agent/health/watch.hpp"
#include "unit/agent/device_support.hpp"
#include "unit/agent/support.hpp"

namespace health_test {

using namespace kfab;
using namespace kfab::agent;
using namespace kfab::agent::health;

inline const std::string fake = std::string(KFAB_BINARY_DIR) + "/libkfab_fake_nvml.so";
inline const std::string older = std::string(KFAB_BINARY_DIR) + "/libkfab_fake_nvml_old.so";
inline const std::string cuda = std::string(KFAB_BINARY_DIR) + "/libkfab_fake_cuda.so";
inline const std::string first_gpu = "GPU-00112233-4455-6677-8899-aabbccddeeff";

struct Node {
  test::TemporaryDirectory dir;
  Sources sources;
  Node() {
    sources.root = dir.string();
    sources.nvml_library = fake;
    sources.cuda_library = cuda;
    sources.kernel_log = "/kmsg";
    sources.link_load_s = 0.01;
    sources.journal.clear();
    test::write(dir / "kmsg", "6,0,1000,-;Linux\n");
    aer("correctable", "RxErr 0\nBadTLP 0\nTOTAL_ERR_COR 0\n");
    aer("nonfatal", "Undefined 0\nTOTAL_ERR_NONFATAL 0\n");
    aer("fatal", "Undefined 0\nTOTAL_ERR_FATAL 0\n");
  }
  void aer(const std::string& kind, const std::string& text) const { test::write(dir / ("sys/bus/pci/devices/0000:3b:00.0/aer_dev_" + kind), text); }
  void log(const std::string& line) const { std::ofstream(dir / "kmsg", std::ios::app) << "4,99,9000000,-;" << line << "\n"; }

  static devices::Accelerator gpu() {
    devices::Accelerator one;
    one.id = first_gpu;
    one.device = "cuda";
    one.pci_bus_id = "0000:3b:00.0";
    return one;
  }
  Collected health(const std::string& script, std::vector<std::string> slots = {"0000:3b:00"}) const {
    return in_process_of_its_own([&](devices::TestSink& sink) {
      ::setenv("KFAB_FAKE_NVML", script.c_str(), 1);
      run_health(gpu(), slots, sources, sink);
    });
  }
  // Two tests of a family; `between` happens while the second runs.
  Collected watched(const std::string& script, const std::function<void()>& between = [] {}, bool link = false) const {
    return in_process_of_its_own([&](devices::TestSink& sink) {
      ::setenv("KFAB_FAKE_NVML", script.c_str(), 1);
      CounterWatch watch(gpu(), sources, link);
      watch.test_ended("gemm_fp32");
      between();
      watch.test_ended("gemm_bf16");
      watch.finish("burnin", sink);
    });
  }
};

inline std::string detail(const Collected& said, std::string_view metric) { return said.measured(metric).string_or("detail"); }

}  // namespace health_test

#pragma once

// The cuda device over a stand-in for libcuda.so.1 that runs the text of the kernels (tests/gpu/fake_cuda.cpp), with the faults that
// it can plant.
#include <string>
#include <vector>

#include "unit/agent/device_support.hpp"

namespace kfab::agent::devices::cuda_test {

inline const std::string fake = std::string(KFAB_BINARY_DIR) + "/libkfab_fake_cuda.so";
inline const std::string fake_cublaslt = std::string(KFAB_BINARY_DIR) + "/libkfab_fake_cublaslt.so";

struct Ask {
  Family family = Family::burnin;
  std::vector<std::string> precisions{};
  std::string library = fake;
  bool prove = false;                    // first the proof of the kernels for this chip, as the agent does
  std::string second = "libno-such-cublaslt.so";
  std::string second_fault{};
  double seconds = 0.05;
  LoadShape load{};
  std::string level = "quick";
  int samples = 10;
  std::string nvml = "libnone-such-nvml.so";
  std::string nvml_script{};
  std::uint64_t memory_cap_bytes = 0;
  bool second_engine = true;
  std::string architectures{};
};

// Runs the first accelerator that is found; without one, says why as the agent would.
inline Collected with_fault(const std::string& fault, const Ask& ask) {
  return in_process_of_its_own([&](TestSink& sink) {
    // Small products: the stand-in multiplies on one processor.
    ::setenv("KFAB_FAKE_CUDA", (ask.family == Family::burnin ? "memory_mib=4," + fault : fault).c_str(), 1);
    ::setenv("KFAB_FAKE_CUBLASLT", ask.second_fault.c_str(), 1);
    CudaLibraries libraries;
    libraries.driver = ask.library;
    ::setenv("KFAB_FAKE_NVML", ask.nvml_script.c_str(), 1);
    libraries.nvml = ask.nvml;
    libraries.cublaslt = {ask.second};
    libraries.image = libraries.hopper_image = libraries.blackwell_image = "an image that the stand-in does not read";
    libraries.architectures = ask.architectures;
    const auto device = make_cuda_device(libraries);
    const auto found = device->accelerators();
    if (!found) return sink.test_done("inventory", "not_run", 0, found.error().message, to_string(found.error().code));
    for (const auto& one : *found) sink.emit(*to_json(one).as_object());
    TestRequest request;
    request.device = "cuda";
    request.precisions = ask.precisions;
    request.samples = ask.samples;
    request.buffer_bytes = 64 << 10;
    request.load = ask.load;
    request.level = ask.level;
    request.memory_cap_bytes = ask.memory_cap_bytes;
    request.second_engine = ask.second_engine;
    if (ask.prove) {
      Collected proofs;
      device->prove(found->at(0), request, proofs);
      for (const auto& message : proofs.messages) {
        request.kernels.push_back({message.string_or("name"), message.string_or("reason"), message.bool_or("proven", false), message.bool_or("wrong", false)});
        sink.emit(*message.as_object());
      }
    }
    device->run(ask.family, found->at(0), request, ask.seconds, sink);
  });
}

}  // namespace kfab::agent::devices::cuda_test

#include <fmt/format.h>

#include "agent/devices/cuda_session.hpp"
#include "agent/devices/nvml_sampler.hpp"
#include "base/codes/validation.hpp"
#include "base/embedded.hpp"

#if defined(KFAB_CUDA_ARCHS)
KFAB_EMBEDDED(cuda_kernels)
#endif
#if defined(KFAB_CUDA_HOPPER)
KFAB_EMBEDDED(cuda_hopper)
#endif
#if defined(KFAB_CUDA_BLACKWELL)
KFAB_EMBEDDED(cuda_blackwell)
#endif

namespace kfab::agent::devices {
namespace {

std::string_view built_in_image() {
#if defined(KFAB_CUDA_ARCHS)
  return embedded_cuda_kernels();
#else
  return {};
#endif
}

std::string_view built_in_hopper() {
#if defined(KFAB_CUDA_HOPPER)
  return embedded_cuda_hopper();
#else
  return {};
#endif
}

std::string_view built_in_blackwell() {
#if defined(KFAB_CUDA_BLACKWELL)
  return embedded_cuda_blackwell();
#else
  return {};
#endif
}

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(CudaLibraries libraries) : libraries_(std::move(libraries)) {
    if (libraries_.image.empty()) {
      libraries_.image = built_in_image();
      libraries_.hopper_image = built_in_hopper();
      libraries_.blackwell_image = built_in_blackwell();
      libraries_.architectures = cuda_architectures();
    }
  }
  std::string_view kind() const override { return "cuda"; }

  Result<std::vector<Accelerator>> accelerators() override {
    KFAB_TRY(driver, cuda::Driver::load(libraries_.driver));
    int count = 0;
    KFAB_TRY_VOID(driver->checked(driver->device_count(&count), "count the GPUs"));
    if (count == 0) return error(code::no_accelerator, "the driver finds no GPU");
    std::vector<Accelerator> out;
    for (int i = 0; i < count; ++i) {
      auto one = cuda::describe(*driver, i);
      if (!one) {   // listed all the same, so that its tests say what is wrong with it, and the others have theirs
        one = Accelerator{};
        one->id = cuda::nameless(i);
        one->device = "cuda";
        one->model = "not described by the driver";
        one->index = i;
      }
      out.push_back(std::move(*one));
    }
    return out;
  }

  void prove(const Accelerator& accelerator, const TestRequest& request, TestSink& sink) override {
    if (auto session = cuda::Session::open(libraries_, accelerator)) cuda::prove_kernels(**session, request, sink);
  }

  void run(Family family, const Accelerator& accelerator, const TestRequest& request, double seconds, TestSink& sink) override {
    // Kernels for one chip are for products alone; copies open a context on every GPU of the node, and each loads what it is given.
    CudaLibraries libraries = libraries_;
    if (family != Family::burnin) libraries.hopper_image = libraries.blackwell_image = {};
    auto session = cuda::Session::open(libraries, accelerator);
    if (!session) return cuda::end_by(sink, to_string(family), 0, session.error());
    NvmlSampler telemetry(libraries_.nvml, accelerator.id, accelerator.pci_bus_id);
    switch (family) {
      case Family::health: break;
      case Family::burnin: cuda::run_burnin(**session, request, seconds, telemetry, sink); break;
      case Family::memory: cuda::run_memory(**session, request, seconds, sink); break;
      case Family::bandwidth: kept_.keep(**session), cuda::run_bandwidth(**session, accelerator, request, seconds, kept_, sink); break;
    }
    telemetry.report(to_string(family), sink);
  }

 private:
  CudaLibraries libraries_;
  cuda::KeptContexts kept_;   // of all GPUs that copies of one reached: the next one's turn begins at once
};

}  // namespace

std::unique_ptr<Device> make_cuda_device(CudaLibraries libraries) { return std::make_unique<CudaDevice>(std::move(libraries)); }

bool cuda_built_in() { return !built_in_image().empty(); }

std::string cuda_built_with() {
#if defined(KFAB_CUDA_VERSION)
  return KFAB_CUDA_VERSION;
#else
  return {};
#endif
}

std::string cuda_least_driver() {
#if defined(KFAB_CUDA_LEAST_DRIVER)
  return KFAB_CUDA_LEAST_DRIVER;
#else
  return {};
#endif
}

std::string cuda_architectures() {
#if defined(KFAB_CUDA_ARCHS)
  return KFAB_CUDA_ARCHS;
#else
  return {};
#endif
}

}  // namespace kfab::agent::devices

#include <algorithm>

#include <fmt/format.h>

#include "agent/devices/cpu_host.hpp"
#include "agent/devices/cpu_kernels.hpp"
#include "agent/devices/cpu_tests.hpp"
#include "agent/devices/device.hpp"

namespace kfab::agent::devices {
namespace cpu {

int thread_count(const TestRequest& request) {
  const int usable = int(usable_processors().size());
  return request.threads > 0 ? std::min(request.threads, 4096) : usable;
}

std::uint64_t memory_budget(const TestRequest& request, double default_fraction) {
  const double fraction = request.memory_fraction > 0 ? request.memory_fraction : default_fraction;
  auto bytes = std::uint64_t(double(memory_facts().available_bytes) * fraction);
  if (request.memory_cap_bytes) bytes = std::min(bytes, request.memory_cap_bytes);
  return bytes;
}

}  // namespace cpu

namespace {

// All processors of the machine as one accelerator: they share its memory, and a node has one verdict for them.
class CpuDevice final : public Device {
 public:
  std::string_view kind() const override { return "cpu"; }

  Result<std::vector<Accelerator>> accelerators() override {
    Accelerator one;
    one.id = "cpu-" + cpu::machine_serial();
    one.device = "cpu";
    one.model = cpu::model_name();
    one.memory_bytes = cpu::memory_facts().total_bytes;
    one.detail = fmt::format("{} processors, {}", cpu::usable_processors().size(), cpu::to_string(cpu::best_isa()));
    return std::vector<Accelerator>{one};
  }

  void run(Family family, const Accelerator&, const TestRequest& request, double seconds, TestSink& sink) override {
    if (family != Family::health) tell_processors(family, request, sink);
    switch (family) {
      case Family::health: return;
      case Family::burnin: return cpu::run_burnin(request, seconds, sink);
      case Family::memory: return cpu::run_memory(request, seconds, sink);
      case Family::bandwidth: return cpu::run_bandwidth(request, seconds, sink);
    }
  }

 private:
  // Which part of the machine its figures are of: a cpuset or an affinity around the agent leaves fewer processors than there are.
  static void tell_processors(Family family, const TestRequest& request, TestSink& sink) {
    const int usable = int(cpu::usable_processors().size()), threads = cpu::thread_count(request);
    const auto withheld = cpu::withheld_processors();
    const std::string_view name = to_string(family);
    sink.measurement(name, fmt::format("{}.processors_withheld", name), json::Value(withheld), "count",
                     !withheld      ? std::string("the kernel does not say which processors there are")
                     : *withheld > 0 ? fmt::format("{} threads on {} of {} processors: a cpuset or an affinity keeps the agent from the others, which were not tested", threads, usable, usable + *withheld)
                                     : fmt::format("{} threads on all {} processors", threads, usable));
  }
};

}  // namespace

std::unique_ptr<Device> make_cpu_device() { return std::make_unique<CpuDevice>(); }

}  // namespace kfab::agent::devices

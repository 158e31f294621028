#include "agent/nvml.hpp"

#include <array>

#include <fmt/format.h>

#include "agent/nvml_library.hpp"

namespace kfab::agent {
namespace {

using nvml::FabricV2;
using nvml::MemoryV2;
using nvml::PciInfo;
using nvml::version_word;
using Nvml = NvmlLibrary;
using Device = Nvml::Device;

class DeviceFacts {
 public:
  DeviceFacts(const Nvml& nvml, Device device, unsigned index, SectionFacts& facts)
      : nvml_(nvml), device_(device), index_(index), facts_(facts) {}

  json::Value text(const char* function, std::string_view fact) {
    std::array<char, 128> buffer{};
    if (!good(nvml_.call(function, device_, buffer.data(), static_cast<unsigned>(buffer.size() - 1)), fact)) return {};
    return std::string(buffer.data());
  }
  json::Value number(const char* function, std::string_view fact, double scale = 1.0) {
    unsigned value = 0;
    if (!good(nvml_.call(function, device_, &value), fact)) return {};
    if (scale == 1.0) return value;
    return static_cast<double>(value) * scale;
  }
  json::Value flag(const char* function, std::string_view fact) {
    unsigned value = 0;
    if (!good(nvml_.call(function, device_, &value), fact)) return {};
    return value != 0;
  }
  json::Value current_flag(const char* function, std::string_view fact) {   // (current, pending)
    unsigned current = 0, pending = 0;
    if (!good(nvml_.call(function, device_, &current, &pending), fact)) return {};
    return current != 0;
  }
  json::Value pci_address() {
    PciInfo info{};
    if (!good(nvml_.call("nvmlDeviceGetPciInfo_v3", device_, &info), "pci_address")) return {};
    info.bus_id[sizeof info.bus_id - 1] = '\0';
    return std::string(info.bus_id);
  }
  json::Value memory_total() {
    MemoryV2 memory{};
    memory.version = version_word<MemoryV2>(2);
    if (!good(nvml_.call("nvmlDeviceGetMemoryInfo_v2", device_, &memory), "memory_total_bytes")) return {};
    return memory.total;
  }
  json::Value remapped_rows() {
    unsigned correctable = 0, uncorrectable = 0, pending = 0, failed = 0;
    const auto code = nvml_.call("nvmlDeviceGetRemappedRows", device_, &correctable, &uncorrectable, &pending, &failed);
    if (!good(code, "remapped_rows")) return {};
    return json::Object{{"correctable", correctable},
                        {"uncorrectable", uncorrectable},
                        {"pending", pending != 0},
                        {"failed", failed != 0}};
  }
  json::Value fabric() {
    static constexpr std::array states{"not_supported", "not_started", "in_progress", "completed"};
    FabricV2 info{};
    info.version = version_word<FabricV2>(2);
    if (!good(nvml_.call("nvmlDeviceGetGpuFabricInfoV", device_, &info), "fabric") || info.state == 0) return {};
    const char* state = info.state < states.size() ? states[info.state] : "unknown";
    return json::Object{{"state", state}, {"status", static_cast<int>(info.status)}};
  }

 private:
  // What is not supported is simply not known; any other failure is worth telling.
  bool good(Nvml::Return code, std::string_view fact) {
    if (code == Nvml::success) return true;
    if (code != Nvml::not_supported && code != Nvml::function_not_found)
      facts_.problem(fmt::format("gpus[{}].{}", index_, fact), nvml_.words(code));
    return false;
  }
  const Nvml& nvml_;
  Device device_;
  unsigned index_;
  SectionFacts& facts_;
};

json::Value driver_facts(const Nvml& nvml) {
  std::array<char, 96> version{};
  json::Value driver_version, cuda_version;
  if (nvml.call("nvmlSystemGetDriverVersion", version.data(), static_cast<unsigned>(version.size() - 1)) == Nvml::success)
    driver_version = std::string(version.data());
  int cuda = 0;
  if (nvml.call("nvmlSystemGetCudaDriverVersion_v2", &cuda) == Nvml::success)
    cuda_version = fmt::format("{}.{}", cuda / 1000, cuda % 1000 / 10);
  return json::Object{{"version", driver_version}, {"cuda_version", cuda_version}};
}

json::Value gpu_facts(const Nvml& nvml, unsigned index, SectionFacts& facts) {
  Device handle = nullptr;
  const auto code = nvml.call("nvmlDeviceGetHandleByIndex_v2", index, &handle);
  if (code != Nvml::success) {
    facts.problem(fmt::format("gpus[{}]", index), nvml.words(code));
    return json::Object{{"index", index}, {"name", nullptr}, {"uuid", nullptr}, {"serial", nullptr}};
  }
  DeviceFacts device(nvml, handle, index, facts);
  json::Object gpu;
  gpu.set("index", index);
  gpu.set("name", device.text("nvmlDeviceGetName", "name"));
  gpu.set("uuid", device.text("nvmlDeviceGetUUID", "uuid"));
  gpu.set("serial", device.text("nvmlDeviceGetSerial", "serial"));
  gpu.set("vbios", device.text("nvmlDeviceGetVbiosVersion", "vbios"));
  gpu.set("pci_address", device.pci_address());
  gpu.set("memory_total_bytes", device.memory_total());
  gpu.set("power_limit_w", device.number("nvmlDeviceGetEnforcedPowerLimit", "power_limit_w", 1e-3));
  gpu.set("default_power_limit_w",
          device.number("nvmlDeviceGetPowerManagementDefaultLimit", "default_power_limit_w", 1e-3));
  gpu.set("persistence", device.flag("nvmlDeviceGetPersistenceMode", "persistence"));
  gpu.set("ecc", device.current_flag("nvmlDeviceGetEccMode", "ecc"));
  gpu.set("mig", device.current_flag("nvmlDeviceGetMigMode", "mig"));
  gpu.set("pcie_gen", device.number("nvmlDeviceGetCurrPcieLinkGeneration", "pcie_gen"));
  gpu.set("pcie_width", device.number("nvmlDeviceGetCurrPcieLinkWidth", "pcie_width"));
  gpu.set("max_pcie_gen", device.number("nvmlDeviceGetMaxPcieLinkGeneration", "max_pcie_gen"));
  gpu.set("max_pcie_width", device.number("nvmlDeviceGetMaxPcieLinkWidth", "max_pcie_width"));
  gpu.set("remapped_rows", device.remapped_rows());
  gpu.set("fabric", device.fabric());
  return gpu;
}

}  // namespace

SectionFacts nvml_facts(const std::string& library) {
  SectionFacts facts;
  const Nvml nvml(library);
  if (!nvml.loaded()) return facts;
  if (const auto code = nvml.call("nvmlInit_v2"); code != Nvml::success) {
    facts.problem("gpus", "NVML did not start: " + nvml.words(code));
    return facts;
  }
  unsigned count = 0;
  if (const auto code = nvml.call("nvmlDeviceGetCount_v2", &count); code != Nvml::success) {
    facts.problem("gpus", "NVML does not tell how many GPUs there are: " + nvml.words(code));
    return facts;
  }
  json::Array gpus;
  for (unsigned index = 0; index < count && index < 1024; ++index) gpus.push_back(gpu_facts(nvml, index, facts));
  facts.value = json::Object{{"driver", driver_facts(nvml)}, {"gpus", std::move(gpus)}};
  nvml.call("nvmlShutdown");
  return facts;
}

}  // namespace kfab::agent

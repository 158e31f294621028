#include "agent/health/inventory.hpp"

#include <array>

#include <fmt/format.h>

#include "agent/facts_sections.hpp"
#include "agent/health/kernel_log.hpp"
#include "agent/nvml_library.hpp"
#include "agent/tests/child_protocol.hpp"
#include "base/codes/validation.hpp"
#include "base/text.hpp"

namespace kfab::agent::health {
namespace {

constexpr unsigned most_listed = 256;

devices::Accelerator listed(const NvmlLibrary& nvml, NvmlLibrary::Device device, unsigned index) {
  std::array<char, 128> text{};
  const auto words = [&](const char* function) {
    text.fill('\0');
    return nvml.call(function, device, text.data(), static_cast<unsigned>(text.size() - 1)) == NvmlLibrary::success ? one_line(text.data(), 100) : std::string();
  };
  devices::Accelerator out;
  out.device = "cuda";
  out.index = static_cast<int>(index);
  out.id = words("nvmlDeviceGetUUID");
  if (out.id.empty()) out.id = fmt::format("gpu-{}", index);
  out.model = words("nvmlDeviceGetName");
  nvml::PciInfo pci{};
  if (nvml.call("nvmlDeviceGetPciInfo_v3", device, &pci) == NvmlLibrary::success) {
    pci.bus_id[sizeof pci.bus_id - 1] = '\0';
    if (const std::string slot = pci_slot(pci.bus_id); !slot.empty()) out.pci_bus_id = slot + ".0";
  }
  nvml::MemoryV2 memory{};
  memory.version = nvml::version_word<nvml::MemoryV2>(2);
  if (nvml.call("nvmlDeviceGetMemoryInfo_v2", device, &memory) == NvmlLibrary::success) out.memory_bytes = memory.total;
  int cuda = 0;
  if (nvml.call("nvmlSystemGetCudaDriverVersion_v2", &cuda) == NvmlLibrary::success) out.driver = fmt::format("{}.{}", cuda / 1000, cuda % 1000 / 10);
  out.detail = "listed by NVML: CUDA does not start";
  return out;
}

// Why NVML lists none; empty when it has told of some.
std::string list_by_nvml(const NvmlLibrary& nvml, devices::TestSink& sink) {
  if (!nvml.loaded()) return nvml.why_not();
  if (const auto code = nvml.call("nvmlInit_v2"); code != NvmlLibrary::success) return "NVML does not start: " + nvml.words(code);
  unsigned count = 0;
  if (const auto code = nvml.call("nvmlDeviceGetCount_v2", &count); code != NvmlLibrary::success) return "NVML does not tell how many GPUs there are: " + nvml.words(code);
  for (unsigned index = 0; index < std::min(count, most_listed); ++index) {
    NvmlLibrary::Device device = nullptr;
    if (const auto code = nvml.call("nvmlDeviceGetHandleByIndex_v2", index, &device); code == NvmlLibrary::success) sink.emit(*devices::to_json(listed(nvml, device, index)).as_object());
    else sink.test_done(inventory_test, "failed", 0, fmt::format("NVML cannot open GPU {}: {}", index, nvml.words(code)),
                        to_string(code == NvmlLibrary::gpu_is_lost || code == NvmlLibrary::reset_required ? code::accelerator_lost : code::device_call_failed));
  }
  nvml.call("nvmlShutdown");
  return count > 0 ? std::string() : "NVML lists no GPU";
}

// Display controllers and 3D controllers of NVIDIA: what its GPUs are, whatever else sits on their boards.
std::vector<std::string> on_the_bus(const Sources& sources) {
  const FactTree tree(sources.root);
  std::vector<std::string> out;
  const std::string bus = "/sys/bus/pci/devices";
  for (const auto& address : tree.list(bus)) {
    const std::string kind = tree.read(fmt::format("{}/{}/class", bus, address)).value_or("");
    if (tree.read(fmt::format("{}/{}/vendor", bus, address)).value_or("") == "0x10de" && (kind.rfind("0x0300", 0) == 0 || kind.rfind("0x0302", 0) == 0)) out.push_back(address);
  }
  return out;
}

}  // namespace

void list_without_cuda(const Sources& sources, devices::TestSink& sink) {
  const NvmlLibrary nvml(sources.nvml_library);
  const std::string why = list_by_nvml(nvml, sink);
  if (why.empty()) return;
  const auto there = on_the_bus(sources);
  if (there.empty()) return;
  KernelLog log(sources);
  for (const auto& event : log.next())
    if (event.kind == KernelEvent::Kind::xid) sink.emit(json::Object{{"type", "stray_event"}, {"number", event.number}, {"slot", event.slot}, {"line", event.line}});
  sink.test_done(inventory_test, "not_run", 0,
                 one_line(fmt::format("{} of NVIDIA on the PCI bus ({}), and no driver tells of them: {}{}", plural(static_cast<long long>(there.size()), "GPU"), join(there, ", "), why,
                                      log.readable() ? std::string() : "; nor may the kernel's log be read: " + log.why_not()), 400),
                 to_string(nvml.loaded() ? code::device_call_failed : code::driver_missing));
}

}  // namespace kfab::agent::health

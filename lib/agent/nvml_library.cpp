#include "agent/nvml_library.hpp"

#include <dlfcn.h>

#include <array>

#include <fmt/format.h>

#include "base/text.hpp"

namespace kfab::agent {

NvmlLibrary::NvmlLibrary(const std::string& library) : handle_(::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  if (handle_ != nullptr) return;
  const char* why = ::dlerror();
  why_not_ = fmt::format("{} cannot be loaded: {}", library, one_line(why != nullptr ? why : "no reason given", 200));
}

void* NvmlLibrary::find(const char* name) const { return handle_ != nullptr ? ::dlsym(handle_, name) : nullptr; }

bool NvmlLibrary::has(const char* name) const { return find(name) != nullptr; }

std::string NvmlLibrary::words(Return code) const {
  if (code == function_not_found) return "this driver has no such function";
  void* symbol = find("nvmlErrorString");
  if (symbol == nullptr) return fmt::format("NVML error {}", code);
  const char* (*function)(Return) = nullptr;
  std::memcpy(&function, &symbol, sizeof function);
  const char* text = function(code);
  return fmt::format("{} (NVML error {})", one_line(text != nullptr ? text : "unknown", 120), code);
}

NvmlLibrary::Found NvmlLibrary::find_gpu(const std::string& uuid, const std::string& pci_bus_id) const {
  Found out;
  out.code = pci_bus_id.empty() ? function_not_found : call("nvmlDeviceGetHandleByPciBusId_v2", pci_bus_id.c_str(), &out.device);
  if (out.code == function_not_found) {
    out.any_gpu = true;
    out.code = call("nvmlDeviceGetHandleByUUID", uuid.c_str(), &out.device);
    if (out.code != success) out.why = fmt::format("NVML does not find {}: {}{}", uuid, words(out.code), out.code == gpu_is_lost ? "; which of the node's GPUs that is, it does not say" : "");
    return out;
  }
  if (out.code != success) {
    out.why = fmt::format("NVML does not find {} at {}: {}", uuid, pci_bus_id, words(out.code));
    return out;
  }
  std::array<char, 128> told{};
  const bool whole = uuid.rfind("GPU-", 0) == 0;
  if (whole && call("nvmlDeviceGetUUID", out.device, told.data(), static_cast<unsigned>(told.size() - 1)) == success && uuid != told.data()) {
    out.code = not_found;
    out.why = fmt::format("at {} there is {} and not {}", pci_bus_id, one_line(told.data(), 60), uuid);
  }
  return out;
}

}  // namespace kfab::agent

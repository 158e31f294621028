#pragma once

#include <cstdint>
#include <cstring>
#include <string>

// NVML as far as the agent uses it, found at run time. The layouts are fixed by NVML's ABI (header API version 13); their
// sizes are checked against the published ones. A symbol that this driver does not have answers function_not_found.
namespace kfab::agent {

class NvmlLibrary {
 public:
  using Device = void*;
  using Return = int;
  static constexpr Return success = 0, invalid_argument = 2, not_supported = 3, no_permission = 4, driver_not_loaded = 9, timed_out = 10,
                          function_not_found = 13, not_found = 6, insufficient_size = 7, corrupted_inforom = 14, gpu_is_lost = 15, reset_required = 16, version_mismatch = 25;

  explicit NvmlLibrary(const std::string& library);
  bool loaded() const { return handle_ != nullptr; }
  // Why it was not loaded, in the loader's words.
  const std::string& why_not() const { return why_not_; }
  bool has(const char* name) const;

  // Calls a function by its name.
  template <class... Arguments>
  Return call(const char* name, Arguments... arguments) const {
    void* symbol = find(name);
    if (symbol == nullptr) return function_not_found;
    Return (*function)(Arguments...) = nullptr;
    std::memcpy(&function, &symbol, sizeof function);
    return function(arguments...);
  }
  // "GPU is lost (NVML error 15)".
  std::string words(Return) const;

  // The handle of the GPU `uuid` ("GPU-..."; of a part, "MIG-...", the GPU that it is a part of) at its place on the PCI bus. Looking for
  // a UUID touches every GPU of the node, and one that is lost then answers for a sound one: without a place, or with a driver that
  // cannot find by it, that is all there is, and `any_gpu` says that an answer may be another's. not_found: another GPU is there.
  struct Found { Return code = success; Device device = nullptr; bool any_gpu = false; std::string why; };
  Found find_gpu(const std::string& uuid, const std::string& pci_bus_id) const;

 private:
  void* find(const char* name) const;
  void* handle_ = nullptr;   // kept until the process ends: unloading a driver library is not worth the risk
  std::string why_not_;
};

namespace nvml {

struct PciInfo {
  char bus_id_legacy[16];
  std::uint32_t domain, bus, device, pci_device_id, pci_subsystem_id;
  char bus_id[32];
};
static_assert(sizeof(PciInfo) == 68);

struct MemoryV2 {
  std::uint32_t version;
  std::uint64_t total, reserved, free, used;
};
static_assert(sizeof(MemoryV2) == 40);

struct FabricV2 {
  std::uint32_t version;
  std::uint8_t cluster_uuid[16];
  std::int32_t status;
  std::uint32_t clique_id;
  std::uint8_t state;
  std::uint32_t health_mask;
};
static_assert(sizeof(FabricV2) == 36);

struct FabricV3 {
  std::uint32_t version;
  std::uint8_t cluster_uuid[16];
  std::int32_t status;
  std::uint32_t clique_id;
  std::uint8_t state;
  std::uint32_t health_mask;
  std::uint8_t health_summary;
};
static_assert(sizeof(FabricV3) == 40);

struct FieldValue {
  std::uint32_t field, scope;
  std::int64_t timestamp, latency_us;
  std::int32_t type;
  NvmlLibrary::Return result;
  union {
    double d;
    std::uint32_t ui;
    std::uint64_t ull;
    std::int64_t sll;
  } value;
};
static_assert(sizeof(FieldValue) == 40);

struct SramErrorStatus {
  std::uint32_t version;
  std::uint64_t counts[11];
  std::uint32_t threshold_exceeded;
};
static_assert(sizeof(SramErrorStatus) == 104);

struct RepairStatus {
  std::uint32_t version, channel_repair_pending, tpc_repair_pending;
};
static_assert(sizeof(RepairStatus) == 12);

struct ProcessInfo {
  std::uint32_t pid;
  std::uint64_t memory_bytes;
  std::uint32_t gpu_instance, compute_instance;
};
static_assert(sizeof(ProcessInfo) == 24);

struct ConfidentialState {
  std::uint32_t environment, feature, dev_tools;
};

struct EventData {
  NvmlLibrary::Device device;
  std::uint64_t type, data;
  std::uint32_t gpu_instance, compute_instance;
};
static_assert(sizeof(EventData) == 32);

// The version word of a versioned struct.
template <class T>
constexpr std::uint32_t version_word(std::uint32_t number) {
  return static_cast<std::uint32_t>(sizeof(T)) | (number << 24U);
}

}  // namespace nvml
}  // namespace kfab::agent

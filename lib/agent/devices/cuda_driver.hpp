#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/result.hpp"

// The CUDA driver API as far as the tests use it, found at run time: kfab links nothing of CUDA. The declarations are our
// own, by the public documentation; the names are the versioned ones that the library exports.
namespace kfab::agent::devices::cuda {

using Status_ = int;                 // CUresult
using DeviceHandle = int;            // CUdevice
using Pointer = unsigned long long;  // CUdeviceptr
struct Uuid { unsigned char bytes[16]; };

// name in the table, symbol that is looked up, parameters
#define KFAB_CUDA_FUNCTIONS(F)                                                                                             \
  F(init, "cuInit", (unsigned flags))                                                                                      \
  F(driver_version, "cuDriverGetVersion", (int* version))                                                                  \
  F(device_count, "cuDeviceGetCount", (int* count))                                                                        \
  F(device_get, "cuDeviceGet", (DeviceHandle * device, int ordinal))                                                       \
  F(device_name, "cuDeviceGetName", (char* name, int length, DeviceHandle device))                                         \
  F(device_uuid, "cuDeviceGetUuid_v2", (Uuid * uuid, DeviceHandle device))                                                 \
  F(device_attribute, "cuDeviceGetAttribute", (int* value, int attribute, DeviceHandle device))                            \
  F(device_memory, "cuDeviceTotalMem_v2", (std::size_t * bytes, DeviceHandle device))                                      \
  F(device_pci, "cuDeviceGetPCIBusId", (char* id, int length, DeviceHandle device))                                        \
  F(can_access_peer, "cuDeviceCanAccessPeer", (int* can, DeviceHandle device, DeviceHandle peer))                          \
  F(context_retain, "cuDevicePrimaryCtxRetain", (void** context, DeviceHandle device))                                     \
  F(context_release, "cuDevicePrimaryCtxRelease_v2", (DeviceHandle device))                                                \
  F(context_current, "cuCtxSetCurrent", (void* context))                                                                   \
  F(enable_peer, "cuCtxEnablePeerAccess", (void* peer, unsigned flags))                                                    \
  F(disable_peer, "cuCtxDisablePeerAccess", (void* peer))                                                                  \
  F(memory_info, "cuMemGetInfo_v2", (std::size_t * free, std::size_t * total))                                             \
  F(allocate, "cuMemAlloc_v2", (Pointer * pointer, std::size_t bytes))                                                     \
  F(release, "cuMemFree_v2", (Pointer pointer))                                                                            \
  F(host_allocate, "cuMemHostAlloc", (void** pointer, std::size_t bytes, unsigned flags))                                  \
  F(host_release, "cuMemFreeHost", (void* pointer))                                                                        \
  F(host_device_pointer, "cuMemHostGetDevicePointer_v2", (Pointer * pointer, void* host, unsigned flags))                  \
  F(copy_to_device, "cuMemcpyHtoD_v2", (Pointer to, const void* from, std::size_t bytes))                                  \
  F(copy_to_host, "cuMemcpyDtoH_v2", (void* to, Pointer from, std::size_t bytes))                                          \
  F(copy_async, "cuMemcpyAsync", (Pointer to, Pointer from, std::size_t bytes, void* stream))                              \
  F(fill_words, "cuMemsetD32_v2", (Pointer to, unsigned word, std::size_t count))                                          \
  F(stream_create, "cuStreamCreate", (void** stream, unsigned flags))                                                      \
  F(stream_destroy, "cuStreamDestroy_v2", (void* stream))                                                                  \
  F(stream_synchronize, "cuStreamSynchronize", (void* stream))                                                             \
  F(stream_wait, "cuStreamWaitEvent", (void* stream, void* event, unsigned flags))                                         \
  F(event_create, "cuEventCreate", (void** event, unsigned flags))                                                         \
  F(event_destroy, "cuEventDestroy_v2", (void* event))                                                                     \
  F(event_record, "cuEventRecord", (void* event, void* stream))                                                            \
  F(event_query, "cuEventQuery", (void* event))                                                                            \
  F(event_elapsed, "cuEventElapsedTime", (float* milliseconds, void* start, void* end))                                    \
  F(module_load, "cuModuleLoadData", (void** module, const void* image))                                                   \
  F(module_unload, "cuModuleUnload", (void* module))                                                                       \
  F(module_function, "cuModuleGetFunction", (void** function, void* module, const char* name))                             \
  F(launch, "cuLaunchKernel", (void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, \
                               unsigned shared, void* stream, void** parameters, void** extra))                            \
  F(error_name, "cuGetErrorName", (Status_ status, const char** name))                                                     \
  F(error_text, "cuGetErrorString", (Status_ status, const char** text))

// What older drivers lack and the tests can do without: nullptr there.
#define KFAB_CUDA_OPTIONAL(F)                                                                                              \
  F(function_attribute, "cuFuncSetAttribute", (void* function, int attribute, int value))                                  \
  F(encode_tensor_map, "cuTensorMapEncodeTiled",                                                                           \
    (void* map, int type, unsigned rank, void* address, const std::uint64_t* sizes, const std::uint64_t* strides,          \
     const unsigned* box, const unsigned* element_strides, int interleave, int swizzle, int l2_promotion, int fill))

inline constexpr Status_ not_ready = 600;

class Driver {
 public:
  // Loads the library and initialises it. Errors: driver_missing, driver_too_old (a symbol is missing, or a mismatch with
  // the kernel's module), no_accelerator, accelerator_not_permitted, system_not_initialised, device_call_failed.
  static Result<std::shared_ptr<Driver>> load(const std::string& library);
  ~Driver();
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

#define KFAB_CUDA_MEMBER(name, symbol, parameters) Status_(*name) parameters = nullptr;
  KFAB_CUDA_FUNCTIONS(KFAB_CUDA_MEMBER)
  KFAB_CUDA_OPTIONAL(KFAB_CUDA_MEMBER)
#undef KFAB_CUDA_MEMBER

  // ok, or what the driver said in words, with the code that fits.
  Status checked(Status_ status, std::string_view what) const;

  // A GPU's work never ended: from here on nothing that lies on any GPU is freed, because the driver would wait for that work.
  void give_up();
  bool gave_up() const { return gave_up_; }

 private:
  Driver() = default;
  void* library_ = nullptr;
  bool gave_up_ = false;
};

// Whether an image compiled for these architectures ("75 80 90a 120a", ascending; the last one as PTX as well) runs on a chip of this
// compute capability (90 for 9.0): compiled code on chips of its major version from its minor one on, that of an "a" on its own chip
// alone, PTX on its chip and all later ones. Architectures that are not known run on everything.
bool runs_on(std::string_view architectures, int capability);

// Whether the kernel's driver is there without its module for computing: CUDA then says "unknown error" and nothing else. `root`
// stands before /dev, for tests.
bool uvm_missing(const std::string& root = {});

// "CUDA 13.0", as the driver offers it.
std::string driver_words(int version);

enum Attribute : int {
  clock_rate_khz = 13, multiprocessors = 16, compute_mode = 20, ecc_enabled = 32, l2_bytes = 38, capability_major = 75, capability_minor = 76
};

}  // namespace kfab::agent::devices::cuda

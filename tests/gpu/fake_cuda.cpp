// A libcuda.so.1 for machines without a GPU: memory is the host's, kernels are the text of kernels.cu under the emulator,
// everything is done before the call returns. KFAB_FAKE_CUDA plants faults, separated by commas:
//   init=N            cuInit answers N (100 no device, 802 fabric manager, 803 versions differ, ...)
//   devices=N         default 1                memory_mib=N   default 8, of which 7 are free
//   mig               the device is a part of one
//   capability=N      80 for 8.0; default 90
//   oom               no memory can be had     pinned_oom     no pinned host memory
//   lost_after=N      from the Nth kernel on, everything answers 719
//   hang              no event ever completes  crash          the process dies at the first product
//   flip_product=N    a bit of product number N is wrong
//   stuck=B           bit B of one word of every memory pattern stays 1
//   flip_copy=N       a bit of asynchronous copy number N is wrong
//   blind             comparisons find nothing idle  comparisons compare nothing

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <chrono>
#include <map>
#include <string>
#include <unistd.h>
#include <utility>

#include "gpu/emulator.hpp"

#include "agent/kernels/kernels.cu"

namespace {

struct Faults {
  std::map<std::string, long> values;
  Faults() {
    const char* text = std::getenv("KFAB_FAKE_CUDA");
    std::string word;
    for (const char* c = text ? text : "";; ++c) {
      if (*c && *c != ',') {
        word += *c;
        continue;
      }
      const auto equal = word.find('=');
      if (!word.empty()) values[word.substr(0, equal)] = equal == std::string::npos ? 1 : std::atol(word.c_str() + equal + 1);
      word.clear();
      if (!*c) break;
    }
  }
  bool has(const char* name) const { return values.count(name) > 0; }
  long get(const char* name, long fallback) const { return has(name) ? values.at(name) : fallback; }
};
Faults& faults() {
  static Faults all;
  return all;
}

int sticky = 0;
long launches = 0, products = 0, copies = 0;
std::map<void*, std::size_t> allocations;
std::size_t allocated = 0;

std::size_t total_bytes() { return std::size_t(faults().get("memory_mib", 8)) << 20; }
std::size_t free_bytes() {
  const std::size_t usable = total_bytes() / 8 * 7;
  return usable > allocated ? usable - allocated : 0;
}
int lost() {
  if (faults().has("lost_after") && launches >= faults().get("lost_after", 0)) sticky = 719;
  return sticky;
}

template <class... P, std::size_t... I>
void call(void (*kernel)(P...), void** parameters, std::index_sequence<I...>) {
  kernel(*static_cast<P*>(parameters[I])...);
}
template <class... P>
std::function<void()> bound(void (*kernel)(P...), void** parameters) {
  return [=] { call(kernel, parameters, std::index_sequence_for<P...>()); };
}
using Binder = std::function<void()> (*)(void**);
template <auto kernel>
std::function<void()> bind(void** parameters) { return bound(kernel, parameters); }

void no_spin(volatile int*, u64) {}   // the host lets go only after all is queued: here it would never come to that

struct Row { const char* name; Binder bind; };
#define KERNEL(name) {#name, bind<name>}
const Row rows[] = {KERNEL(kfab_fill_operand), KERNEL(kfab_gemm_fp16), KERNEL(kfab_gemm_bf16), KERNEL(kfab_gemm_tf32), KERNEL(kfab_gemm_int8),
                    KERNEL(kfab_gemm_fp8), KERNEL(kfab_gemm_fp64), KERNEL(kfab_gemm_fp64_vector), KERNEL(kfab_gemm_fp32), KERNEL(kfab_verify_32),
                    KERNEL(kfab_verify_64), KERNEL(kfab_memory_fill), KERNEL(kfab_memory_check), KERNEL(kfab_copy_fill), KERNEL(kfab_copy_check),
                    {"kfab_spin", bind<no_spin>}, KERNEL(kfab_stream), KERNEL(kfab_stream_check)};

bool starts(const std::string& name, const char* prefix) { return name.rfind(prefix, 0) == 0; }
bool compares(const std::string& name) { return starts(name, "kfab_verify") || name.find("check") != std::string::npos; }
CheckState* state_of(const std::string& name, void** p) {
  const int place = starts(name, "kfab_verify") ? 7 : name == "kfab_memory_check" ? 8 : 3;
  return *static_cast<CheckState**>(p[place]);
}

struct Event { std::chrono::steady_clock::time_point at; };

}  // namespace

extern "C" {

int cuInit(unsigned) { return int(faults().get("init", 0)); }
int cuDriverGetVersion(int* version) { return *version = 13000, 0; }
int cuDeviceGetCount(int* count) { return *count = int(faults().get("devices", 1)), 0; }
int cuDeviceGet(int* device, int ordinal) { return *device = ordinal, 0; }
int cuDeviceGetName(char* name, int length, int) {
  std::snprintf(name, std::size_t(length), "%s", faults().has("mig") ? "Fake GPU MIG 1g.10gb" : "Fake GPU");
  return 0;
}
int cuDeviceGetUuid_v2(unsigned char* uuid, int device) {
  for (int i = 0; i < 16; ++i) uuid[i] = (unsigned char)(i * 17 + device);
  return 0;
}
int cuDeviceGetAttribute(int* value, int attribute, int) {
  const long capability = faults().get("capability", 90);
  *value = attribute == 75 ? int(capability / 10) : attribute == 76 ? int(capability % 10) : attribute == 16 ? 2 : 1;
  return 0;
}
int cuDeviceTotalMem_v2(std::size_t* bytes, int) { return *bytes = total_bytes(), 0; }
int cuDeviceGetPCIBusId(char* id, int length, int device) { return std::snprintf(id, std::size_t(length), "FFFF:%02X:00.0", device), 0; }
int cuDeviceCanAccessPeer(int* can, int, int) { return *can = 1, 0; }
int cuDevicePrimaryCtxRetain(void** context, int device) { return *context = reinterpret_cast<void*>(std::intptr_t(device) + 1), lost(); }
int cuDevicePrimaryCtxRelease_v2(int) { return 0; }
int cuCtxSetCurrent(void*) { return lost(); }
int cuCtxEnablePeerAccess(void*, unsigned) { return lost(); }
int cuMemGetInfo_v2(std::size_t* free, std::size_t* total) { return *free = free_bytes(), *total = total_bytes(), lost(); }
int cuMemAlloc_v2(unsigned long long* pointer, std::size_t bytes) {
  if (lost()) return sticky;
  if (faults().has("oom") || bytes > free_bytes()) return 2;
  void* memory = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  allocations[memory] = bytes;
  allocated += bytes;
  *pointer = reinterpret_cast<std::uintptr_t>(memory);
  return 0;
}
int cuMemFree_v2(unsigned long long pointer) {
  void* memory = reinterpret_cast<void*>(std::uintptr_t(pointer));
  const auto found = allocations.find(memory);
  if (found == allocations.end()) return 1;
  allocated -= found->second;
  allocations.erase(found);
  std::free(memory);
  return 0;
}
int cuMemHostAlloc(void** pointer, std::size_t bytes, unsigned) {
  if (faults().has("pinned_oom")) return 2;
  return *pointer = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096), lost();
}
int cuMemFreeHost(void* pointer) { return std::free(pointer), 0; }
int cuMemHostGetDevicePointer_v2(unsigned long long* pointer, void* host, unsigned) { return *pointer = reinterpret_cast<std::uintptr_t>(host), lost(); }
int cuMemcpyHtoD_v2(unsigned long long to, const void* from, std::size_t bytes) {
  return std::memcpy(reinterpret_cast<void*>(std::uintptr_t(to)), from, bytes), lost();
}
int cuMemcpyDtoH_v2(void* to, unsigned long long from, std::size_t bytes) {
  return std::memcpy(to, reinterpret_cast<const void*>(std::uintptr_t(from)), bytes), lost();
}
int cuMemcpyAsync(unsigned long long to, unsigned long long from, std::size_t bytes, void*) {
  auto* target = reinterpret_cast<unsigned char*>(std::uintptr_t(to));
  std::memcpy(target, reinterpret_cast<const void*>(std::uintptr_t(from)), bytes);
  if (faults().has("flip_copy") && ++copies == faults().get("flip_copy", 0)) target[bytes / 2] ^= 0x10;
  return lost();
}
int cuMemsetD32_v2(unsigned long long to, unsigned word, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) reinterpret_cast<unsigned*>(std::uintptr_t(to))[i] = word;
  return lost();
}
int cuStreamCreate(void** stream, unsigned) { return *stream = new int, lost(); }
int cuStreamDestroy_v2(void* stream) { return delete static_cast<int*>(stream), 0; }
int cuStreamSynchronize(void*) { return lost(); }
int cuStreamWaitEvent(void*, void*, unsigned) { return lost(); }
int cuEventCreate(void** event, unsigned) { return *event = new Event, lost(); }
int cuEventDestroy_v2(void* event) { return delete static_cast<Event*>(event), 0; }
int cuEventRecord(void* event, void*) { return static_cast<Event*>(event)->at = std::chrono::steady_clock::now(), lost(); }
int cuEventQuery(void*) { return faults().has("hang") ? 600 : lost(); }
int cuEventElapsedTime(float* milliseconds, void* start, void* end) {
  *milliseconds = std::chrono::duration<float, std::milli>(static_cast<Event*>(end)->at - static_cast<Event*>(start)->at).count();
  return lost();
}
int cuModuleLoadData(void** module, const void*) { return *module = &sticky, lost(); }
int cuModuleUnload(void*) { return 0; }
int cuModuleGetFunction(void** function, void*, const char* name) {
  for (const auto& row : rows)
    if (std::string(row.name) == name) return *function = const_cast<Row*>(&row), 0;
  return 500;
}
int cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned, unsigned threads, unsigned, unsigned, unsigned, void*, void** parameters, void**) {
  ++launches;
  if (lost()) return 0;   // a fault shows when it is waited for
  const auto& row = *static_cast<const Row*>(function);
  const std::string name = row.name;
  if (starts(name, "kfab_gemm") && faults().has("crash")) ::_exit(134);
  if (compares(name) && faults().has("idle")) return 0;
  const CheckState before = compares(name) ? *state_of(name, parameters) : CheckState{};
  emulator::launch(gx, gy, threads, row.bind(parameters));
  if (compares(name) && faults().has("blind")) {
    const auto checked = state_of(name, parameters)->checked;
    *state_of(name, parameters) = before;
    state_of(name, parameters)->checked = checked;
  }
  if (starts(name, "kfab_gemm") && faults().has("flip_product") && ++products == faults().get("flip_product", 0))
    (*static_cast<unsigned**>(parameters[2]))[1234] ^= 0x400;
  if (name == "kfab_memory_fill" && faults().has("stuck")) (*static_cast<u64**>(parameters[0]))[77] |= u64{1} << faults().get("stuck", 0);
  return 0;
}
int cuGetErrorName(int, const char** name) { return *name = "CUDA_ERROR_OF_THE_TEST", 0; }
int cuGetErrorString(int, const char** text) { return *text = "an error that the test planted", 0; }

}  // extern "C"

// A libcuda.so.1 for machines without a GPU: memory is the host's, kernels are the text of kernels.cu and hopper.cu under the
// emulator, everything is done before the call returns. KFAB_FAKE_CUDA plants faults, separated by commas:
//   init=N            cuInit answers N (100 no device, 802 fabric manager, 803 versions differ, ...)
//   sick=N            cuInit answers 999 where CUDA_VISIBLE_DEVICES, by UUIDs, does not leave out device N
//   devices=N         default 1                memory_mib=N   default 8, of which 7 are free
//   mig               the device is a part of one
//   capability=N      80 for 8.0; default 90   driver=N       the CUDA version that the driver offers, default 13000
//   only=N            the faults below are those of device N alone
//   context=N         opening a context answers N (46 busy, 2 out of memory)      mode=N   the compute mode: 2, 3
//   module=N          loading kernels answers N (222 for a driver that is too old)
//   oom               no memory can be had     pinned_oom     no pinned host memory     piece_mib=N   none larger than that
//   lost_after=N      from the device's Nth kernel on, everything answers 719, or what error=N says
//   hang=N            from the Nth kernel of the device on nothing queued on it ever ends, and calls that wait for it wait for ever:
//                     those for a stream, copies that do not queue, and freeing its memory
//   stuck_launch      waiting for a stream never ends
//   hang_link=FT      copies from device F to device T never end
//   slow=N            asynchronous copies between host and device move N bytes a millisecond
//   crash             the process dies at the first product
//   flip_product=N    a bit of product number N is wrong          only_random   of those of full mantissas
//   hopper=wrong|lost a bit of each product of Hopper's and Blackwell's kernels is wrong; one of their tiles never arrives
//   commit=lost       one of Blackwell's products never tells that it is done
//   undescribed       its UUID cannot be had
//   no_tensor_map     the tensor memory unit is not supported
//   stuck=B           bit B of one word of every memory pattern stays 1
//   unread=B          bit B of one word is read wrong once in a check, and right the next time
//   flip_copy=N       a bit of asynchronous copy number N is wrong
//   flip_link=FT      a bit of each copy from device F to device T is wrong
//   most_peers=N      a GPU connects no more than N others at a time
//   no_peer           no GPU reaches another     unreachable=FT   device F does not reach device T
// KFAB_FAKE_CUDA_CONTEXTS names a file that gets a line "PROCESS DEVICE" for every context that is opened.
//   blind             comparisons find nothing idle  comparisons compare nothing

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

#include "gpu/emulator.hpp"

#include "agent/kernels/kernels.cu"
#include "agent/kernels/hopper.cu"
#include "agent/kernels/blackwell.cu"

namespace {

struct Faults {
  std::map<std::string, long> values;
  std::map<std::string, std::string> words;
  Faults() {
    const char* text = std::getenv("KFAB_FAKE_CUDA");
    std::string word;
    for (const char* c = text ? text : "";; ++c) {
      if (*c && *c != ',') {
        word += *c;
        continue;
      }
      const auto equal = word.find('=');
      if (!word.empty()) {
        values[word.substr(0, equal)] = equal == std::string::npos ? 1 : std::atol(word.c_str() + equal + 1);
        words[word.substr(0, equal)] = equal == std::string::npos ? "" : word.substr(equal + 1);
      }
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

constexpr int most_devices = 8;
thread_local int current = 0;   // the device whose context is this thread's
int sticky[most_devices] = {};
int retained[most_devices] = {};          // holders of the device's context
std::set<int> reached[most_devices];      // devices whose memory a context may use
bool full_mantissas = false;    // what was multiplied last
long launched_on[most_devices] = {}, products = 0, copies = 0;
bool spinning[most_devices] = {};                        // a kernel there waits for the host
std::set<std::pair<int, std::string>> asked_for;         // kernels, by device
struct Allocation { std::size_t bytes; int device; };
std::map<std::uintptr_t, Allocation> allocations;
std::size_t allocated[most_devices] = {};

// Whether a fault strikes on this thread's device.
bool struck(const char* name) { return faults().has(name) && faults().get("only", current) == current; }

std::size_t total_bytes() { return std::size_t(faults().get("memory_mib", 8)) << 20; }
std::size_t free_bytes() {
  const std::size_t usable = total_bytes() / 8 * 7;
  return usable > allocated[current] ? usable - allocated[current] : 0;
}
int lost() {
  if (struck("lost_after") && launched_on[current] >= faults().get("lost_after", 0)) sticky[current] = int(faults().get("error", 719));
  return sticky[current];
}
// The device whose memory this is; -1 for the host's.
int device_of(unsigned long long address) {
  auto next = allocations.upper_bound(std::uintptr_t(address));
  if (next == allocations.begin()) return -1;
  --next;
  return address < next->first + next->second.bytes ? next->second.device : -1;
}
void damage_link(unsigned long long to, unsigned long long from, std::size_t bytes) {
  if (!faults().has("flip_link")) return;
  const long link = faults().get("flip_link", 0);
  if (device_of(from) == link / 10 && device_of(to) == link % 10) reinterpret_cast<unsigned char*>(std::uintptr_t(to))[bytes / 2] ^= 0x10;
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
                    KERNEL(kfab_gemm_fp8), KERNEL(kfab_gemm_fp8_e5m2), KERNEL(kfab_gemm_fp4), KERNEL(kfab_gemm_fp64), KERNEL(kfab_gemm_fp64_vector),
                    KERNEL(kfab_gemm_fp32), KERNEL(kfab_verify_32), KERNEL(kfab_verify_64), KERNEL(kfab_compare), KERNEL(kfab_memory_fill),
                    KERNEL(kfab_memory_check), KERNEL(kfab_memory_move), KERNEL(kfab_copy_fill), KERNEL(kfab_copy_check),
                    KERNEL(kfab_copy_sm), KERNEL(kfab_chase),
                    {"kfab_spin", bind<no_spin>}, KERNEL(kfab_stream), KERNEL(kfab_stream_check),
                    KERNEL(kfab_hopper_bf16), KERNEL(kfab_hopper_fp16), KERNEL(kfab_hopper_tf32), KERNEL(kfab_hopper_int8), KERNEL(kfab_hopper_fp8),
                    KERNEL(kfab_hopper_fp8_e5m2), KERNEL(kfab_hopper_fp8_chunked), KERNEL(kfab_hopper_fp8_e5m2_chunked),
                    KERNEL(kfab_blackwell_bf16), KERNEL(kfab_blackwell_fp16), KERNEL(kfab_blackwell_tf32), KERNEL(kfab_blackwell_int8), KERNEL(kfab_blackwell_fp8),
                    KERNEL(kfab_blackwell_fp8_e5m2), KERNEL(kfab_blackwell_fp8_random), KERNEL(kfab_blackwell_fp8_e5m2_random), KERNEL(kfab_blackwell_fp4)};

bool starts(const std::string& name, const char* prefix) { return name.rfind(prefix, 0) == 0; }
bool hopper(const std::string& name) { return starts(name, "kfab_hopper") || starts(name, "kfab_blackwell"); }
bool multiplies(const std::string& name) { return starts(name, "kfab_gemm") || hopper(name); }
bool compares(const std::string& name) { return starts(name, "kfab_verify") || name == "kfab_compare" || name.find("check") != std::string::npos; }
CheckState* state_of(const std::string& name, void** p) {
  const int place = starts(name, "kfab_verify") || name == "kfab_memory_check" ? 7 : name == "kfab_compare" ? 4 : 3;
  return *static_cast<CheckState**>(p[place]);
}

// The devices that CUDA_VISIBLE_DEVICES leaves; a true driver stops at the first word that names none, and so does this.
std::vector<int> visible() {
  std::vector<int> out;
  const char* text = std::getenv("CUDA_VISIBLE_DEVICES");
  const int all = int(faults().get("devices", 1));
  for (int device = 0; !text && device < all; ++device) out.push_back(device);
  std::istringstream words(text ? text : "");
  for (std::string word; std::getline(words, word, ',');) {
    int named = -1;
    for (int device = 0; device < all; ++device) {
      std::string uuid = "GPU-";
      for (int i = 0; i < 16; ++i) {
        char byte[4];
        std::snprintf(byte, sizeof byte, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", (i * 17 + device) & 0xff);
        uuid += byte;
      }
      if (word == uuid || word == std::to_string(device)) named = device;
    }
    if (named < 0) break;
    out.push_back(named);
  }
  return out;
}

using Time = std::chrono::steady_clock::time_point;
Time now() { return std::chrono::steady_clock::now(); }
struct Stream { int device = 0; bool stuck = false; Time busy_until{}; };
struct Event { Time at{}; bool never = false; };
Stream null_streams[most_devices];
bool stuck_work[most_devices] = {};   // something queued on the device never ends

Stream& stream_at(void* stream) {
  if (stream) return *static_cast<Stream*>(stream);
  null_streams[current].device = current;
  return null_streams[current];
}
bool hung(int device) {
  return faults().has("hang") && faults().get("only", device) == device && launched_on[device] >= faults().get("hang", 1);
}
void stick(Stream& stream) { stream.stuck = stuck_work[stream.device] = true; }
// Into the file that the test named: which process opened a context on which device.
void opened(int device) {
  if (const char* path = std::getenv("KFAB_FAKE_CUDA_CONTEXTS"))
    if (std::FILE* file = std::fopen(path, "a")) std::fprintf(file, "%d %d\n", int(::getpid()), device), std::fclose(file);
}
// For ever, as far as any test is concerned.
void block_if(bool waits) {
  if (waits) ::sleep(1000);
}

}  // namespace

extern "C" {

int cuInit(unsigned) {
  for (const int device : visible())
    if (device == faults().get("sick", -1)) return 999;
  if (visible().empty()) return 100;
  return int(faults().get("init", 0));
}
int cuDriverGetVersion(int* version) { return *version = int(faults().get("driver", 13000)), 0; }
int cuDeviceGetCount(int* count) { return *count = int(visible().size()), 0; }
int cuDeviceGet(int* device, int ordinal) {
  if (ordinal < 0 || ordinal >= int(visible().size())) return 101;
  return *device = visible()[std::size_t(ordinal)], 0;
}
int cuDeviceGetName(char* name, int length, int device) {
  std::snprintf(name, std::size_t(length), "%s", faults().has("mig") && faults().get("only", device) == device ? "Fake GPU MIG 1g.10gb" : "Fake GPU");
  return 0;
}
int cuDeviceGetUuid_v2(unsigned char* uuid, int device) {
  if (faults().has("undescribed") && faults().get("only", device) == device) return 999;
  for (int i = 0; i < 16; ++i) uuid[i] = (unsigned char)(i * 17 + device);
  return 0;
}
int cuDeviceGetAttribute(int* value, int attribute, int device) {
  const long capability = faults().get("capability", 90);
  const bool its = faults().get("only", device) == device;
  switch (attribute) {
    case 75: return *value = int(capability / 10), 0;
    case 76: return *value = int(capability % 10), 0;
    case 16: return *value = 2, 0;   // multiprocessors
    case 20: return *value = its ? int(faults().get("mode", 0)) : 0, 0;
    default: return *value = 1, 0;
  }
}
int cuDeviceTotalMem_v2(std::size_t* bytes, int) { return *bytes = total_bytes(), 0; }
int cuDeviceGetPCIBusId(char* id, int length, int device) { return std::snprintf(id, std::size_t(length), "FFFF:%02X:00.0", device), 0; }
int cuDeviceCanAccessPeer(int* can, int from, int to) { return *can = !faults().has("no_peer") && faults().get("unreachable", -1) != from * 10 + to, 0; }
int cuDevicePrimaryCtxRetain(void** context, int device) {
  if (faults().has("context") && faults().get("only", device) == device) return int(faults().get("context", 0));
  if (retained[device]++ == 0) opened(device);
  return *context = reinterpret_cast<void*>(std::intptr_t(device) + 1), lost();
}
int cuDevicePrimaryCtxRelease_v2(int device) {
  block_if(stuck_work[device]);
  if (--retained[device] == 0) reached[device].clear();
  return 0;
}
int cuCtxSetCurrent(void* context) { return current = int(reinterpret_cast<std::intptr_t>(context)) - 1, lost(); }
int cuCtxEnablePeerAccess(void* peer, unsigned) {
  const int other = int(reinterpret_cast<std::intptr_t>(peer)) - 1;
  if (reached[current].count(other)) return 704;
  if (long(reached[current].size()) >= faults().get("most_peers", most_devices)) return 711;
  return reached[current].insert(other), lost();
}
int cuCtxDisablePeerAccess(void* peer) { return reached[current].erase(int(reinterpret_cast<std::intptr_t>(peer)) - 1) ? lost() : 705; }
int cuMemGetInfo_v2(std::size_t* free, std::size_t* total) { return *free = free_bytes(), *total = total_bytes(), lost(); }
int cuMemAlloc_v2(unsigned long long* pointer, std::size_t bytes) {
  if (lost()) return sticky[current];
  if (struck("oom") || bytes > free_bytes() || (struck("piece_mib") && bytes > std::size_t(faults().get("piece_mib", 0)) << 20)) return 2;
  void* memory = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  allocations[reinterpret_cast<std::uintptr_t>(memory)] = {bytes, current};
  allocated[current] += bytes;
  *pointer = reinterpret_cast<std::uintptr_t>(memory);
  return 0;
}
int cuMemFree_v2(unsigned long long pointer) {
  const auto found = allocations.find(std::uintptr_t(pointer));
  if (found == allocations.end()) return 1;
  block_if(stuck_work[found->second.device]);
  allocated[found->second.device] -= found->second.bytes;
  allocations.erase(found);
  std::free(reinterpret_cast<void*>(std::uintptr_t(pointer)));
  return 0;
}
int cuMemHostAlloc(void** pointer, std::size_t bytes, unsigned) {
  if (struck("pinned_oom")) return 2;
  return *pointer = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096), lost();
}
int cuMemFreeHost(void* pointer) { return std::free(pointer), 0; }
int cuMemHostGetDevicePointer_v2(unsigned long long* pointer, void* host, unsigned) { return *pointer = reinterpret_cast<std::uintptr_t>(host), lost(); }
int cuMemcpyHtoD_v2(unsigned long long to, const void* from, std::size_t bytes) {
  block_if(hung(current));
  return std::memcpy(reinterpret_cast<void*>(std::uintptr_t(to)), from, bytes), lost();
}
int cuMemcpyDtoH_v2(void* to, unsigned long long from, std::size_t bytes) {
  block_if(hung(current));
  return std::memcpy(to, reinterpret_cast<const void*>(std::uintptr_t(from)), bytes), lost();
}
int cuMemcpyAsync(unsigned long long to, unsigned long long from, std::size_t bytes, void* stream_of) {
  Stream& stream = stream_at(stream_of);
  const int source = device_of(from), destination = device_of(to);
  if (hung(current) || (faults().has("hang_link") && source >= 0 && destination >= 0 && faults().get("hang_link", 0) == source * 10 + destination)) stick(stream);
  if (stream.stuck) return lost();
  if (faults().has("slow") && (source < 0) != (destination < 0))
    stream.busy_until = std::max(now(), stream.busy_until) + std::chrono::microseconds(long(bytes) * 1000 / faults().get("slow", 1));
  auto* target = reinterpret_cast<unsigned char*>(std::uintptr_t(to));
  std::memcpy(target, reinterpret_cast<const void*>(std::uintptr_t(from)), bytes);
  const bool buffer = bytes > sizeof(CheckState);   // else a state on its way
  if (faults().has("flip_copy") && buffer && ++copies == faults().get("flip_copy", 0)) target[bytes / 2] ^= 0x10;
  damage_link(to, from, bytes);
  return lost();
}
int cuMemsetD32_v2(unsigned long long to, unsigned word, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) reinterpret_cast<unsigned*>(std::uintptr_t(to))[i] = word;
  return lost();
}
int cuStreamCreate(void** stream, unsigned) { return *stream = new Stream{current}, lost(); }
int cuStreamDestroy_v2(void* stream) { return delete static_cast<Stream*>(stream), 0; }
int cuStreamSynchronize(void* stream) {
  std::fill(std::begin(spinning), std::end(spinning), false);
  block_if(struck("stuck_launch") || stream_at(stream).stuck);
  return lost();
}
int cuStreamWaitEvent(void* stream, void* event, unsigned) {
  if (static_cast<Event*>(event)->never) stick(stream_at(stream));
  return lost();
}
int cuEventCreate(void** event, unsigned) { return *event = new Event, lost(); }
int cuEventDestroy_v2(void* event) { return delete static_cast<Event*>(event), 0; }
int cuEventRecord(void* event, void* stream) {
  return *static_cast<Event*>(event) = {std::max(now(), stream_at(stream).busy_until), stream_at(stream).stuck}, lost();
}
int cuEventQuery(void* event) {
  const auto& asked = *static_cast<Event*>(event);
  std::fill(std::begin(spinning), std::end(spinning), false);   // whoever looks has let go
  return asked.never || asked.at > now() ? 600 : lost();
}
int cuEventElapsedTime(float* milliseconds, void* start, void* end) {
  *milliseconds = std::chrono::duration<float, std::milli>(static_cast<Event*>(end)->at - static_cast<Event*>(start)->at).count();
  return lost();
}
int cuModuleLoadData(void** module, const void*) {
  if (struck("module")) return int(faults().get("module", 0));
  return *module = &sticky, lost();
}
int cuModuleUnload(void*) { return 0; }
// Without eager loading a true driver waits here for what the GPU is doing, and so for ever behind a kernel that waits for the host.
int cuModuleGetFunction(void** function, void*, const char* name) {
  const char* loading = std::getenv("CUDA_MODULE_LOADING");
  if (spinning[current] && asked_for.count({current, name}) == 0 && (!loading || std::string(loading) != "EAGER")) return 702;
  asked_for.insert({current, name});
  for (const auto& row : rows)
    if (std::string(row.name) == name) return *function = const_cast<Row*>(&row), 0;
  return 500;
}
int cuFuncSetAttribute(void*, int attribute, int value) { return attribute == 8 && std::size_t(value) <= emulator::shared_bytes ? 0 : 1; }
// Bytes in two dimensions, swizzled over 128 bytes: the only kind that is asked for.
int cuTensorMapEncodeTiled(void* map, int type, unsigned rank, void* address, const std::uint64_t* sizes, const std::uint64_t* strides, const unsigned* box,
                           const unsigned*, int interleave, int swizzle, int, int) {
  if (struck("no_tensor_map")) return 801;
  if (type != 0 || rank != 2 || interleave != 0 || swizzle != 3 || box[0] > 128 || box[1] > 256 || strides[0] % 16 != 0) return 1;
  const emulator::TensorMap encoded{static_cast<const unsigned char*>(address), sizes[0], sizes[1], strides[0], box[0], box[1]};
  static_assert(sizeof encoded <= 128);
  std::memcpy(map, &encoded, sizeof encoded);
  return 0;
}
int cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned, unsigned threads, unsigned, unsigned, unsigned, void* stream, void** parameters, void**) {
  ++launched_on[current];
  if (hung(current)) stick(stream_at(stream));
  if (stream_at(stream).stuck) return 0;
  if (lost()) return 0;   // a fault shows when it is waited for
  const auto& row = *static_cast<const Row*>(function);
  const std::string name = row.name;
  spinning[current] = spinning[current] || name == "kfab_spin";
  if (multiplies(name) && struck("crash")) ::_exit(134);
  if (compares(name) && struck("idle")) return 0;
  const bool unread = name == "kfab_memory_check" && struck("unread");
  u64* sick = unread ? *static_cast<u64**>(parameters[0]) + 77 : nullptr;
  if (sick) *sick ^= u64{1} << faults().get("unread", 0);
  const CheckState before = compares(name) ? *state_of(name, parameters) : CheckState{};
  emulator::lose_tiles = hopper(name) && struck("hopper") && faults().words["hopper"] == "lost" ? 1 : 0;
  emulator::skip_commits = starts(name, "kfab_blackwell") && faults().words["commit"] == "lost" ? 1 : 0;
  emulator::launch(gx, gy, threads, row.bind(parameters));
  // What the ISA forbids, or tensor memory that was not given back, a GPU would answer with an error or never again.
  if (emulator::tensor_faults || emulator::tensor_taken) sticky[current] = 715;
  if (sick && !*static_cast<int*>(parameters[6])) *sick ^= u64{1} << faults().get("unread", 0);   // where it was not overwritten anyhow
  if (compares(name) && struck("blind")) {
    const auto checked = state_of(name, parameters)->checked;
    *state_of(name, parameters) = before;
    state_of(name, parameters)->checked = checked;
  }
  if (name == "kfab_fill_operand") full_mantissas = *static_cast<int*>(parameters[9]) != 0;
  const bool counted = full_mantissas || !faults().has("only_random");
  if (multiplies(name) && struck("flip_product") && counted && ++products == faults().get("flip_product", 0))
    (*static_cast<unsigned**>(parameters[2]))[1234] ^= 0x400;
  if (hopper(name) && struck("hopper") && faults().words["hopper"] == "wrong") (*static_cast<unsigned**>(parameters[2]))[1234] ^= 0x400;
  if (name == "kfab_memory_fill" && struck("stuck")) (*static_cast<u64**>(parameters[0]))[77] |= u64{1} << faults().get("stuck", 0);
  if (name == "kfab_copy_sm")
    damage_link(*static_cast<unsigned long long*>(parameters[0]), *static_cast<unsigned long long*>(parameters[1]), *static_cast<u64*>(parameters[2]) * 16);
  return 0;
}
int cuGetErrorName(int, const char** name) { return *name = "CUDA_ERROR_OF_THE_TEST", 0; }
int cuGetErrorString(int, const char** text) { return *text = "an error that the test planted", 0; }

}  // extern "C"

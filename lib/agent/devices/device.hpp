#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/devices/load_shape.hpp"
#include "base/result.hpp"
#include "json/value.hpp"

// What can be tested: the processor, and NVIDIA GPUs by the driver API. A device knows its accelerators and runs test
// families on one of them; it neither judges nor decides what is run.
namespace kfab::agent::devices {

struct Accelerator {
  std::string id;                    // UUID ("GPU-...") or "cpu-<board serial or machine id>"
  std::string device;                // "cpu" | "cuda" | "vendor"
  std::string model;
  int index = 0;                     // the device's own order: an attribute, not an identity
  int numa_node = -1;                // -1: not known
  std::uint64_t memory_bytes = 0;
  std::string pci_bus_id;            // "0000:1b:00.0", empty when there is none
  std::string compute_capability;    // "9.0"
  std::string driver;                // CUDA version that the driver offers, "13.0"
  std::string detail;                // instruction sets, SM count, ...
};
json::Value to_json(const Accelerator&);   // the "accelerator" message
Accelerator accelerator_from_json(const json::Value&);

enum class Family : std::uint8_t { health, memory, bandwidth, burnin };
inline constexpr Family all_families[] = {Family::health, Family::memory, Family::bandwidth, Family::burnin};
std::string_view to_string(Family);

// reason: why not, in words. wrong: it computed wrong bits; else it could not be launched, gave up or was not asked.
struct KernelProof { std::string name, reason; bool proven = false, wrong = false; };

// What is to be done, read from a request with bounds: durations 0.1 s to 30 days, fractions 0.01 to 0.98.
struct TestRequest {
  std::string device;
  std::string vendor;                // whose accelerators the node is to have, by its profile; empty: not said
  std::string level = "quick";
  std::vector<Family> families;
  double duration_s = 30;
  int threads = 0;
  double memory_fraction = 0;        // 0: the device's default
  std::uint64_t memory_cap_bytes = 0;   // 0: the device's default
  std::vector<std::string> precisions, patterns, accelerators;
  int samples = 10;
  std::uint64_t buffer_bytes = 0;    // 0: the device's default (512 MiB on a GPU)
  bool second_engine = true;         // whether a burn-in looks for cuBLASLt to multiply beside it
  std::vector<KernelProof> kernels;  // what the kernels that must prove themselves have shown; one not named may not be used
  LoadShape load;                    // of a burn-in
  double silence_s = 120;            // whoever watches takes so long a silence for a hang: no wait for another GPU lasts as long
  std::vector<std::string> sick;     // accelerators that hung or were lost before: no test of another one touches them
};
Result<TestRequest> read_request(const json::Value&);
json::Value to_json(const TestRequest&);

// Where a running test says what it finds, and asks whether it should stop.
class TestSink {
 public:
  virtual ~TestSink() = default;
  virtual void emit(json::Object message) = 0;   // gets "accelerator" and "device" added where it lacks them
  virtual bool stop_requested() const = 0;

  void progress(std::string_view step, double done, double total, std::string_view message);
  void measurement(std::string_view test, std::string_view metric, json::Value value, std::string_view unit,
                   std::string_view detail = {}, const std::vector<double>& samples = {}, std::string_view link = {});
  void test_done(std::string_view test, std::string_view status, double duration_s, std::string_view reason = {},
                 std::string_view code = {});
};

class Device {
 public:
  virtual ~Device() = default;
  virtual std::string_view kind() const = 0;
  // Errors: why there is none (driver_missing, no_accelerator, ...), with the next step in its code.
  virtual Result<std::vector<Accelerator>> accelerators() = 0;
  // Lets kernels that nobody may trust unseen prove themselves, in a process of their own before a burn-in: says "kernel"
  // messages {name, proven, reason}. Whatever it does to the accelerator's context ends with that process.
  virtual void prove(const Accelerator&, const TestRequest&, TestSink&) {}
  // Runs one family (but health, which is read of any accelerator in the same way) within about `seconds` and says everything through the sink; errors of single tests are messages.
  virtual void run(Family, const Accelerator&, const TestRequest&, double seconds, TestSink&) = 0;
};

std::unique_ptr<Device> make_cpu_device();
// Accelerators of which only their makers' tools know: Rebellions, FuriosaAI, AMD, Intel Gaudi.
// With a vendor, what is not there is that maker's tool; without one, all of them.
std::unique_ptr<Device> make_vendor_device(std::string vendor = {});
// Parameters for tests alone: nodes have these libraries, and an empty image is the built-in one.
struct CudaLibraries {
  std::string driver = "libcuda.so.1", nvml = "libnvidia-ml.so.1";
  // The first that works. A toolkit's folder is not always the loader's; of several that a pattern names the newest comes first.
  std::vector<std::string> cublaslt = {"libcublasLt.so.13", "libcublasLt.so.12", "/usr/local/cuda/lib64/libcublasLt.so.1[32]", "/usr/local/cuda-*/lib64/libcublasLt.so.1[32]"};
  std::string_view image{}, hopper_image{}, blackwell_image{};
  std::string architectures{};   // for which the image is; empty: not known
};
std::unique_ptr<Device> make_cuda_device(CudaLibraries = {});
// Whether the kernels were compiled in (kfab version says so), and for which architectures.
bool cuda_built_in();
std::string cuda_architectures();
std::string cuda_built_with();   // "13.0", empty without nvcc
std::string cuda_least_driver(); // "CUDA 13.0 or R580": the oldest driver that loads them; empty without nvcc

// Whether this process gave up a GPU whose work never ended. Nothing of it may be freed then, nor may the driver tidy up at the
// process's end: both would wait for that work.
bool gpu_given_up();

// null when the kind is unknown.
std::unique_ptr<Device> make_device(std::string_view kind, std::string_view vendor = {});

}  // namespace kfab::agent::devices

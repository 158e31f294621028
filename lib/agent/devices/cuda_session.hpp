#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/devices/cuda_driver.hpp"
#include "agent/devices/device.hpp"
#include "agent/kernels/exact.hpp"

// One GPU with its context, kernels and a stream, for the length of a test family. Everything it gives out is freed by
// itself; every failure is a Diagnostic in the driver's words.
namespace kfab::agent::devices { class NvmlSampler; }
namespace kfab::agent::devices::cuda {

class DeviceMemory {
 public:
  DeviceMemory() = default;
  DeviceMemory(std::shared_ptr<Driver> driver, Pointer pointer, std::uint64_t bytes)
      : driver_(std::move(driver)), pointer_(pointer), bytes_(bytes) {}
  DeviceMemory(DeviceMemory&& o) noexcept : driver_(std::move(o.driver_)), pointer_(o.pointer_), bytes_(o.bytes_) { o.pointer_ = 0; }
  DeviceMemory& operator=(DeviceMemory&& o) noexcept {
    std::swap(driver_, o.driver_);
    std::swap(pointer_, o.pointer_);
    std::swap(bytes_, o.bytes_);
    return *this;
  }
  ~DeviceMemory() { if (pointer_ && !driver_->gave_up()) driver_->release(pointer_); }
  Pointer at(std::uint64_t byte = 0) const { return pointer_ + byte; }
  std::uint64_t bytes() const { return bytes_; }

 private:
  std::shared_ptr<Driver> driver_;
  Pointer pointer_ = 0;
  std::uint64_t bytes_ = 0;
};

// Host memory that the GPU reads and writes by itself.
class PinnedMemory {
 public:
  PinnedMemory(std::shared_ptr<Driver> driver, void* data, std::uint64_t bytes) : driver_(std::move(driver)), data_(data), bytes_(bytes) {}
  PinnedMemory(PinnedMemory&& o) noexcept : driver_(std::move(o.driver_)), data_(o.data_), bytes_(o.bytes_) { o.data_ = nullptr; }
  PinnedMemory& operator=(PinnedMemory&&) = delete;
  ~PinnedMemory() { if (data_ && !driver_->gave_up()) driver_->host_release(data_); }
  template <class T> T* as() const { return static_cast<T*>(data_); }
  Pointer address() const { return Pointer(reinterpret_cast<std::uintptr_t>(data_)); }   // unified addressing
  std::uint64_t bytes() const { return bytes_; }

 private:
  std::shared_ptr<Driver> driver_;
  void* data_;
  std::uint64_t bytes_;
};

class Stream {
 public:
  Stream(std::shared_ptr<Driver> driver, void* handle) : driver_(std::move(driver)), handle_(handle) {}
  Stream(Stream&& o) noexcept : driver_(std::move(o.driver_)), handle_(o.handle_) { o.handle_ = nullptr; }
  Stream& operator=(Stream&&) = delete;
  ~Stream() { if (handle_ && !driver_->gave_up()) driver_->stream_destroy(handle_); }
  void* get() const { return handle_; }

 private:
  std::shared_ptr<Driver> driver_;
  void* handle_;
};

class Event {
 public:
  Event(std::shared_ptr<Driver> driver, void* handle) : driver_(std::move(driver)), handle_(handle) {}
  Event(Event&& o) noexcept : driver_(std::move(o.driver_)), handle_(o.handle_) { o.handle_ = nullptr; }
  Event& operator=(Event&&) = delete;
  ~Event() { if (handle_ && !driver_->gave_up()) driver_->event_destroy(handle_); }
  void* get() const { return handle_; }

 private:
  std::shared_ptr<Driver> driver_;
  void* handle_;
};

struct Grid { unsigned x = 1, y = 1, threads = 256, shared = 0; };   // shared: bytes beyond what the kernel declares

class Session {
 public:
  // Opens the accelerator by its UUID, since the driver's order may differ between processes, and makes it this thread's.
  static Result<std::unique_ptr<Session>> open(const CudaLibraries&, const Accelerator&);
  // Another GPU of the node, by the driver's order; this thread's current one stays.
  static Result<std::unique_ptr<Session>> open_peer(const CudaLibraries&, const Session& own, int ordinal);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const std::shared_ptr<Driver>& driver() const { return driver_; }
  DeviceHandle device() const { return device_; }
  const std::string& words() const { return words_; }   // "GPU 2 (GPU-...)", for messages about a peer
  void* context() const { return context_; }
  void* stream() const { return stream_; }
  int capability() const { return capability_; }      // 90 for 9.0
  int multiprocessors() const { return multiprocessors_; }
  const CudaLibraries& libraries() const { return libraries_; }
  // What follows on this thread concerns this GPU.
  Status use() const { return driver_->checked(driver_->context_current(context_), "use the GPU's context"); }
  // Lets this GPU reach the memory of another, and no longer: a GPU connects only so many at a time.
  Status reach(const Session& peer) const;
  void part_from(const Session& peer) const;
  // Whether the image has a kernel of that name.
  bool has(const char* kernel) { return find(kernel).has_value(); }

  struct MemoryInfo { std::uint64_t free = 0, total = 0; };
  Result<MemoryInfo> memory_info() const;
  Result<DeviceMemory> allocate(std::uint64_t bytes) const;
  Result<PinnedMemory> allocate_pinned(std::uint64_t bytes) const;
  Result<Stream> make_stream() const;
  Result<Event> make_event() const;

  // Queues a kernel. The parameters are passed by value in the order of the kernel's own, each of exactly its type.
  template <class... P>
  Status launch(const char* kernel, Grid grid, void* stream, P... parameters) {
    void* list[] = {static_cast<void*>(&parameters)...};
    return launch_list(kernel, grid, stream, list);
  }
  // There when it returns: a copy from pageable memory may return while its last part is still on the way, and streams
  // made here do not wait for it.
  Status upload(Pointer to, const void* from, std::uint64_t bytes) const {
    KFAB_TRY_VOID(driver_->checked(driver_->copy_to_device(to, from, bytes), "copy to the GPU"));
    return synchronize(nullptr);
  }
  Status download(void* to, Pointer from, std::uint64_t bytes) const { return driver_->checked(driver_->copy_to_host(to, from, bytes), "copy from the GPU"); }
  // Waits without burning a processor, and in silence: whoever watches sees a hung GPU by that. With a limit it is an error
  // (test_hung) when the work has not ended by then, and what lies on GPUs is given up.
  Status wait(const Event&, double limit_s = 0) const;
  // What was queued in the stream has ended within the limit.
  Status finish(void* stream, double limit_s) const;
  Status synchronize(void* stream) const { return driver_->checked(driver_->stream_synchronize(stream), "wait for the GPU"); }
  Status record(const Event& event, void* stream) const { return driver_->checked(driver_->event_record(event.get(), stream), "record an event"); }
  Result<double> seconds_between(const Event& start, const Event& end) const;

  // A grid that fills the GPU for a loop over `items`.
  Grid filling(std::uint64_t items, unsigned threads) const;

 private:
  Session() = default;
  Status start();   // context, modules, stream
  Result<void*> find(const char* kernel);
  Status launch_list(const char* kernel, Grid, void* stream, void** parameters);

  CudaLibraries libraries_;
  std::shared_ptr<Driver> driver_;
  DeviceHandle device_ = 0;
  std::string words_;
  bool retained_ = false;
  void *context_ = nullptr, *stream_ = nullptr;
  std::vector<void*> modules_;
  int capability_ = 0, multiprocessors_ = 1;
  std::vector<std::pair<std::string, void*>> functions_;
};

// Contexts that stay open from one session to the next. To open one takes a driver a good part of a second, and copies of one GPU after
// the other open all of a node for each of them.
class KeptContexts {
 public:
  KeptContexts() = default;
  KeptContexts(const KeptContexts&) = delete;
  KeptContexts& operator=(const KeptContexts&) = delete;
  ~KeptContexts();
  void keep(const Session&);

 private:
  std::vector<std::pair<std::shared_ptr<Driver>, DeviceHandle>> kept_;
};

// The id of a device that the driver lists and cannot describe: its place in the driver's order.
std::string nameless(int ordinal);

// Describes device `ordinal` of the driver.
Result<Accelerator> describe(const Driver&, int ordinal);

// Says which of the kernels that must prove themselves did so on this GPU, as "kernel" messages {name, proven, wrong, reason}.
void prove_kernels(Session&, const TestRequest&, TestSink&);

// The three families.
void run_burnin(Session&, const TestRequest&, double seconds, NvmlSampler&, TestSink&);
void run_memory(Session&, const TestRequest&, double seconds, TestSink&);
void run_bandwidth(Session&, const Accelerator&, const TestRequest&, double seconds, KeptContexts&, TestSink&);

// Ends a test by what went wrong: "failed" where the accelerator is at fault, else "not_run".
void end_by(TestSink&, std::string_view test, double seconds, const Diagnostic&);

}  // namespace kfab::agent::devices::cuda

#include "agent/devices/cuda_session.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

#include <fmt/format.h>

#include "agent/devices/findings.hpp"
#include "agent/devices/host_memory.hpp"
#include "base/codes/validation.hpp"
#include "base/text.hpp"

namespace kfab::agent::devices::cuda {
namespace {

int attribute(const Driver& driver, DeviceHandle device, Attribute which) {
  int value = 0;
  return driver.device_attribute(&value, which, device) == 0 ? value : 0;
}

}  // namespace

std::string nameless(int ordinal) { return fmt::format("gpu-{}", ordinal); }

Result<Accelerator> describe(const Driver& driver, int ordinal) {
  DeviceHandle device = 0;
  KFAB_TRY_VOID(driver.checked(driver.device_get(&device, ordinal), fmt::format("open GPU {}", ordinal)));
  char name[256] = {}, bus[32] = {};
  Uuid uuid{};
  std::size_t bytes = 0;
  int version = 0;
  KFAB_TRY_VOID(driver.checked(driver.device_name(name, sizeof name - 1, device), "name of the GPU"));
  KFAB_TRY_VOID(driver.checked(driver.device_uuid(&uuid, device), "UUID of the GPU"));
  driver.device_pci(bus, sizeof bus - 1, device);
  driver.device_memory(&bytes, device);
  driver.driver_version(&version);
  Accelerator out;
  out.device = "cuda";
  out.model = one_line(name, 100);
  out.index = ordinal;
  out.id = out.model.find(" MIG ") != std::string::npos ? "MIG-" : "GPU-";
  for (int i = 0; i < 16; ++i) out.id += fmt::format("{}{:02x}", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid.bytes[i]);
  out.pci_bus_id = to_lower(one_line(bus, 31));
  out.numa_node = node_of_pci(out.pci_bus_id).node;
  out.memory_bytes = bytes;
  out.compute_capability = fmt::format("{}.{}", attribute(driver, device, capability_major), attribute(driver, device, capability_minor));
  out.driver = fmt::format("{}.{}", version / 1000, version % 1000 / 10);
  out.detail = fmt::format("{} multiprocessors, ECC {}", attribute(driver, device, multiprocessors), attribute(driver, device, ecc_enabled) ? "on" : "off");
  return out;
}

Result<std::unique_ptr<Session>> Session::open(const CudaLibraries& libraries, const Accelerator& wanted) {
  if (wanted.model.find(" MIG ") != std::string::npos)
    return error(code::mig_enabled, fmt::format("{} is a part of a GPU: {}", wanted.id, wanted.model));
  if (libraries.image.empty()) return error(code::kernels_not_built_in, "this agent carries no CUDA kernels");
  KFAB_TRY(driver, Driver::load(libraries.driver));
  int count = 0;
  KFAB_TRY_VOID(driver->checked(driver->device_count(&count), "count the GPUs"));
  std::unique_ptr<Session> session(new Session);
  session->driver_ = driver;
  session->libraries_ = libraries;
  bool found = false;
  for (int i = 0; i < count && !found; ++i) {
    auto one = describe(*driver, i);
    // Another that cannot even be described costs this one nothing.
    if (!one && wanted.id == nameless(i)) return std::move(one).error();
    if (!one || one->id != wanted.id) continue;
    found = true;
    driver->device_get(&session->device_, i);
  }
  if (!found) return error(code::accelerator_lost, fmt::format("{} is no longer there", wanted.id));
  KFAB_TRY_VOID(session->start());
  return session;
}

Result<std::unique_ptr<Session>> Session::open_peer(const CudaLibraries& libraries, const Session& own, int ordinal) {
  std::unique_ptr<Session> session(new Session);
  session->driver_ = own.driver_;
  session->libraries_ = libraries;
  const auto described = describe(*own.driver_, ordinal);
  session->words_ = fmt::format("GPU {} ({})", ordinal, described ? described->id : nameless(ordinal));
  KFAB_TRY_VOID(own.driver_->checked(own.driver_->device_get(&session->device_, ordinal), fmt::format("open GPU {}", ordinal)));
  auto started = session->start();
  KFAB_TRY_VOID(own.use());
  KFAB_TRY_VOID(std::move(started));
  return session;
}

Status Session::start() {
  constexpr int prohibited = 2, exclusive = 3;
  const int mode = attribute(*driver_, device_, compute_mode);
  if (mode == prohibited) return error(code::accelerator_busy, "the GPU's compute mode is \"prohibited\"");
  if (auto opened = driver_->checked(driver_->context_retain(&context_, device_), "open a context on the GPU"); !opened) {
    auto why = std::move(opened).error();
    if (mode == exclusive) why.message += "; its compute mode is \"exclusive process\"";
    return why;
  }
  retained_ = true;
  KFAB_TRY_VOID(use());
  capability_ = attribute(*driver_, device_, capability_major) * 10 + attribute(*driver_, device_, capability_minor);
  multiprocessors_ = std::max(1, attribute(*driver_, device_, cuda::multiprocessors));
  const auto load = [&](std::string_view image) {
    void* module = nullptr;
    auto status = driver_->checked(driver_->module_load(&module, image.data()), "load the kernels");
    if (status) modules_.push_back(module);
    return status;
  };
  if (auto loaded = load(libraries_.image); !loaded) {
    auto why = std::move(loaded).error();
    if (why.code == code::driver_too_old && !runs_on(libraries_.architectures, capability_))
      return error(code::chip_not_compiled_for, fmt::format("compute capability {}.{}: this agent's kernels are for {}, the last of them for later chips as well; {}", capability_ / 10,
                                                            capability_ % 10, libraries_.architectures, why.message));
    int version = 0;
    driver_->driver_version(&version);
    // What an older driver says of a newer file is that it is damaged, or made for another GPU.
    why.message += fmt::format("; the driver offers {}, the least that loads kfab's kernels is {}; they were built with CUDA {} for {}", driver_words(version),
                               cuda_least_driver().empty() ? "not known" : cuda_least_driver(), cuda_built_with(), cuda_architectures());
    return why;
  }
  // Without this one the general kernels do: whoever wants it sees that it is not there.
  if (capability_ == 90 && !libraries_.hopper_image.empty()) static_cast<void>(load(libraries_.hopper_image));
  if ((capability_ == 100 || capability_ == 103) && !libraries_.blackwell_image.empty()) static_cast<void>(load(libraries_.blackwell_image));
  return driver_->checked(driver_->stream_create(&stream_, 1), "make a stream");   // 1: not held up by the null stream
}

Status Session::reach(const Session& peer) const {
  constexpr Status_ already_enabled = 704;
  KFAB_TRY_VOID(use());
  const Status_ enabled = driver_->enable_peer(peer.context_, 0);
  return enabled == already_enabled ? ok() : driver_->checked(enabled, "reach the peer's memory");
}

void Session::part_from(const Session& peer) const {
  if (!driver_->gave_up() && use()) static_cast<void>(driver_->disable_peer(peer.context_));
}

void KeptContexts::keep(const Session& session) {
  if (std::any_of(kept_.begin(), kept_.end(), [&](const auto& one) { return one.second == session.device(); })) return;
  void* context = nullptr;   // the device's primary one, which the session has open
  if (session.driver()->context_retain(&context, session.device()) == 0) kept_.emplace_back(session.driver(), session.device());
}

KeptContexts::~KeptContexts() {
  if (gpu_given_up()) return;
  for (const auto& [driver, device] : kept_) driver->context_release(device);
}

Session::~Session() {
  if (driver_->gave_up()) return;
  if (stream_) driver_->stream_destroy(stream_);
  for (void* module : modules_) driver_->module_unload(module);
  if (retained_) driver_->context_release(device_);
}

Result<Session::MemoryInfo> Session::memory_info() const {
  std::size_t free = 0, total = 0;
  KFAB_TRY_VOID(driver_->checked(driver_->memory_info(&free, &total), "ask for free memory"));
  return MemoryInfo{free, total};
}

Result<DeviceMemory> Session::allocate(std::uint64_t bytes) const {
  Pointer pointer = 0;
  KFAB_TRY_VOID(driver_->checked(driver_->allocate(&pointer, bytes), fmt::format("allocate {} MiB on the GPU", bytes >> 20)));
  return DeviceMemory(driver_, pointer, bytes);
}

Result<PinnedMemory> Session::allocate_pinned(std::uint64_t bytes) const {
  void* data = nullptr;
  KFAB_TRY_VOID(driver_->checked(driver_->host_allocate(&data, bytes, 1 | 2), fmt::format("pin {} MiB of host memory", bytes >> 20)));   // portable, mapped
  return PinnedMemory(driver_, data, bytes);
}

Result<Stream> Session::make_stream() const {
  void* handle = nullptr;
  KFAB_TRY_VOID(driver_->checked(driver_->stream_create(&handle, 1), "make a stream"));
  return Stream(driver_, handle);
}

Result<Event> Session::make_event() const {
  void* handle = nullptr;
  KFAB_TRY_VOID(driver_->checked(driver_->event_create(&handle, 0), "make an event"));
  return Event(driver_, handle);
}

Result<void*> Session::find(const char* kernel) {
  for (const auto& [name, function] : functions_)
    if (name == kernel) return function;
  void* function = nullptr;
  Status_ status = 500;   // not found
  for (void* module : modules_)
    if (status != 0) status = driver_->module_function(&function, module, kernel);
  KFAB_TRY_VOID(driver_->checked(status, fmt::format("find kernel {}", kernel)));
  functions_.emplace_back(kernel, function);
  return function;
}

Status Session::launch_list(const char* kernel, Grid grid, void* stream, void** parameters) {
  KFAB_TRY(function, find(kernel));
  constexpr int most_dynamic_shared = 8;
  constexpr unsigned without_asking = 48 * 1024;
  if (grid.shared > without_asking) {
    if (!driver_->function_attribute) return error(code::driver_too_old, "the driver cannot give a kernel more shared memory");
    KFAB_TRY_VOID(driver_->checked(driver_->function_attribute(function, most_dynamic_shared, int(grid.shared)), fmt::format("shared memory for {}", kernel)));
  }
  return driver_->checked(driver_->launch(function, grid.x, grid.y, 1, grid.threads, 1, 1, grid.shared, stream, parameters, nullptr),
                          fmt::format("start kernel {}", kernel));
}

Status Session::wait(const Event& event, double limit_s) const {
  const Stopwatch watch;
  for (int polls = 0;; ++polls) {
    const Status_ status = driver_->event_query(event.get());
    if (status != not_ready) return driver_->checked(status, "run on the GPU");
    if (limit_s > 0 && watch.seconds() > limit_s) {
      driver_->give_up();
      return error(code::test_hung, fmt::format("its work did not end within {:.3g} s", limit_s));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(polls < 20 ? 50 : 500));
  }
}

Status Session::finish(void* stream, double limit_s) const {
  KFAB_TRY(event, make_event());
  KFAB_TRY_VOID(record(event, stream));
  return wait(event, limit_s);
}

Result<double> Session::seconds_between(const Event& start, const Event& end) const {
  float milliseconds = 0;
  KFAB_TRY_VOID(driver_->checked(driver_->event_elapsed(&milliseconds, start.get(), end.get()), "read the GPU's clock"));
  // No work takes no time: a rate over nothing would pass every floor.
  if (!(milliseconds > 0) || !std::isfinite(milliseconds)) return error(code::device_call_failed, fmt::format("the GPU's clock says that the work took {} ms", milliseconds));
  return double(milliseconds) / 1000;
}

Grid Session::filling(std::uint64_t items, unsigned threads) const {
  const std::uint64_t most = std::uint64_t(multiprocessors_) * 2048 / threads * 2;
  return {unsigned(std::clamp<std::uint64_t>((items + threads - 1) / threads, 1, std::max<std::uint64_t>(most, 1))), 1, threads, 0};
}

void end_by(TestSink& sink, std::string_view test, double seconds, const Diagnostic& why) {
  sink.test_done(test, is_broken(why.code) ? "failed" : "not_run", seconds, one_line(why.message, 400), to_string(why.code));
}

}  // namespace kfab::agent::devices::cuda

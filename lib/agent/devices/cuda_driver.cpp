#include "agent/devices/cuda_driver.hpp"

#include "agent/devices/device.hpp"

#include <dlfcn.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include <fmt/format.h>

#include "base/codes/validation.hpp"
#include "base/text.hpp"

namespace kfab::agent::devices {
namespace {
bool a_gpu_was_given_up = false;
}  // namespace

bool gpu_given_up() { return a_gpu_was_given_up; }

namespace cuda {
namespace {

struct ErrorRow { Status_ status; Code code; };
constexpr ErrorRow error_rows[] = {
    {2, code::device_memory_short},
    {34, code::driver_missing},            // a stub library: the toolkit's, not the driver's
    {46, code::accelerator_busy},          // in exclusive or prohibited mode, or held by another process
    {100, code::no_accelerator},
    {102, code::accelerator_not_permitted},// a part of a GPU for virtual machines, without its licence
    {101, code::accelerator_lost},         // it was there when it was listed
    {200, code::driver_too_old},           // the image is not understood
    {209, code::driver_too_old},           // no code for this GPU
    {214, code::accelerator_memory_fault}, // uncorrectable ECC error
    {218, code::driver_too_old},           // PTX that its compiler does not take
    {220, code::accelerator_link_fault},   // uncorrectable NVLink error
    {221, code::driver_missing},           // its compiler of PTX: a library that containers leave out
    {222, code::driver_too_old},           // PTX of a later version
    {226, code::accelerator_faulted},      // contained: only this process is affected
    {304, code::accelerator_not_permitted},// an operating system call failed: device files
    {700, code::accelerator_faulted},      // illegal address
    {702, code::launch_timed_out},
    {710, code::accelerator_faulted},      // a trap
    {711, code::not_supported_by_accelerator}, // more peers at a time than it can connect: eight without NVSwitch
    {714, code::accelerator_faulted},      // stack error
    {715, code::accelerator_faulted},      // illegal instruction
    {716, code::accelerator_faulted},      // misaligned address
    {717, code::accelerator_faulted},
    {718, code::accelerator_faulted},
    {719, code::accelerator_lost},         // the launch failed: what the driver says of a GPU off the bus as well
    {721, code::accelerator_faulted},      // tensor memory that a kernel did not give back
    {800, code::accelerator_not_permitted},
    {802, code::system_not_initialised},
    {803, code::driver_too_old},           // the library's and the kernel module's versions differ
    {804, code::driver_too_old},
    {805, code::accelerator_busy},         // 805 to 810: the server of the Multi-Process Service, which stands between, takes none or is ill
    {806, code::accelerator_busy},
    {807, code::accelerator_busy},
    {808, code::accelerator_busy},
    {809, code::accelerator_busy},
    {810, code::accelerator_busy},
    {999, code::accelerator_lost},         // "unknown", the usual answer of a driver whose GPU is gone
};

Code code_of(Status_ status) {
  for (const auto& row : error_rows)
    if (row.status == status) return row.code;
  return code::device_call_failed;
}

}  // namespace

bool runs_on(std::string_view architectures, int capability) {
  if (architectures.empty()) return true;
  int last = 0;
  for (const auto& word : split(std::string(architectures), ' ')) {
    const bool own_chip_alone = word.ends_with('a');
    last = std::atoi(word.c_str());
    if (own_chip_alone ? last == capability : last / 10 == capability / 10 && last <= capability) return true;
  }
  return capability >= last;
}

bool uvm_missing(const std::string& root) {
  const auto there = [&](const char* file) { return ::access((root + file).c_str(), F_OK) == 0; };
  return there("/dev/nvidiactl") && !there("/dev/nvidia-uvm");
}

std::string driver_words(int version) { return fmt::format("CUDA {}.{}", version / 1000, version % 1000 / 10); }

Status Driver::checked(Status_ status, std::string_view what) const {
  if (status == 0) return ok();
  const char *name = nullptr, *text = nullptr;
  if (error_name) error_name(status, &name);
  if (error_text) error_text(status, &text);
  return error(code_of(status), fmt::format("{}: {} ({}{})", what, text ? one_line(text, 200) : "unknown error",
                                            name ? one_line(name, 60) + " " : std::string(), status));
}

Result<std::shared_ptr<Driver>> Driver::load(const std::string& library) {
  std::shared_ptr<Driver> driver(new Driver);
  driver->library_ = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!driver->library_) {
    const char* why = ::dlerror();
    return error(code::driver_missing, fmt::format("{} cannot be loaded: {}", library, one_line(why ? why : "no reason given", 200)));
  }
#define KFAB_CUDA_RESOLVE(name, symbol, parameters)                                                     \
  driver->name = reinterpret_cast<Status_(*) parameters>(::dlsym(driver->library_, symbol));           \
  if (!driver->name) return error(code::driver_too_old, fmt::format("{} has no function {}", library, symbol));
  KFAB_CUDA_FUNCTIONS(KFAB_CUDA_RESOLVE)
#undef KFAB_CUDA_RESOLVE
#define KFAB_CUDA_RESOLVE(name, symbol, parameters) driver->name = reinterpret_cast<Status_(*) parameters>(::dlsym(driver->library_, symbol));
  KFAB_CUDA_OPTIONAL(KFAB_CUDA_RESOLVE)
#undef KFAB_CUDA_RESOLVE
  // Kernels are loaded with their module and not when they are first asked for: that may wait for all that the GPU is doing, and copies
  // are queued behind a kernel that waits for the host.
  ::setenv("CUDA_MODULE_LOADING", "EAGER", 1);
  // The order of nvidia-smi and of NVML, whatever the models: by itself CUDA counts the fastest first.
  ::setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID", 1);
  const Status_ started = driver->init(0);
  if (auto initialised = driver->checked(started, "the driver could not be initialised"); !initialised) {
    auto why = std::move(initialised).error();
    // The driver says "no device" as well when its device files may not be opened.
    if (why.code == code::no_accelerator && ::access("/dev/nvidiactl", R_OK | W_OK) != 0 && errno == EACCES)
      return error(code::accelerator_not_permitted, why.message + "; /dev/nvidiactl may not be opened by this user");
    constexpr int unknown = 999;
    if (started == unknown && uvm_missing()) return error(code::uvm_missing, why.message + "; /dev/nvidia-uvm is not there");
    return why;
  }
  return driver;
}

void Driver::give_up() { gave_up_ = a_gpu_was_given_up = true; }

Driver::~Driver() {
  // Not closed: drivers leave threads behind that run in it. The process ends soon.
}

}  // namespace cuda
}  // namespace kfab::agent::devices

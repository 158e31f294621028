// A libnvidia-ml.so.1 for machines without a GPU. KFAB_FAKE_NVML says what it answers, as words separated by commas:
//   devices=N                       default 1; their UUIDs are those of fake_cuda.cpp's devices
//   <figure>=V                      ecc_volatile_uncorrected=3; for all devices
//   <gpu>.<figure>=V                of one: 1.nvlinks_down=2
//   <figure>=V@N                    from the Nth reading of that figure on: a counter that moves
//   error:<function>=R[@N]          that function answers R, from its Nth call on (15 lost, 4 no permission, 3 not supported)
//   <gpu>.off_the_bus=1             that GPU answers 15 when it is opened, and so does any search by UUID: it touches all of them
//   <gpu>.uuid=<gpu>                there is another GPU at its place
//   lost=N                          from the Nth call of any function on everything answers 15
//   retires_pages=1                 a chip before 8.0: no rows are remapped, pages are retired (retired_pages_single_bit=N, ..._double_bit, ..._pending)
//   meter_mw=N                      what the energy meter counts, where it is not power_mw
//   hang=<function>                 that function never returns
// Built a second time with KFAB_FAKE_NVML_OLD it lacks what drivers before 520 lack.
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

namespace {

struct Step { long long value = 0; long from = 0; };

struct Script {
  std::multimap<std::string, Step> steps;
  std::map<std::string, std::string> words;
  std::map<std::string, long> read;
  std::atomic<long> calls = 0;
  std::mutex mutex;   // a sampler asks from a thread of its own
  Script() {
    const char* text = std::getenv("KFAB_FAKE_NVML");
    std::string word;
    for (const char* c = text ? text : "";; ++c) {
      if (*c && *c != ',') {
        word += *c;
        continue;
      }
      if (const auto equal = word.find('='); equal != std::string::npos) {
        const std::string name = word.substr(0, equal), value = word.substr(equal + 1);
        const auto at = value.find('@');
        steps.emplace(name, Step{std::atoll(value.c_str()), at == std::string::npos ? 0 : std::atol(value.c_str() + at + 1)});
        words[name] = value;
      }
      word.clear();
      if (!*c) break;
    }
  }
  // The last step that has begun, or the fallback.
  long long get(const std::string& name, long long fallback, bool count = true) {
    const std::lock_guard lock(mutex);
    const long reading = count ? ++read[name] : read[name];
    long long out = fallback;
    const auto [from, to] = steps.equal_range(name);
    for (auto step = from; step != to; ++step)
      if (reading >= step->second.from) out = step->second.value;
    return out;
  }
};
Script& script() {
  static Script all;
  return all;
}

struct Gpu { unsigned index; };
Gpu gpus[16];

using Device = Gpu*;

long long figure(Device device, const char* name, long long fallback) {
  const std::string own = std::to_string(device->index) + "." + name;
  if (script().steps.count(own)) return script().get(own, fallback);
  return script().get(name, fallback);
}

// What every function answers first: an error that the script plants, or a hang.
int begins(const char* function) {
  ++script().calls;
  if (script().words.count("hang") && script().words["hang"] == function)
    for (;;) ::pause();
  if (const long lost = static_cast<long>(script().get("lost", 0, false)); lost > 0 && script().calls >= lost) return 15;
  return static_cast<int>(script().get(std::string("error:") + function, 0));
}

#define BEGIN(function) \
  if (const int planted = begins(function); planted != 0) return planted

int text(char* out, unsigned size, const std::string& from) {
  std::snprintf(out, size, "%s", from.c_str());
  return 0;
}

std::string uuid_of(unsigned index) {
  // The UUIDs that fake_cuda.cpp gives.
  char out[64];
  std::string all = "GPU-";
  for (unsigned i = 0; i < 16; ++i) {
    std::snprintf(out, sizeof out, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", (i * 17 + index) & 0xff);
    all += out;
  }
  return all;
}
bool off_the_bus(unsigned index) { return script().words.count(std::to_string(index) + ".off_the_bus") > 0; }
unsigned devices() { return static_cast<unsigned>(script().get("devices", 1, false)); }

struct PciInfo { char legacy[16]; std::uint32_t domain, bus, device, id, subsystem; char bus_id[32]; };
struct Memory { std::uint32_t version; std::uint64_t total, reserved, free, used; };
struct Fabric { std::uint32_t version; std::uint8_t uuid[16]; std::int32_t status; std::uint32_t clique; std::uint8_t state; std::uint32_t mask; std::uint8_t summary; };
struct Field { std::uint32_t field, scope; std::int64_t timestamp, latency; std::int32_t type; int result; union { double d; std::uint32_t ui; std::uint64_t ull; } value; };
struct Sram { std::uint32_t version; std::uint64_t counts[11]; std::uint32_t exceeded; };
struct Repair { std::uint32_t version, channel, tpc; };
struct Process { std::uint32_t pid; std::uint64_t bytes; std::uint32_t gi, ci; };
struct Confidential { std::uint32_t environment, feature, dev_tools; };
struct Event { void* device; std::uint64_t type, data; std::uint32_t gi, ci; };

}  // namespace

extern "C" {

int nvmlInit_v2() {
  BEGIN("nvmlInit_v2");
  for (unsigned i = 0; i < 16; ++i) gpus[i].index = i;
  return 0;
}
int nvmlShutdown() { return 0; }
const char* nvmlErrorString(int code) {
  switch (code) {
    case 0: return "The operation was successful";
    case 2: return "Invalid Argument";
    case 3: return "Not Supported";
    case 4: return "Insufficient Permissions";
    case 9: return "Driver Not Loaded";
    case 14: return "infoROM is corrupted";
    case 15: return "GPU is lost";
    case 16: return "GPU requires restart";
    default: return "Unknown Error \x1b[31m";
  }
}
int nvmlSystemGetDriverVersion(char* out, unsigned size) {
  BEGIN("nvmlSystemGetDriverVersion");
  return text(out, size, script().words.count("driver") ? script().words["driver"] : "570.133.20");
}
int nvmlDeviceGetCount_v2(unsigned* count) {
  BEGIN("nvmlDeviceGetCount_v2");
  *count = devices();
  return 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device* device) {
  BEGIN("nvmlDeviceGetHandleByIndex_v2");
  if (index >= devices()) return 2;
  if (off_the_bus(index)) return 15;
  *device = &gpus[index];
  return 0;
}
int nvmlDeviceGetHandleByUUID(const char* uuid, Device* device) {
  BEGIN("nvmlDeviceGetHandleByUUID");
  for (unsigned i = 0; i < devices(); ++i)
    if (off_the_bus(i)) return 15;
  for (unsigned i = 0; i < devices(); ++i)
    if (uuid_of(i) == uuid) return *device = &gpus[i], 0;
  return 6;
}
// By this fake's own places (0000:3b:00.0 and on) and those of fake_cuda.cpp (ffff:00:00.0 and on).
int nvmlDeviceGetHandleByPciBusId_v2(const char* bus_id, Device* device) {
  BEGIN("nvmlDeviceGetHandleByPciBusId_v2");
  unsigned domain = 0, bus = 0;
  if (std::sscanf(bus_id, "%x:%x:", &domain, &bus) != 2) return 2;
  const unsigned index = domain == 0xffff ? bus : bus - 0x3b;
  if (index >= devices()) return 6;
  if (off_the_bus(index)) return 15;
  *device = &gpus[index];
  return 0;
}
int nvmlDeviceGetUUID(Device device, char* out, unsigned size) {
  BEGIN("nvmlDeviceGetUUID");
  return text(out, size, uuid_of(static_cast<unsigned>(figure(device, "uuid", device->index))));
}
int nvmlDeviceGetName(Device, char* out, unsigned size) {
  BEGIN("nvmlDeviceGetName");
  return text(out, size, "Fake GPU");
}
int nvmlDeviceGetVbiosVersion(Device, char* out, unsigned size) {
  BEGIN("nvmlDeviceGetVbiosVersion");
  return text(out, size, "96.00.5E.00.01");
}
int nvmlDeviceGetInforomImageVersion(Device, char* out, unsigned size) {
  BEGIN("nvmlDeviceGetInforomImageVersion");
  return text(out, size, "G520.0200.00.05");
}
int nvmlDeviceGetSerial(Device, char* out, unsigned size) {
  BEGIN("nvmlDeviceGetSerial");
  return text(out, size, "1652823055642");
}
int nvmlDeviceGetPciInfo_v3(Device device, PciInfo* info) {
  BEGIN("nvmlDeviceGetPciInfo_v3");
  std::memset(info, 0, sizeof *info);
  std::snprintf(info->bus_id, sizeof info->bus_id, "00000000:%02X:00.0", 0x3b + device->index);
  return 0;
}
int nvmlDeviceGetTotalEccErrors(Device device, int type, int lifetime, unsigned long long* count) {
  BEGIN("nvmlDeviceGetTotalEccErrors");
  const std::string name = std::string("ecc_") + (lifetime ? "aggregate_" : "volatile_") + (type ? "uncorrected" : "corrected");
  *count = static_cast<unsigned long long>(figure(device, name.c_str(), 0));
  return 0;
}
int nvmlDeviceGetEccMode(Device device, unsigned* current, unsigned* pending) {
  BEGIN("nvmlDeviceGetEccMode");
  *current = *pending = static_cast<unsigned>(figure(device, "ecc_mode", 1));
  return 0;
}
int nvmlDeviceGetPcieReplayCounter(Device device, unsigned* count) {
  BEGIN("nvmlDeviceGetPcieReplayCounter");
  *count = static_cast<unsigned>(figure(device, "pcie_replays", 0));
  return 0;
}
int nvmlDeviceGetCurrPcieLinkGeneration(Device device, unsigned* value) {
  BEGIN("nvmlDeviceGetCurrPcieLinkGeneration");
  *value = static_cast<unsigned>(figure(device, "pcie_generation", 5));
  return 0;
}
int nvmlDeviceGetCurrPcieLinkWidth(Device device, unsigned* value) {
  BEGIN("nvmlDeviceGetCurrPcieLinkWidth");
  *value = static_cast<unsigned>(figure(device, "pcie_width", 16));
  return 0;
}
int nvmlDeviceGetMaxPcieLinkGeneration(Device device, unsigned* value) {
  BEGIN("nvmlDeviceGetMaxPcieLinkGeneration");
  *value = static_cast<unsigned>(figure(device, "host_generation", 5));
  return 0;
}
int nvmlDeviceGetMaxPcieLinkWidth(Device device, unsigned* value) {
  BEGIN("nvmlDeviceGetMaxPcieLinkWidth");
  *value = static_cast<unsigned>(figure(device, "most_width", 16));
  return 0;
}
int nvmlDeviceGetNvLinkState(Device device, unsigned link, unsigned* active) {
  BEGIN("nvmlDeviceGetNvLinkState");
  const auto links = figure(device, "nvlinks", 18);
  if (links == 0) return 3;
  if (link >= static_cast<unsigned>(links)) return 2;
  *active = link < static_cast<unsigned>(links - figure(device, "nvlinks_down", 0));
  return 0;
}
int nvmlDeviceGetNvLinkErrorCounter(Device device, unsigned link, int counter, unsigned long long* count) {
  BEGIN("nvmlDeviceGetNvLinkErrorCounter");
  if (figure(device, "nvlinks", 18) == 0) return 3;
  if (link >= static_cast<unsigned>(figure(device, "nvlinks", 18))) return 2;
  static const char* names[] = {"nvlink_replay", "nvlink_recovery", "nvlink_crc_flit", "nvlink_crc_data"};
  if (counter < 0 || counter > 3) return 2;
  *count = link == 0 ? static_cast<unsigned long long>(figure(device, names[counter], 0)) : 0;
  return 0;
}
// What is asked for by name alone: not supported where the script does not say it.
static int scripted(const char* name, unsigned* out) {
  const auto found = script().words.find(name);
  return found == script().words.end() ? 3 : (*out = static_cast<unsigned>(std::atoll(found->second.c_str())), 0);
}
int nvmlDeviceGetEnforcedPowerLimit(Device, unsigned* milliwatts) { return scripted("power_limit_mw", milliwatts); }
int nvmlDeviceGetClockInfo(Device, int, unsigned* mhz) { return scripted("clock_mhz", mhz); }
int nvmlDeviceGetPowerUsage(Device device, unsigned* milliwatts) {
  BEGIN("nvmlDeviceGetPowerUsage");
  *milliwatts = static_cast<unsigned>(figure(device, "power_mw", 300000));
  return 0;
}
// What the GPU drew since the library was loaded, at the power that the script has now.
int nvmlDeviceGetTotalEnergyConsumption(Device device, unsigned long long* millijoules) {
  BEGIN("nvmlDeviceGetTotalEnergyConsumption");
  static auto last = std::chrono::steady_clock::now();
  static double total = 0;
  const auto now = std::chrono::steady_clock::now();
  total += static_cast<double>(figure(device, "meter_mw", figure(device, "power_mw", 300000))) * std::chrono::duration<double>(now - last).count();
  last = now;
  *millijoules = static_cast<unsigned long long>(total);
  return 0;
}
int nvmlDeviceGetTemperature(Device device, int, unsigned* celsius) {
  BEGIN("nvmlDeviceGetTemperature");
  *celsius = static_cast<unsigned>(figure(device, "temperature", 60));
  return 0;
}
int nvmlDeviceGetCurrentClocksEventReasons(Device device, unsigned long long* reasons) {
  BEGIN("nvmlDeviceGetCurrentClocksEventReasons");
  *reasons = static_cast<unsigned long long>(figure(device, "reasons", 0));
  return 0;
}
int nvmlDeviceGetPersistenceMode(Device device, unsigned* mode) {
  BEGIN("nvmlDeviceGetPersistenceMode");
  *mode = static_cast<unsigned>(figure(device, "persistence_mode", 1));
  return 0;
}
int nvmlDeviceGetMigMode(Device device, unsigned* current, unsigned* pending) {
  BEGIN("nvmlDeviceGetMigMode");
  *current = *pending = static_cast<unsigned>(figure(device, "mig_mode", 0));
  return 0;
}
int nvmlDeviceValidateInforom(Device device) {
  BEGIN("nvmlDeviceValidateInforom");
  return figure(device, "inforom_invalid", 0) ? 14 : 0;
}
int nvmlDeviceGetComputeRunningProcesses_v3(Device device, unsigned* count, Process* list) {
  BEGIN("nvmlDeviceGetComputeRunningProcesses_v3");
  const auto found = static_cast<unsigned>(figure(device, "processes", 0));
  for (unsigned i = 0; i < found && i < *count; ++i) list[i] = {4711 + i, 0, 0, 0};
  list[found] = {static_cast<std::uint32_t>(::getpid()), 0, 0, 0};   // the reader itself
  *count = found + 1;
  return 0;
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(Device device, unsigned* count, Process* list) {
  BEGIN("nvmlDeviceGetGraphicsRunningProcesses_v3");
  const auto found = static_cast<unsigned>(figure(device, "graphics", 0));
  for (unsigned i = 0; i < found && i < *count; ++i) list[i] = {900 + i, 0, 0, 0};
  *count = found;
  return 0;
}
// A handle of a part answers to little but this.
int nvmlDeviceIsMigDeviceHandle(Device device, unsigned* is) {
  BEGIN("nvmlDeviceIsMigDeviceHandle");
  *is = static_cast<unsigned>(figure(device, "mig_handle", 0));
  return 0;
}
int nvmlDeviceGetMemoryInfo_v2(Device device, Memory* memory) {
  BEGIN("nvmlDeviceGetMemoryInfo_v2");
  if (memory->version != 0x02000028) return 25;
  memory->total = static_cast<std::uint64_t>(figure(device, "memory_mib", 81559)) << 20;
  return 0;
}
int nvmlDeviceGetFieldValues(Device device, int count, Field* fields) {
  BEGIN("nvmlDeviceGetFieldValues");
  for (int i = 0; i < count; ++i) {
    fields[i].type = 3;
    fields[i].result = 0;
    fields[i].value.ull = 0;
    switch (fields[i].field) {
      case 230:
        fields[i].type = 1;
        fields[i].value.ui = static_cast<std::uint32_t>(figure(device, "recovery_action", 0));
        break;
      case 208: case 214: case 219:
        if (fields[i].scope >= static_cast<unsigned>(figure(device, "nvlink5", 0))) fields[i].result = 3;
        else if (fields[i].field == 208 && fields[i].scope == 0) fields[i].value.ull = static_cast<std::uint64_t>(figure(device, "nvlink_receive_errors", 0));
        break;
      default: fields[i].result = 2;
    }
  }
  return 0;
}
int nvmlEventSetCreate(void** set) {
  BEGIN("nvmlEventSetCreate");
  *set = &gpus;
  return 0;
}
int nvmlEventSetFree(void*) { return 0; }
int nvmlDeviceRegisterEvents(Device, unsigned long long, void*) {
  BEGIN("nvmlDeviceRegisterEvents");
  return 0;
}
int nvmlEventSetWait_v2(void*, Event* event, unsigned) {
  BEGIN("nvmlEventSetWait_v2");
  static bool told = false;
  const long long xid = script().get("event_xid", 0);
  if (xid == 0 || told) return 10;
  told = true;
  *event = {&gpus[0], 0x8, static_cast<std::uint64_t>(xid), 0, 0};
  return 0;
}

int nvmlDeviceGetRetiredPages(Device device, int cause, unsigned* count, unsigned long long* addresses) {
  BEGIN("nvmlDeviceGetRetiredPages");
  if (!figure(device, "retires_pages", 0)) return 3;
  const auto there = static_cast<unsigned>(figure(device, cause == 0 ? "retired_pages_single_bit" : "retired_pages_double_bit", 0));
  const unsigned room = *count;
  *count = there;
  if (there > room) return 7;
  for (unsigned i = 0; i < there; ++i) addresses[i] = i * 0x1000ULL;
  return 0;
}
int nvmlDeviceGetRetiredPagesPendingStatus(Device device, unsigned* pending) {
  BEGIN("nvmlDeviceGetRetiredPagesPendingStatus");
  if (!figure(device, "retires_pages", 0)) return 3;
  *pending = static_cast<unsigned>(figure(device, "retired_pages_pending", 0));
  return 0;
}

#ifndef KFAB_FAKE_NVML_OLD
int nvmlDeviceGetRemappedRows(Device device, unsigned* corrected, unsigned* uncorrected, unsigned* pending, unsigned* failed) {
  BEGIN("nvmlDeviceGetRemappedRows");
  if (figure(device, "retires_pages", 0)) return 3;
  *corrected = static_cast<unsigned>(figure(device, "remapped_rows_correctable", 0));
  *uncorrected = static_cast<unsigned>(figure(device, "remapped_rows_uncorrectable", 0));
  *pending = static_cast<unsigned>(figure(device, "remapped_rows_pending", 0));
  *failed = static_cast<unsigned>(figure(device, "remapped_rows_failed", 0));
  return 0;
}
int nvmlDeviceGetGpuMaxPcieLinkGeneration(Device device, unsigned* value) {
  BEGIN("nvmlDeviceGetGpuMaxPcieLinkGeneration");
  *value = static_cast<unsigned>(figure(device, "most_generation", 5));
  return 0;
}
int nvmlDeviceGetGpuFabricInfoV(Device device, Fabric* info) {
  BEGIN("nvmlDeviceGetGpuFabricInfoV");
  if (info->version != 0x03000028 && info->version != 0x02000024) return 25;
  if (info->version == 0x03000028 && figure(device, "fabric_v2_only", 0)) return 25;
  info->state = static_cast<std::uint8_t>(figure(device, "fabric_state", 3));
  info->status = static_cast<std::int32_t>(figure(device, "fabric_status", 0));
  info->mask = static_cast<std::uint32_t>(figure(device, "fabric_mask", 2));   // 2: bandwidth is not degraded
  if (info->version == 0x03000028) info->summary = static_cast<std::uint8_t>(figure(device, "fabric_summary", 1));
  return 0;
}
int nvmlDeviceGetSramEccErrorStatus(Device device, Sram* sram) {
  BEGIN("nvmlDeviceGetSramEccErrorStatus");
  if (sram->version != 0x01000068) return 25;
  sram->exceeded = static_cast<std::uint32_t>(figure(device, "sram_threshold_exceeded", 0));
  return 0;
}
int nvmlDeviceGetRepairStatus(Device device, Repair* repair) {
  BEGIN("nvmlDeviceGetRepairStatus");
  if (repair->version != 0x0100000C) return 25;
  repair->channel = static_cast<std::uint32_t>(figure(device, "repair_pending", 0));
  repair->tpc = 0;
  return 0;
}
int nvmlDeviceGetGspFirmwareVersion(Device, char* out) {
  BEGIN("nvmlDeviceGetGspFirmwareVersion");
  return text(out, 64, "570.133.20");
}
int nvmlSystemGetConfComputeState(Confidential* state) {
  BEGIN("nvmlSystemGetConfComputeState");
  *state = {0, static_cast<std::uint32_t>(script().get("confidential_computing", 0)), 0};
  return 0;
}
#endif

}  // extern "C"

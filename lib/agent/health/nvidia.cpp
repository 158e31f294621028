#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <functional>
#include <map>
#include <set>

#include <fmt/format.h>

#include "agent/facts_sections.hpp"
#include "agent/health/kernel_log.hpp"
#include "agent/health/source.hpp"
#include "agent/nvml_library.hpp"
#include "base/codes/validation.hpp"
#include "base/text.hpp"

namespace kfab::agent::health {
namespace {

using Nvml = NvmlLibrary;

constexpr unsigned most_links = 64;         // headers have had 6, 12, 18 and 36; asked until the driver says there is no more
constexpr unsigned most_processes = 256;
constexpr std::array<std::string_view, 8> display_servers{"Xorg", "X", "Xwayland", "gnome-shell", "kwin_x11", "kwin_wayland", "weston", "mutter"};

// Errors of links, summed over them. Before NVLink 5 by a call, since then by fields of each link.
struct LinkCounter { std::string_view name; int counter; unsigned field; };   // counter below zero, field 0: not that way
constexpr std::array link_counters{
    LinkCounter{"nvlink_replay", 0, 0},        LinkCounter{"nvlink_recovery", 1, 0},          LinkCounter{"nvlink_crc_flit", 2, 0},
    LinkCounter{"nvlink_crc_data", 3, 0},      LinkCounter{"nvlink_receive_errors", -1, 208}, LinkCounter{"nvlink_recovery_failed", -1, 214},
    LinkCounter{"nvlink_effective_errors", -1, 219},
};
constexpr unsigned field_recovery_action = 230;

struct EccCounter { std::string_view name; int type, lifetime; };   // nvmlMemoryErrorType_t, nvmlEccCounterType_t
constexpr std::array ecc_counters{EccCounter{"ecc_volatile_corrected", 0, 0}, EccCounter{"ecc_volatile_uncorrected", 1, 0},
                                  EccCounter{"ecc_aggregate_corrected", 0, 1}, EccCounter{"ecc_aggregate_uncorrected", 1, 1}};

// Where a chip cannot remap rows (before compute capability 8.0) its driver retires pages: after two corrected errors, or an uncorrected
// one. By nvmlPageRetirementCause_t.
struct PageCause { std::string_view name; int cause; };
constexpr std::array page_causes{PageCause{"retired_pages_single_bit", 0}, PageCause{"retired_pages_double_bit", 1}};
constexpr unsigned most_pages = 512;        // the InfoROM holds 64

struct VersionCall { std::string_view name; const char* function; };
constexpr std::array version_calls{VersionCall{"vbios", "nvmlDeviceGetVbiosVersion"}, VersionCall{"inforom", "nvmlDeviceGetInforomImageVersion"},
                                   VersionCall{"serial", "nvmlDeviceGetSerial"}, VersionCall{"gsp_firmware", "nvmlDeviceGetGspFirmwareVersion"}};

// nvmlGpuFabricHealth masks: two bits each, 1 says that it is so; the last of four bits.
struct FabricBit { unsigned shift, width; std::string_view means; };
constexpr std::array fabric_bits{FabricBit{0, 2, "degraded bandwidth"}, FabricBit{2, 2, "route recovery"}, FabricBit{4, 2, "route unhealthy"},
                                 FabricBit{6, 2, "access timeout"}};
constexpr std::array fabric_wrong{"", "", "wrong system GUID", "wrong chassis serial", "no partition", "insufficient NVLinks", "incompatible GPU firmware", "invalid location", "invalid state"};
constexpr std::array fabric_states{"not supported", "not started", "in progress", "completed"};
constexpr std::array recovery_actions{"none", "reset the GPU", "reboot the node", "drain peer-to-peer traffic", "drain, then reset", "recover the IMEX domain"};

class NvidiaSource final : public Source {
 public:
  NvidiaSource(Nvml nvml, Nvml::Device device, std::string bus_id, const Sources& sources)
      : nvml_(std::move(nvml)), device_(device), bus_id_(std::move(bus_id)), sources_(sources) {
    if (nvml_.call("nvmlEventSetCreate", &events_) != Nvml::success) events_ = nullptr;
    constexpr unsigned long long xid_critical = 0x8;
    if (events_ != nullptr && nvml_.call("nvmlDeviceRegisterEvents", device_, xid_critical, events_) != Nvml::success) drop_events();
  }
  ~NvidiaSource() override {
    drop_events();
    nvml_.call("nvmlShutdown");
  }

  Readings counters() override {
    Readings out;
    for (const auto& row : ecc_counters) out.push_back(number64(row.name, "nvmlDeviceGetTotalEccErrors", row.type, row.lifetime));
    unsigned corrected = 0, uncorrected = 0, pending = 0, failed = 0;
    const auto rows = seen(nvml_.call("nvmlDeviceGetRemappedRows", device_, &corrected, &uncorrected, &pending, &failed));
    out.push_back(known("remapped_rows_correctable", rows, corrected));
    out.push_back(known("remapped_rows_uncorrectable", rows, uncorrected));
    for (const auto& row : page_causes) out.push_back(retired_pages(row, rows));
    unsigned replays = 0;
    const auto replay = seen(nvml_.call("nvmlDeviceGetPcieReplayCounter", device_, &replays));
    out.push_back(known("pcie_replays", replay, replays));
    for (const auto& row : link_counters) out.push_back(over_links(row));
    for (auto& one : aer_counters(sources_, bus_id_)) out.push_back(std::move(one));
    return out;
  }

  Readings states() override {
    Readings out;
    unsigned current = 0, pending = 0;
    const auto ecc = seen(nvml_.call("nvmlDeviceGetEccMode", device_, &current, &pending));
    out.push_back(known("ecc_mode", ecc, current, pending != current ? "changes at the next reset" : ""));
    unsigned corrected = 0, uncorrected = 0, rows_pending = 0, rows_failed = 0;
    const auto rows = seen(nvml_.call("nvmlDeviceGetRemappedRows", device_, &corrected, &uncorrected, &rows_pending, &rows_failed));
    out.push_back(known("remapped_rows_pending", rows, rows_pending));
    out.push_back(known("remapped_rows_failed", rows, rows_failed));
    pages(out, rows);
    nvml::SramErrorStatus sram{};
    sram.version = nvml::version_word<nvml::SramErrorStatus>(1);
    const auto sram_told = seen(nvml_.call("nvmlDeviceGetSramEccErrorStatus", device_, &sram));
    out.push_back(known("sram_threshold_exceeded", sram_told, sram.threshold_exceeded));
    nvml::RepairStatus repair{};
    repair.version = nvml::version_word<nvml::RepairStatus>(1);
    const auto repair_told = seen(nvml_.call("nvmlDeviceGetRepairStatus", device_, &repair));
    out.push_back(known("repair_pending", repair_told, repair.channel_repair_pending != 0 || repair.tpc_repair_pending != 0 ? 1 : 0,
                        fmt::format("{}{}", repair.channel_repair_pending ? "channel " : "", repair.tpc_repair_pending ? "TPC" : "")));
    out.push_back(inforom());
    out.push_back(recovery());
    fabric(out);
    links(out);
    unsigned mig = 0, mig_pending = 0;
    const auto mig_told = seen(nvml_.call("nvmlDeviceGetMigMode", device_, &mig, &mig_pending));
    // A GPU that cannot be split is not split; of a part of one the driver does not support the question either.
    unsigned part = 0;
    const bool is_part = nvml_.call("nvmlDeviceIsMigDeviceHandle", device_, &part) == Nvml::success && part != 0;
    out.push_back(is_part                          ? Reading{"mig_mode", 1, "this is a part of a GPU"}
                  : mig_told == Nvml::not_supported ? Reading{"mig_mode", 0, "this GPU has no MIG"}
                                                    : known("mig_mode", mig_told, mig, mig_pending != mig ? "changes at the next reset" : ""));
    unsigned persistence = 0;
    const auto persistence_told = seen(nvml_.call("nvmlDeviceGetPersistenceMode", device_, &persistence));
    out.push_back(known("persistence_mode", persistence_told, persistence));
    confidential(out);
    out.push_back(processes());
    nvml::MemoryV2 memory{};
    memory.version = nvml::version_word<nvml::MemoryV2>(2);
    const auto memory_told = seen(nvml_.call("nvmlDeviceGetMemoryInfo_v2", device_, &memory));
    out.push_back(known("memory_bytes", memory_told, memory.total, "", "bytes"));
    return out;
  }

  json::Object versions() override {
    json::Object out;
    std::array<char, 128> text{};
    if (nvml_.call("nvmlSystemGetDriverVersion", text.data(), static_cast<unsigned>(text.size() - 1)) == Nvml::success)
      out.set("driver", one_line(text.data(), 80));
    for (const auto& row : version_calls) {
      text.fill('\0');
      const auto code = row.name == "gsp_firmware" ? nvml_.call(row.function, device_, text.data())
                                                   : nvml_.call(row.function, device_, text.data(), static_cast<unsigned>(text.size() - 1));
      if (seen(code) == Nvml::success && text[0] != '\0') out.set(std::string(row.name), one_line(text.data(), 80));
    }
    return out;
  }

  PcieLink link() override {
    PcieLink by_sysfs = sysfs_link(sources_, bus_id_), out = by_sysfs;
    const auto ask = [&](const char* function, std::optional<unsigned>& into) {
      unsigned value = 0;
      if (seen(nvml_.call(function, device_, &value)) == Nvml::success && value > 0 && value <= 64) into = value;
    };
    ask("nvmlDeviceGetCurrPcieLinkGeneration", out.generation);
    ask("nvmlDeviceGetCurrPcieLinkWidth", out.width);
    ask("nvmlDeviceGetMaxPcieLinkWidth", out.most_width);
    // The driver's maximum counts the slot in, the kernel's is the GPU's own: a slot that takes lanes away must not look right.
    if (by_sysfs.most_width) out.most_width = std::max(out.most_width.value_or(0), *by_sysfs.most_width);
    ask("nvmlDeviceGetMaxPcieLinkGeneration", out.host_generation);
    // The driver's own maximum counts the slot in; the GPU's alone is what it was built for.
    out.most_generation.reset();
    ask("nvmlDeviceGetGpuMaxPcieLinkGeneration", out.most_generation);
    if (!out.most_generation) out.most_generation = by_sysfs.most_generation ? by_sysfs.most_generation : out.host_generation;
    return out;
  }

  std::string slot() const override { return pci_slot(bus_id_); }
  std::optional<std::string> lost() const override { return lost_; }

  std::optional<std::vector<int>> driver_xids() override {
    if (events_ == nullptr) return std::nullopt;
    std::vector<int> out;
    for (int i = 0; i < 1000; ++i) {
      nvml::EventData data{};
      const auto code = nvml_.call("nvmlEventSetWait_v2", events_, &data, 0U);
      if (code == Nvml::timed_out) return out;
      if (code != Nvml::success) {
        seen(code);
        drop_events();
        return out.empty() ? std::nullopt : std::optional(out);
      }
      out.push_back(static_cast<int>(std::min<std::uint64_t>(data.data, 99'999'999)));
    }
    return out;
  }

 private:
  void drop_events() {
    if (events_ != nullptr) nvml_.call("nvmlEventSetFree", events_);
    events_ = nullptr;
  }

  // Remembers that the GPU is gone: everything that is read afterwards says so.
  Nvml::Return seen(Nvml::Return code) {
    if ((code == Nvml::gpu_is_lost || code == Nvml::reset_required) && !lost_) lost_ = nvml_.words(code);
    return code;
  }
  Reading known(std::string_view name, Nvml::Return code, std::uint64_t value, std::string detail = {}, std::string unit = "count") const {
    if (code == Nvml::success) return {std::string(name), value, std::move(detail), std::move(unit)};
    std::string why = nvml_.words(code);
    if (code == Nvml::not_supported) why += fmt::format(" ({})", to_string(code::not_supported_by_accelerator));   // criteria may skip that, and nothing else
    return {std::string(name), std::nullopt, std::move(why), std::move(unit)};
  }
  Reading number64(std::string_view name, const char* function, int type, int lifetime) {
    unsigned long long value = 0;
    const auto code = seen(nvml_.call(function, device_, type, lifetime, &value));
    return known(name, code, value);
  }

  // `rows`: what the driver said of remapped rows; a GPU that has them retires no pages, and is not asked.
  Reading retired_pages(const PageCause& row, Nvml::Return rows) {
    if (rows == Nvml::success) return {std::string(row.name), std::nullopt, instead_of_pages()};
    std::array<unsigned long long, most_pages> addresses{};
    unsigned count = most_pages;
    const auto code = seen(nvml_.call("nvmlDeviceGetRetiredPages", device_, row.cause, &count, addresses.data()));
    return known(row.name, code == Nvml::insufficient_size ? Nvml::success : code, count);   // then it told how many there are
  }
  static std::string instead_of_pages() { return fmt::format("this GPU remaps rows instead ({})", to_string(code::not_supported_by_accelerator)); }
  void pages(Readings& out, Nvml::Return rows) {
    Reading all{"retired_pages", 0, {}};
    for (const auto& row : page_causes) {
      const Reading one = retired_pages(row, rows);
      if (!one.value) all = {"retired_pages", std::nullopt, one.detail};
      else if (all.value) all = {"retired_pages", *all.value + *one.value, fmt::format("{}{}{} by {}", all.detail, all.detail.empty() ? "" : ", ", *one.value, row.cause == 0 ? "corrected errors" : "uncorrected ones")};
    }
    out.push_back(all.value == 0U ? Reading{"retired_pages", 0, {}} : std::move(all));
    unsigned waits = 0;
    if (rows == Nvml::success) return out.push_back({"retired_pages_pending", std::nullopt, instead_of_pages()});
    const auto code = seen(nvml_.call("nvmlDeviceGetRetiredPagesPendingStatus", device_, &waits));
    out.push_back(known("retired_pages_pending", code, waits));
  }

  // Links are asked until the driver says that there is no such link, or that this GPU has none.
  template <class Ask>
  void each_link(Ask&& ask) {
    for (unsigned link = 0; link < most_links && !lost_; ++link)
      if (!ask(link)) return;
  }
  Reading over_links(const LinkCounter& row) {
    std::uint64_t sum = 0;
    unsigned told = 0;
    std::string which, broken;
    Nvml::Return last = Nvml::not_supported;
    each_link([&](unsigned link) {
      std::uint64_t value = 0;
      Nvml::Return code = Nvml::success;
      if (row.counter >= 0) {
        unsigned long long count = 0;
        code = seen(nvml_.call("nvmlDeviceGetNvLinkErrorCounter", device_, link, row.counter, &count));
        value = count;
      } else {
        nvml::FieldValue field{};
        field.field = row.field;
        field.scope = link;
        code = seen(nvml_.call("nvmlDeviceGetFieldValues", device_, 1, &field));
        if (code == Nvml::success) code = seen(field.result);
        value = field.type == 0 ? static_cast<std::uint64_t>(std::max(0.0, field.value.d)) : field.type == 1 ? field.value.ui : field.value.ull;
      }
      if (code != Nvml::success) {
        last = code;
        if (told > 0 && code != Nvml::not_supported && code != Nvml::invalid_argument) broken = fmt::format("link {}: {}", link, nvml_.words(code));
        // A link that is switched off says not supported; past the last link it is an invalid argument.
        return code == Nvml::not_supported && link + 1 < most_links && link < 36;
      }
      ++told;
      sum += value;
      if (value > 0 && which.size() < 200) which += fmt::format("{}link {}: {}", which.empty() ? "" : ", ", link, value);
      return true;
    });
    if (!broken.empty()) return {std::string(row.name), std::nullopt, std::move(broken)};   // the sum of some links is that of none
    if (told == 0) return {std::string(row.name), std::nullopt, lost_ ? *lost_ : nvml_.words(last)};
    return {std::string(row.name), sum, which.empty() ? fmt::format("{} links", told) : which};
  }
  void links(Readings& out) {
    unsigned active = 0, inactive = 0;
    std::string down, broken;
    Nvml::Return last = Nvml::not_supported;
    each_link([&](unsigned link) {
      unsigned state = 0;
      const auto code = seen(nvml_.call("nvmlDeviceGetNvLinkState", device_, link, &state));
      if (code != Nvml::success) {
        last = code;
        if (active + inactive > 0 && code != Nvml::not_supported && code != Nvml::invalid_argument) broken = fmt::format("link {}: {}", link, nvml_.words(code));
        return code == Nvml::not_supported && link < 36;
      }
      if (state != 0) ++active;
      else {
        ++inactive;
        if (down.size() < 200) down += fmt::format("{}{}", down.empty() ? "" : ", ", link);
      }
      return true;
    });
    const bool told = active + inactive > 0 && broken.empty();
    const std::string why = lost_ ? *lost_ : !broken.empty() ? broken : nvml_.words(last);
    out.push_back(told ? Reading{"nvlinks_active", active, {}} : Reading{"nvlinks_active", std::nullopt, why});
    out.push_back(told ? Reading{"nvlinks_down", inactive, inactive > 0 ? "links " + down : std::string()} : Reading{"nvlinks_down", std::nullopt, why});
  }

  Reading inforom() {
    const auto code = seen(nvml_.call("nvmlDeviceValidateInforom", device_));
    if (code == Nvml::corrupted_inforom) return {"inforom_invalid", 1, nvml_.words(code)};
    return known("inforom_invalid", code, 0);
  }
  Reading recovery() {
    nvml::FieldValue field{};
    field.field = field_recovery_action;
    auto code = seen(nvml_.call("nvmlDeviceGetFieldValues", device_, 1, &field));
    if (code == Nvml::success) code = seen(field.result);
    const unsigned action = field.value.ui;
    return known("recovery_action", code, action,
                 action < recovery_actions.size() ? std::string("the driver asks for: ") + recovery_actions[action] : std::string("an action that kfab does not know"));
  }
  void fabric(Readings& out) {
    nvml::FabricV3 info{};
    info.version = nvml::version_word<nvml::FabricV3>(3);
    auto code = seen(nvml_.call("nvmlDeviceGetGpuFabricInfoV", device_, &info));
    bool summary = code == Nvml::success;
    if (code == Nvml::version_mismatch || code == Nvml::invalid_argument) {   // a driver that knows only the older form
      nvml::FabricV2 older{};
      older.version = nvml::version_word<nvml::FabricV2>(2);
      code = seen(nvml_.call("nvmlDeviceGetGpuFabricInfoV", device_, &older));
      info.status = older.status;
      info.state = older.state;
      info.health_mask = older.health_mask;
      summary = false;
    }
    if (code != Nvml::success || info.state == 0) {
      const std::string why = code == Nvml::success ? "this GPU is not part of a fabric" : nvml_.words(code);
      out.push_back({"fabric_incomplete", std::nullopt, why});
      out.push_back({"fabric_unhealthy", std::nullopt, why});
      return;
    }
    const bool complete = info.state == 3 && info.status == 0;
    const std::string state = info.state < fabric_states.size() ? fabric_states[info.state] : "unknown";
    out.push_back({"fabric_incomplete", complete ? 0 : 1, info.state == 3 && info.status != 0 ? "completed with " + nvml_.words(info.status) : "state: " + state});
    std::string ill;
    const auto add = [&](std::string_view words) { ill += fmt::format("{}{}", ill.empty() ? "" : ", ", words); };
    for (const auto& bit : fabric_bits)
      if (((info.health_mask >> bit.shift) & ((1U << bit.width) - 1)) == 1) add(bit.means);
    if (const unsigned wrong = (info.health_mask >> 8) & 0xf; wrong >= 2) add(wrong < fabric_wrong.size() ? fabric_wrong[wrong] : "a wrong configuration");
    if (summary && info.health_summary == 2 && ill.empty()) add("unhealthy by its own summary");
    if (summary && info.health_summary == 3 && ill.empty()) add("limited capacity by its own summary");
    out.push_back({"fabric_unhealthy", ill.empty() ? 0 : 1, ill});
  }
  void confidential(Readings& out) {
    nvml::ConfidentialState state{};
    const auto code = nvml_.call("nvmlSystemGetConfComputeState", &state);
    if (code == Nvml::not_supported || code == Nvml::function_not_found) {
      out.push_back({"confidential_computing", 0, "this driver or GPU has none"});
      return;
    }
    const bool on = state.feature != 0;
    out.push_back(known("confidential_computing", code, on ? 1 : 0, on ? (state.dev_tools ? "on, in developer mode" : "on: copies are encrypted and slower") : ""));
  }
  // Processes but this one and its parent, the agent, under all numbers that the namespaces give them: the driver may tell those of the host.
  Reading processes() {
    const FactTree tree(sources_.root);
    std::set<std::uint32_t> own{static_cast<std::uint32_t>(::getpid()), static_cast<std::uint32_t>(::getppid())};
    for (const std::string& status : {std::string("/proc/self/status"), fmt::format("/proc/{}/status", ::getppid())}) {
      const std::string text = tree.read(status).value_or("");
      for (const std::string_view line : split_lines(text))
        if (line.rfind("NSpid:", 0) == 0)
          for (const auto& word : split(line.substr(6), '\t'))
            if (const auto pid = static_cast<std::uint32_t>(std::strtoul(word.c_str(), nullptr, 10)); pid > 0) own.insert(pid);
    }
    std::map<std::uint32_t, bool> others;   // and whether it only draws
    const auto list = [&](const char* function, bool draws) {
      std::array<nvml::ProcessInfo, most_processes> all{};
      unsigned count = all.size();
      const auto code = seen(nvml_.call(function, device_, &count, all.data()));
      for (unsigned i = 0; code == Nvml::success && i < std::min<unsigned>(count, all.size()); ++i)
        if (!own.contains(all[i].pid)) others.emplace(all[i].pid, draws);
      return code;
    };
    if (const auto code = list("nvmlDeviceGetComputeRunningProcesses_v3", false); code != Nvml::success) return known("foreign_processes", code, 0);
    list("nvmlDeviceGetGraphicsRunningProcesses_v3", true);   // a GPU for computing alone has none to tell of
    std::uint64_t foreign = 0;
    std::string which, displays;
    for (const auto& [pid, draws] : others) {
      const std::string name = one_line(tree.read(fmt::format("/proc/{}/comm", pid)).value_or(""), 20);
      const bool display = draws && std::find(display_servers.begin(), display_servers.end(), name) != display_servers.end();
      foreign += !display;
      auto& to = display ? displays : which;
      if (to.size() < 120) to += fmt::format("{}{}{}", to.empty() ? "" : ", ", pid, name.empty() ? std::string() : fmt::format(" ({})", name));
    }
    std::string detail = which.empty() ? std::string() : fmt::format("{} pid {}", to_string(code::accelerator_shared), which);
    if (!displays.empty()) detail += fmt::format("{}a display server draws on it: pid {}", detail.empty() ? "" : "; ", displays);
    return {"foreign_processes", foreign, std::move(detail)};
  }

  Nvml nvml_;
  Nvml::Device device_;
  std::string bus_id_;
  const Sources& sources_;
  void* events_ = nullptr;
  std::optional<std::string> lost_;
};

Code code_of(Nvml::Return code) {
  if (code == Nvml::gpu_is_lost || code == Nvml::reset_required) return code::accelerator_lost;
  if (code == Nvml::no_permission) return code::accelerator_not_permitted;
  return code == Nvml::driver_not_loaded ? code::driver_missing : code::device_call_failed;
}

}  // namespace

Result<std::unique_ptr<Source>> open_nvidia(const devices::Accelerator& accelerator, const Sources& sources) {
  Nvml nvml(sources.nvml_library);
  if (!nvml.loaded()) return error(code::driver_missing, nvml.why_not());
  if (const auto code = nvml.call("nvmlInit_v2"); code != Nvml::success)
    return error(code == Nvml::function_not_found ? code::driver_too_old : code_of(code), "NVML did not start: " + nvml.words(code));
  const auto found = nvml.find_gpu(accelerator.id, accelerator.pci_bus_id);
  if (found.code != Nvml::success) {
    nvml.call("nvmlShutdown");
    return error(found.any_gpu && found.code == Nvml::gpu_is_lost ? code::device_call_failed : code_of(found.code), found.why);
  }
  const Nvml::Device device = found.device;
  nvml::PciInfo pci{};
  std::string bus_id = accelerator.pci_bus_id;
  if (nvml.call("nvmlDeviceGetPciInfo_v3", device, &pci) == Nvml::success) {
    pci.bus_id[sizeof pci.bus_id - 1] = '\0';
    bus_id = pci.bus_id;
  }
  return std::unique_ptr<Source>(std::make_unique<NvidiaSource>(std::move(nvml), device, std::move(bus_id), sources));
}

}  // namespace kfab::agent::health

#include <fmt/format.h>

#include "agent/facts_sections.hpp"
#include "agent/health/source.hpp"
#include "base/codes/validation.hpp"

namespace kfab::agent::health {
namespace {

// The processor and its memory as the kernel counts their errors: EDAC, thermal throttling, processors that are there and off.
class CpuSource final : public Source {
 public:
  explicit CpuSource(const Sources& sources) : tree_(sources.root) {}

  Readings counters() override {
    return {sum("edac_corrected", "/sys/devices/system/edac/mc", "mc", "/ce_count", "the kernel counts no memory errors here (no EDAC driver)"),
            sum("edac_uncorrected", "/sys/devices/system/edac/mc", "mc", "/ue_count", "the kernel counts no memory errors here (no EDAC driver)"),
            sum("thermal_throttles", "/sys/devices/system/cpu", "cpu", "/thermal_throttle/core_throttle_count", "this processor counts no throttling")};
  }

  Readings states() override {
    Reading offline{"processors_offline", std::nullopt, {}};
    const auto present = tree_.read("/sys/devices/system/cpu/present"), online = tree_.read("/sys/devices/system/cpu/online");
    if (present && online) {
      const int there = count_of_list(*present), on = count_of_list(*online);
      offline.value = there > on ? static_cast<std::uint64_t>(there - on) : 0;
      offline.detail = fmt::format("{} of {} processors are in use", on, there);
    } else {
      offline.detail = "/sys/devices/system/cpu: " + tree_.why_not("/sys/devices/system/cpu/present");
    }
    return {offline};
  }

  json::Object versions() override { return {}; }

 private:
  // The sum of one file over all folders "<prefix><number>" of a directory.
  Reading sum(std::string name, std::string_view directory, std::string_view prefix, std::string_view file, std::string why_none) const {
    Reading out{std::move(name), std::nullopt, std::move(why_none)};
    std::uint64_t total = 0;
    std::string worst;
    long long most = 0;
    std::size_t folders = 0;
    for (const auto& folder : tree_.list(directory)) {
      if (folder.rfind(prefix, 0) != 0 || folder.find_first_not_of("0123456789", prefix.size()) != std::string::npos || ++folders > 8192) continue;
      const auto count = tree_.read_int(std::string(directory) + "/" + folder + std::string(file));
      if (!count || *count < 0) continue;
      total += static_cast<std::uint64_t>(*count);
      out.value = total;
      if (*count > most) {
        most = *count;
        worst = folder;
      }
    }
    if (out.value) out.detail = worst.empty() ? std::string() : fmt::format("most on {}: {}", worst, most);
    return out;
  }

  FactTree tree_;
};

}  // namespace

Result<std::unique_ptr<Source>> open_cpu(const Sources& sources) { return std::unique_ptr<Source>(std::make_unique<CpuSource>(sources)); }

Result<std::unique_ptr<Source>> open_source(const devices::Accelerator& accelerator, const Sources& sources) {
  if (accelerator.device == "cpu") return open_cpu(sources);
  if (accelerator.device == "cuda") return open_nvidia(accelerator, sources);
  return error(code::not_supported_by_accelerator, fmt::format("nothing reads the counters of a device {}", accelerator.device));
}

}  // namespace kfab::agent::health

#include "agent/cpu_model.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/text.hpp"

namespace kfab::agent {
namespace {

// Of servers. Source: Linux, arch/arm64/include/asm/cputype.h.
struct ArmPart {
  std::string_view implementer, part, name;
};
constexpr std::array arm_parts{
    ArmPart{"0x41", "0xd08", "Arm Cortex-A72"},    ArmPart{"0x41", "0xd0c", "Arm Neoverse N1"},   ArmPart{"0x41", "0xd40", "Arm Neoverse V1"},
    ArmPart{"0x41", "0xd49", "Arm Neoverse N2"},   ArmPart{"0x41", "0xd4f", "Arm Neoverse V2"},   ArmPart{"0x41", "0xd84", "Arm Neoverse V3"},
    ArmPart{"0x41", "0xd8e", "Arm Neoverse N3"},   ArmPart{"0x46", "0x001", "Fujitsu A64FX"},     ArmPart{"0x48", "0xd01", "HiSilicon TaiShan v110"},
    ArmPart{"0x4e", "0x010", "NVIDIA Olympus"},    ArmPart{"0xc0", "0xac3", "Ampere AmpereOne"},  ArmPart{"0xc0", "0xac4", "Ampere AmpereOne A"},
};

// "key : value" lines, the first of each key.
std::optional<std::string> value_of(std::string_view cpuinfo, std::string_view key) {
  for (const auto line : split_lines(cpuinfo)) {
    const auto colon = line.find(':');
    if (colon != std::string_view::npos && trim(line.substr(0, colon)) == key) return one_line(trim(line.substr(colon + 1)), 100);
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> cpu_model(std::string_view cpuinfo) {
  for (const auto* key : {"model name", "Model", "cpu model", "cpu"})
    if (auto name = value_of(cpuinfo, key); name && !name->empty()) return name;
  const auto implementer = value_of(cpuinfo, "CPU implementer"), part = value_of(cpuinfo, "CPU part");
  if (!implementer || !part) return std::nullopt;
  const auto known = std::find_if(arm_parts.begin(), arm_parts.end(), [&](const ArmPart& one) { return one.implementer == *implementer && one.part == *part; });
  if (known != arm_parts.end()) return std::string(known->name);
  return fmt::format("Arm processor {}/{}", *implementer, *part);
}

}  // namespace kfab::agent

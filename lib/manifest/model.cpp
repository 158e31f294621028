#include "manifest/model.hpp"

#include <algorithm>
#include <iterator>

namespace kfab::manifest {

std::optional<double> figure_of(const Profile& profile, std::string_view key) {
  if (const auto found = profile.nominal.find(std::string(key)); found != profile.nominal.end()) return found->second;
  const auto whole = [](const Stated<int>& stated) { return stated.get() ? std::optional<double>(*stated.get()) : std::nullopt; };
  if (key == "nvlinks") return whole(profile.nvlinks);
  if (key == "pcie_gen") return whole(profile.pcie_gen);
  if (key == "pcie_width") return whole(profile.pcie_width);
  if (key == "per_node") return whole(profile.per_node);
  if (key == "memory_gib") return profile.memory_gib.get();
  return std::nullopt;
}

bool told_by_device(std::string_view device, std::string_view key) {
  static constexpr std::string_view keys[] = {"hbm_gbps", "pcie_gbps", "fp64_tflops", "fp32_tflops", "tf32_tflops", "bf16_tflops", "fp16_tflops", "fp8_tflops", "int8_tops"};
  return device == "cuda" && std::find(std::begin(keys), std::end(keys), key) != std::end(keys);
}

const Tranche* Site::find_tranche(std::string_view name) const {
  for (const Tranche& one : tranches)
    if (one.name == name) return &one;
  return nullptr;
}

const Profile* Site::find_profile(std::string_view name) const {
  const auto found = profiles.find(std::string(name));
  return found == profiles.end() ? nullptr : &found->second;
}

}  // namespace kfab::manifest

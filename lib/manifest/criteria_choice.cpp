#include "manifest/criteria_choice.hpp"

#include "manifest/load.hpp"

namespace kfab::manifest {

std::shared_ptr<const CriteriaSet> criteria_of(const std::map<std::string, CriteriaSet>& of_manifest, const Profile& profile) {
  if (const auto own = of_manifest.find(profile.criteria); own != of_manifest.end()) return {std::shared_ptr<void>(), &own->second};
  const bool cuda = profile.device.empty() ? profile.vendor == "nvidia" : profile.device == "cuda";
  if (!profile.criteria.empty() || !cuda) return nullptr;
  static const auto any_gpu = built_in_criteria(criteria_of_any_gpu);   // a site asks once for each node
  return any_gpu;
}

}  // namespace kfab::manifest

#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "manifest/model.hpp"

namespace kfab::manifest {

// The set by which a CUDA profile that names none is judged: its floors follow from what the GPU says of itself.
inline constexpr std::string_view criteria_of_any_gpu = "nvidia-any";

// By what the nodes of a profile are judged, for everybody who asks: the one of the manifest's sets that the profile names, else for a
// profile of device cuda that names none the built-in nvidia-any. Null where there is none: figures are recorded only. A set of the
// manifest is lent, not copied, and nvidia-any is never freed, so that what is lent lives as long as the manifest does.
std::shared_ptr<const CriteriaSet> criteria_of(const std::map<std::string, CriteriaSet>& of_manifest, const Profile&);

}  // namespace kfab::manifest

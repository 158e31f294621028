#include "manifest/model.hpp"

namespace kfab::manifest {

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

#include "readiness/node_links.hpp"

#include <fmt/format.h>

#include "base/text.hpp"
#include "readiness/node_states.hpp"

namespace kfab::readiness {

NodeLinks judge_links(const manifest::Profile& profile, const NodeEvidence& evidence, const std::string& accelerator) {
  using enum NodeLinks::State;
  if (!profile.nvlinks.known() || *profile.nvlinks <= 0) return {};
  const int declared = *profile.nvlinks;
  const std::string name = one_line(accelerator, 60);
  const auto found = evidence.links.find(accelerator);
  const auto* looked = found == evidence.links.end() ? nullptr : found->second.looked;
  if (!looked || !looked->active) return {unknown, fmt::format("how many links of {} are up has not been told", name)};
  if (*looked->active < declared) return {broken, fmt::format("{} of {} links of {} are up", static_cast<int>(*looked->active), declared, name)};
  if (*looked->active > declared) return {unknown, fmt::format("{} has {} links, and its profile declares {}", name, static_cast<int>(*looked->active), declared)};
  if (looked->down.value_or(0) > 0) return {broken, fmt::format("{} of the links of {} are down", static_cast<int>(*looked->down), name)};
  if (looked->fabric_incomplete.value_or(0) > 0) return {broken, fmt::format("the fabric of {} is not complete", name)};
  if (looked->fabric_unhealthy.value_or(0) > 0) return {broken, fmt::format("the fabric manager finds the fabric of {} ill", name)};
  if (accelerators_of(&profile) == 1) return {proven, {}};
  const auto* copied = found->second.copied;
  if (!copied) return {unknown, fmt::format("no criterion has judged a copy between {} and its peers", name)};
  if (copied->copies_short > 0) return {broken, fmt::format("copies between {} and its peers fall short of their criteria", name)};
  return {proven, {}};
}

}  // namespace kfab::readiness

#include "agent/resources/package_manager.hpp"

#include <fmt/format.h>

#include "base/codes/provision.hpp"

namespace kfab::agent {

Diagnostic package_failure(std::string_view program, std::string_view doing, const ProcessResult& result, std::span<const PackageManagerSays> says) {
  if (result.end == ProcessResult::End::not_found) return error(code::package_manager_missing, fmt::format("the node has no {}", program));
  Diagnostic problem = process_failure(code::package_failed, doing, result);
  if (result.end != ProcessResult::End::exited) return problem;
  for (const auto& [phrase, code] : says)
    if (result.err.find(phrase) != std::string::npos || result.out.find(phrase) != std::string::npos) return error(code, std::move(problem.message));
  return problem;
}

std::vector<std::string> with_version(std::vector<std::string> what, std::string_view sign, const std::string& version) {
  for (auto& name : what)
    if (!version.empty() && !name.starts_with('/')) name.append(sign).append(version);
  return what;
}

}  // namespace kfab::agent

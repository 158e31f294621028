#include "commands/criteria_checks.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "validation/known_metrics.hpp"

namespace kfab::commands {

Diagnostics check_criteria(const manifest::Loaded& loaded) {
  Diagnostics found;
  const auto take = [&](Diagnostics those) { std::move(those.begin(), those.end(), std::back_inserter(found)); };
  if (const auto* set = std::get_if<manifest::CriteriaSet>(&loaded.document)) {
    take(validation::check_metrics(*set));
    take(validation::check_judges(*set, nullptr));
  }
  const auto* site = loaded.site();
  if (site == nullptr) return found;
  for (const auto& [name, set] : site->criteria) take(validation::check_metrics(set));
  for (const auto& [name, profile] : site->profiles)
    if (const auto set = site->criteria.find(profile.criteria); set != site->criteria.end()) take(validation::check_judges(set->second, &profile));
  return found;
}

Diagnostics criteria_errors(const manifest::Loaded& loaded) {
  Diagnostics found = check_criteria(loaded);
  std::erase_if(found, [](const Diagnostic& one) { return one.severity != Severity::error; });
  return found;
}

std::variant<SiteSession, CommandOutput> open_site_to_judge(const SiteOptions& options, Env& env) {
  auto opened = open_site(options, env);
  const auto* session = std::get_if<SiteSession>(&opened);
  if (session == nullptr) return opened;
  auto wrong = criteria_errors(*session->loaded);
  if (wrong.empty()) return opened;
  CommandOutput output = not_started(std::move(wrong), session->loaded->sources);
  output.site = session->ref();
  return output;
}

}  // namespace kfab::commands

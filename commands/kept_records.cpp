#include "commands/kept_records.hpp"

#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "base/codes/store.hpp"
#include "base/text.hpp"

namespace kfab::commands {

Result<bool> has_records(const Env& env) {
  if (env.state_dir.empty()) return false;
  const std::string shown = one_line(env.state_dir.string(), 200);
  std::error_code problem;
  const auto kind = std::filesystem::status(env.state_dir, problem).type();
  if (kind == std::filesystem::file_type::not_found) {
    if (env.state_dir_named) return error(code::state_dir_missing, fmt::format("there is no directory {}", shown));
    return false;
  }
  if (!problem && kind != std::filesystem::file_type::directory) return error(code::file_unreadable, fmt::format("the state directory '{}' is no directory", shown));
  // Not to be let in is another thing than that there is nothing.
  const auto file = env.state_dir / "kfab.db";
  const bool there = std::filesystem::exists(file, problem);
  if (problem) return error(code::store_unwritable, fmt::format("{}: {}", one_line(file.string(), 200), problem.message()));
  return there;
}

Result<std::unique_ptr<store::Store>> open_records(const Env& env, const std::string& site) {
  KFAB_TRY(there, has_records(env));
  return there ? store::Store::open(env.state_dir, site) : store::Store::empty(site);
}

Diagnostic no_records(const Env& env) { return make_diagnostic(code::store_missing, fmt::format("there is no store in {}", one_line(env.state_dir.string(), 200))); }

}  // namespace kfab::commands

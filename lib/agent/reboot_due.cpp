#include "agent/reboot_due.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include <fmt/format.h>

#include "agent/resources/disk_file.hpp"
#include "base/codes/agent.hpp"
#include "base/codes/provision.hpp"
#include "base/codes/reboot.hpp"
#include "base/file.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

constexpr double guard_timeout_s = 60;
constexpr std::size_t most_noted_bytes = std::size_t{8} << 20;
constexpr std::size_t most_packages = 10;

// A list is run as it is; a string is a line for the shell.
std::vector<std::string> argv_of(const json::Value& value) {
  if (const auto* line = value.as_string()) return {"/bin/sh", "-c", *line};
  return string_list(value);
}

Result<RebootDue> by_guard(const json::Value& attributes, const ResourceContext& context) {
  const auto result = context.run(argv_of(attributes["unless"]), guard_timeout_s, "/");
  if (result.end != ProcessResult::End::exited || result.exit_status == 126 || result.exit_status == 127) {
    Diagnostic problem = process_failure(code::command_guard_failed, "the guard unless", result);
    if (problem.code == code::program_missing) problem.code = code::command_guard_failed;
    return problem;
  }
  if (result.exit_status == 0) return RebootDue{};
  const std::string words = result.last_words(160);
  return RebootDue{true, false, words.empty() ? std::string("what it waits for does not hold yet") : one_line(words, 160)};
}

bool may_yet_be(const std::vector<std::string>& after, const BeforeReboot& before) {
  if (after.empty()) return before.packages_would_change;
  return std::any_of(after.begin(), after.end(), [&](const std::string& id) { return before.changed.count(id) > 0; });
}

}  // namespace

std::string boot_id_of(const NodeEnvironment& node) {
  const auto text = read_file(node.at("/proc/sys/kernel/random/boot_id"), 256);
  return text ? one_line(trim(*text), 64) : std::string();
}

std::string system_reboot_reason(const NodeEnvironment& node) {
  if (!read_file(node.at("/run/reboot-required"), 4096)) return {};
  const auto packages = read_file(node.at("/run/reboot-required.pkgs"), 65536);
  std::vector<std::string> names;
  if (packages)
    for (const auto line : split_lines(*packages))
      if (!trim(line).empty() && names.size() < most_packages) names.push_back(one_line(trim(line), 60));
  return "packages wait for it" + (names.empty() ? std::string() : ": " + join(names, ", "));
}

ChangedSinceBoot::ChangedSinceBoot(const NodeEnvironment& node) : path_(node.at("/run/kfab/changed")), boot_id_(boot_id_of(node)) {
  const auto text = read_file(path_, most_noted_bytes);
  if (!text || boot_id_.empty()) return;
  const auto lines = split_lines(*text);
  if (lines.empty() || lines.front() != boot_id_) return;
  for (std::size_t i = 1; i < lines.size(); ++i)
    if (!lines[i].empty()) ids_.emplace(lines[i]);
}

// The file is small, and lives in memory: written anew, so that there is never a part of a line in it.
Status ChangedSinceBoot::add(const std::string& id) {
  if (ids_.count(id) > 0) return ok();
  if (boot_id_.empty()) return error(code::reboot_not_known, "the node does not tell which boot it runs");
  if (id.find('\n') != std::string::npos) return error(code::reboot_not_known, "an id of more than one line cannot be noted");
  ids_.insert(id);
  std::string text = boot_id_ + "\n";
  for (const auto& known : ids_) text += known + "\n";
  Status written = make_directories(std::filesystem::path(path_).parent_path().string());
  if (written) written = write_file_atomically(path_, text, 0644);
  if (written) return ok();
  ids_.erase(id);
  return error(code::reboot_not_known, fmt::format("that {} is changed cannot be noted: {}", one_line(id, 80), one_line(written.error().message, 200)));
}

Result<RebootDue> reboot_due(const json::Value& attributes, const std::vector<std::string>& after, const BeforeReboot& before, const ChangedSinceBoot& noted,
                             const ResourceContext& context) {
  RebootDue found;
  if (!attributes["unless"].is_null()) {
    KFAB_TRY(guarded, by_guard(attributes, context));
    found = std::move(guarded);
    found.open = !found.due && may_yet_be(after, before);
  } else if (attributes.string_or("when", "needed") == "changed") {
    for (const auto& id : after) {
      const bool now = before.changed.count(id) > 0;
      if (!now && !noted.holds(id)) continue;
      found = {true, false, fmt::format("{} {}", one_line(id, 120), now ? "is changed by this run" : "was changed since the last boot")};
      break;
    }
  } else if (const std::string system = system_reboot_reason(context.node); !before.reasons.empty() || !system.empty()) {
    found = {true, false, before.reasons.empty() ? system : before.reasons.front()};
  } else {
    found.open = may_yet_be(after, before);
  }
  if (const std::string said = attributes.string_or("reason"); found.due && !said.empty()) found.reason = one_line(said, 300);
  return found;
}

}  // namespace kfab::agent

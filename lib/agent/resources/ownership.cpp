#include "agent/resources/ownership.hpp"

#include <unistd.h>

#include <cerrno>
#include <charconv>

#include <fmt/format.h>

#include "base/codes/agent.hpp"
#include "base/codes/provision.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

constexpr double lookup_timeout_s = 20;
constexpr mode_t permission_bits = 07777;

std::optional<unsigned> number(std::string_view text, int base = 10) {
  unsigned value = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (fault != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// The third field of the line that getent gives: uid in passwd, gid in group.
Result<unsigned> look_up(const char* database, const std::string& name, const ResourceContext& context) {
  if (const auto id = number(name)) return *id;
  if (name == "root") return 0U;
  const auto answer = context.run({"getent", database, name}, lookup_timeout_s);
  if (answer.end == ProcessResult::End::exited && answer.exit_status == 2)
    return error(code::owner_unknown,
                 fmt::format("the node has no {} '{}'", std::string_view(database) == "group" ? "group" : "user",
                             one_line(name, 60)));
  if (!answer.success()) return process_failure(code::owner_unknown, "getent " + std::string(database), answer);
  const auto fields = split(trim(answer.out), ':');
  if (fields.size() > 2)
    if (const auto id = number(fields[2])) return *id;
  return error(code::owner_unknown, fmt::format("getent gives no number for '{}'", one_line(name, 60)));
}

}  // namespace

std::string octal(mode_t mode) { return fmt::format("{:04o}", mode & permission_bits); }

Result<Ownership> read_ownership(const json::Value& attributes, const ResourceContext& context) {
  Ownership ownership;
  if (const auto owner = scalar_text(attributes["owner"]); !owner.empty()) {
    KFAB_TRY(id, look_up("passwd", owner, context));
    ownership.owner = id;
  }
  if (const auto group = scalar_text(attributes["group"]); !group.empty()) {
    KFAB_TRY(id, look_up("group", group, context));
    ownership.group = id;
  }
  if (const auto mode = attributes.string_or("mode"); !mode.empty()) {
    const auto bits = number(mode, 8);
    if (!bits || *bits > permission_bits)
      return error(code::agent_bad_request, fmt::format("mode '{}' is not octal", one_line(mode, 20)));
    ownership.mode = *bits;
  }
  return ownership;
}

std::vector<Change> ownership_changes(const Ownership& declared, const struct stat& found) {
  std::vector<Change> changes;
  if (declared.owner && *declared.owner != found.st_uid)
    changes.push_back({"owner", fmt::format("{}", found.st_uid), fmt::format("{}", *declared.owner)});
  if (declared.group && *declared.group != found.st_gid)
    changes.push_back({"group", fmt::format("{}", found.st_gid), fmt::format("{}", *declared.group)});
  if (declared.mode && *declared.mode != (found.st_mode & permission_bits) && !S_ISLNK(found.st_mode))
    changes.push_back({"mode", octal(found.st_mode), octal(*declared.mode)});
  return changes;
}

Status set_ownership(int fd, const Ownership& declared, std::string_view path) {
  // Owner first: changing it clears the set-user-id bits that the mode may ask for.
  if ((declared.owner || declared.group) && ::fchown(fd, declared.owner.value_or(static_cast<uid_t>(-1)),
                                                     declared.group.value_or(static_cast<gid_t>(-1))) != 0)
    return system_failure(errno, "set the owner of", path);
  if (declared.mode && ::fchmod(fd, *declared.mode) != 0) return system_failure(errno, "set the mode of", path);
  return ok();
}

}  // namespace kfab::agent

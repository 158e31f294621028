#include "agent/resources/resource.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "base/codes/agent.hpp"
#include "base/codes/provision.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

struct TypeRow {
  std::string_view name;
  std::string_view required;   // the attribute without which nothing can be done; empty when several may
  MakeResource* make;
};

constexpr std::array types{
    TypeRow{"package", "names", make_package},    TypeRow{"file", "path", make_file},
    TypeRow{"directory", "path", make_directory}, TypeRow{"service", "name", make_service},
    TypeRow{"sysctl", "name", make_sysctl},       TypeRow{"user", "name", make_user},
    TypeRow{"command", "", make_command},         TypeRow{"group", "name", make_group},
    TypeRow{"line", "path", make_line},           TypeRow{"sudoers", "name", make_sudoers},
    TypeRow{"ssh_key", "user", make_ssh_key},     TypeRow{"limits", "item", make_limits},
    TypeRow{"hostname", "name", make_hostname},   TypeRow{"timezone", "name", make_timezone},
    TypeRow{"kernel_module", "name", make_kernel_module},
    TypeRow{"kernel_argument", "name", make_kernel_argument},
    TypeRow{"hugepages", "", make_hugepages},     TypeRow{"drop_in", "unit", make_drop_in},
    TypeRow{"mount", "path", make_mount},         TypeRow{"swap", "", make_swap},
    TypeRow{"repository", "name", make_repository}, TypeRow{"assertion", "message", make_assertion},
    TypeRow{"firewall", "", make_firewall},       TypeRow{"archive", "path", make_archive},
    TypeRow{"raid0", "name", make_raid0},
};

Code code_of(int error_number) {
  switch (error_number) {
    case EACCES:
    case EPERM: return code::provision_no_rights;
    case ENOSPC:
    case EDQUOT: return code::provision_disk_full;
    case EROFS: return code::provision_read_only;
    case ENOENT:
    case ENOTDIR:
    case EISDIR:
    case ENOTEMPTY:
    case EEXIST:
    case ELOOP:
    case ENAMETOOLONG:
    case EBUSY:
    case ETXTBSY: return code::provision_path_blocked;
    default: return code::provision_io_error;
  }
}

}  // namespace

ProcessResult ResourceContext::run(std::vector<std::string> argv, double timeout_s, std::string directory) const {
  ProcessSpec spec;
  spec.argv = std::move(argv);
  spec.environment = node.process_environment;
  for (const auto* fixed : {"LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1",
                            "APT_LISTCHANGES_FRONTEND=none", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0"})
    spec.environment.emplace_back(fixed);
  spec.directory = std::move(directory);
  spec.timeout_s = timeout_s;
  return task.run(std::move(spec));
}

Result<std::unique_ptr<Resource>> create_resource(std::string_view type, const json::Value& attributes,
                                                  const ResourceContext& context) {
  const auto it = std::find_if(types.begin(), types.end(), [&](const TypeRow& row) { return row.name == type; });
  if (it == types.end())
    return error(code::agent_bad_request, fmt::format("this agent knows no resource type '{}'", one_line(type, 40)));
  if (!it->required.empty() && string_list(attributes[it->required]).empty())
    return error(code::agent_bad_request, fmt::format("a {} without {}", type, it->required));
  return it->make(attributes, context);
}

std::vector<std::string> string_list(const json::Value& value) {
  if (const auto* text = value.as_string()) return {*text};
  std::vector<std::string> list;
  if (const auto* items = value.as_array())
    for (const auto& item : *items) {   // a variable in a list of words may be a number
      if (const auto* text = item.as_string()) list.push_back(*text);
      else if (item.is_number() || item.is_bool()) list.push_back(json::dump(item));
    }
  return list;
}

std::string scalar_text(const json::Value& value) {
  if (const auto* text = value.as_string()) return *text;
  if (const auto flag = value.as_bool()) return *flag ? "1" : "0";
  return value.is_null() ? "" : json::dump(value);
}

Diagnostic system_failure(int error_number, std::string_view doing, std::string_view path) {
  return error(code_of(error_number),
               fmt::format("cannot {} {}: {}", doing, one_line(path), std::strerror(error_number)));
}

bool says_no_rights(const ProcessResult& result) {
  static constexpr std::array phrases{"Permission denied",
                                      "are you root",
                                      "Operation not permitted",
                                      "Access denied",
                                      "Interactive authentication required",
                                      "must be root",
                                      "not privileged",
                                      "only root"};
  return std::any_of(phrases.begin(), phrases.end(), [&](const char* phrase) {
    return result.err.find(phrase) != std::string::npos || result.out.find(phrase) != std::string::npos;
  });
}

Diagnostic process_failure(Code code, std::string_view doing, const ProcessResult& result) {
  using End = ProcessResult::End;
  if (result.end == End::not_found) code = code::program_missing;
  if (result.end == End::not_started) code = code::child_not_started;
  if (result.end == End::timed_out) code = code::resource_timed_out;
  if (result.end == End::stopped) code = code::agent_cancelled;
  if (result.end == End::exited && says_no_rights(result)) code = code::provision_no_rights;
  const std::string words = result.last_words();
  return error(code, fmt::format("{}: {}{}{}", doing, result.how(), words.empty() ? "" : ": ", words));
}

}  // namespace kfab::agent

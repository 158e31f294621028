#include "manifest/resource_types.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/text.hpp"

namespace kfab::manifest {
namespace {

using enum AttributeType;

constexpr std::array package_attributes{
    AttributeSpec{"names", string_list, true, "", "", "the packages, by the distribution's names"},
    AttributeSpec{"state", string, false, "present|absent", "present", "installed, or removed (configuration stays)"},
    AttributeSpec{"version", string, false, "", "any", "exactly this version; for one package only"},
    AttributeSpec{"hold", boolean, false, "", "left as it is", "kept at its version by the package manager"},
    AttributeSpec{"refresh", boolean, false, "", "false",
                  "read the package lists anew before something is installed"},
    AttributeSpec{"lock_timeout_s", integer, false, "", "120",
                  "how long to wait while another package manager holds the lock"},
    AttributeSpec{"timeout_s", integer, false, "", "1800", "how long the package manager may take"},
};

constexpr std::array file_attributes{
    AttributeSpec{"path", path, true, "", "", "the file"},
    AttributeSpec{"content", string, false, "", "", "the whole text of the file; templates in it are expanded"},
    AttributeSpec{"source", string, false, "", "",
                  "a file beside the manifest whose text is the content; read when the manifest is loaded"},
    AttributeSpec{"verbatim", boolean, false, "", "false", "do not expand templates in the content"},
    AttributeSpec{"link_to", string, false, "", "", "make it a symbolic link to this, instead of a file with content"},
    AttributeSpec{"owner", string, false, "", "left as it is; root for a new file", "user name or number"},
    AttributeSpec{"group", string, false, "", "left as it is", "group name or number"},
    AttributeSpec{"mode", mode, false, "", "left as it is; 0644 for a new file", "permission bits"},
    AttributeSpec{"sensitive", boolean, false, "", "false", "never show its content or a diff of it"},
    AttributeSpec{"state", string, false, "present|absent", "present", "there, or removed"},
};

constexpr std::array directory_attributes{
    AttributeSpec{"path", path, true, "", "", "the directory; missing parents are made with mode 0755"},
    AttributeSpec{"owner", string, false, "", "left as it is", "user name or number"},
    AttributeSpec{"group", string, false, "", "left as it is", "group name or number"},
    AttributeSpec{"mode", mode, false, "", "left as it is; 0755 for a new directory", "permission bits"},
    AttributeSpec{"state", string, false, "present|absent", "present", "there, or removed if it is empty"},
};

constexpr std::array service_attributes{
    AttributeSpec{"name", string, true, "", "", "the systemd unit: chrony, nvidia-persistenced.service"},
    AttributeSpec{"state", string, false, "running|stopped", "left as it is", "what it shall be doing now"},
    AttributeSpec{"enabled", boolean, false, "", "left as it is", "whether it starts at boot"},
    AttributeSpec{"timeout_s", integer, false, "", "120", "how long starting or stopping may take"},
};

constexpr std::array sysctl_attributes{
    AttributeSpec{"name", string, true, "", "", "the kernel parameter: vm.max_map_count"},
    AttributeSpec{"value", scalar, true, "", "", "its value, now and in /etc/sysctl.d/60-kfab.conf for the next boot"},
};

constexpr std::array user_attributes{
    AttributeSpec{"name", string, true, "", "", "the login name"},
    AttributeSpec{"uid", integer, false, "", "the next free one", "the user's number"},
    AttributeSpec{"group", string, false, "", "one of its own", "the primary group, which must exist"},
    AttributeSpec{"groups", string_list, false, "", "left as they are",
                  "further groups the user must be in; memberships in others are left alone"},
    AttributeSpec{"shell", string, false, "", "left as it is", "the login shell"},
    AttributeSpec{"home", path, false, "", "left as it is", "the home directory, made for a new user"},
    AttributeSpec{"system", boolean, false, "", "false", "a system account; matters only when it is created"},
    AttributeSpec{"state", string, false, "present|absent", "present", "there, or removed (the home directory stays)"},
};

constexpr std::array command_attributes{
    AttributeSpec{"run", string_list, false, "", "", "the command and its arguments, run as they are"},
    AttributeSpec{"shell", string, false, "", "", "text given to /bin/sh -c, instead of run"},
    AttributeSpec{"unless", command, false, "", "", "do nothing when this command succeeds"},
    AttributeSpec{"only_if", command, false, "", "", "do nothing when this command fails"},
    AttributeSpec{"creates", path, false, "", "", "do nothing when this path is there; it must be there afterwards"},
    AttributeSpec{"directory", path, false, "", "/", "where it runs"},
    AttributeSpec{"timeout_s", integer, false, "", "300", "how long it may take; each guard has 60 s"},
};

constexpr std::array common_keys{
    AttributeSpec{"type", string, true, "package|file|directory|service|sysctl|user|command", "", "what it is"},
    AttributeSpec{"id", string, false, "", "<type>:<name or path>", "its name in the role"},
    AttributeSpec{"after", string_list, false, "", "", "ids in this role that must be right before it"},
    AttributeSpec{"restart_on", string_list, false, "", "",
                  "for a service: restarted when one of these ids in this role changed"},
};

constexpr std::array types{
    ResourceType{"package", "packages of the distribution (apt)", "names", package_attributes},
    ResourceType{"file", "a file with its whole content, or a symbolic link", "path", file_attributes},
    ResourceType{"directory", "a directory", "path", directory_attributes},
    ResourceType{"service", "a systemd unit", "name", service_attributes},
    ResourceType{"sysctl", "a kernel parameter, now and after the next boot", "name", sysctl_attributes},
    ResourceType{"user", "a user account", "name", user_attributes},
    ResourceType{"command", "a command with a guard that says whether it is needed", "run", command_attributes},
};

std::string found(const json::Value& value) {
  if (value.is_null()) return "nothing";
  if (value.is_object()) return "a mapping";
  if (value.is_array()) return "a list";
  if (const auto* text = value.as_string()) return fmt::format("the string '{}'", one_line(*text, 40));
  if (value.is_bool()) return *value.as_bool() ? "the boolean true" : "the boolean false";
  return fmt::format("the number {}", json::dump(value));
}

std::optional<std::string> expected(AttributeType type, const json::Value& value) {
  return fmt::format("expected {}, found {}", to_string(type), found(value));
}

bool is_whole_number(const json::Value& value) {
  if (!value.is_number()) return false;
  const auto number = value.as_double();
  return number && value.as_int() && static_cast<double>(*value.as_int()) == *number;
}

bool is_string_list(const json::Value& value) {
  if (const auto* text = value.as_string()) return !text->empty();
  const auto* items = value.as_array();
  return items && std::all_of(items->begin(), items->end(), [](const json::Value& item) {
           return item.is_string() && !item.as_string()->empty();
         });
}

std::optional<std::string> path_problem(const std::string& text) {
  if (text.empty() || text.front() != '/')
    return fmt::format("expected an absolute path, found '{}'", one_line(text, 60));
  if (text.find('\0') != std::string::npos) return "a path cannot hold a NUL byte";
  for (const auto& part : split(text, '/'))
    if (part == "." || part == "..")
      return fmt::format("expected a path without '{}' in it, found '{}'", part, one_line(text, 60));
  return std::nullopt;
}

std::optional<std::string> mode_problem(const std::string& text) {
  const bool octal = text.size() >= 3 && text.size() <= 4 &&
                     std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '7'; });
  if (octal) return std::nullopt;
  return fmt::format("expected permission bits such as \"0644\", found '{}'", one_line(text, 40));
}

std::optional<std::string> type_problem(AttributeType type, const json::Value& value) {
  const std::string* text = value.as_string();
  switch (type) {
    case string: return text ? std::nullopt : expected(type, value);
    case scalar: return text || value.is_bool() || is_whole_number(value) ? std::nullopt : expected(type, value);
    case integer: return is_whole_number(value) ? std::nullopt : expected(type, value);
    case boolean: return value.is_bool() ? std::nullopt : expected(type, value);
    case string_list: return is_string_list(value) ? std::nullopt : expected(type, value);
    case command: return is_string_list(value) ? std::nullopt : expected(type, value);
    case path: return text ? path_problem(*text) : expected(type, value);
    case mode: return text ? mode_problem(*text) : expected(type, value);
  }
  return std::nullopt;
}

bool present(const json::Value& attributes, std::string_view name) { return !attributes[name].is_null(); }

void check_package(const json::Value& attributes, std::vector<ResourceProblem>& problems) {
  const auto* names = attributes["names"].as_array();
  if (names && names->empty()) problems.push_back({"names", "no package is named"});
  if (present(attributes, "version") && names && names->size() > 1)
    problems.push_back({"version", "a version can be asked for one package only; declare the packages separately"});
  if (attributes.string_or("state") == "absent" && (present(attributes, "version") || present(attributes, "hold")))
    problems.push_back({"state", "a package that shall be absent has no version and no hold"});
}

void check_file(const json::Value& attributes, std::vector<ResourceProblem>& problems) {
  const bool content = present(attributes, "content"), source = present(attributes, "source"),
             link = present(attributes, "link_to");
  const bool absent = attributes.string_or("state") == "absent";
  // The loader keeps `source` beside the `content` that it read from there, so both together are no contradiction.
  if (link && (content || source)) problems.push_back({"link_to", "a link has no content: say content or link_to"});
  if (absent && (content || source || link))
    problems.push_back({"state", "a file that shall be absent has no content and is no link"});
  if (!absent && !content && !source && !link)
    problems.push_back({"path", "say what is in the file: content, source or link_to"});
  if (link && present(attributes, "mode")) problems.push_back({"mode", "a symbolic link has no mode of its own"});
  if (attributes.string_or("path").ends_with('/')) problems.push_back({"path", "a file's path does not end with '/'"});
}

void check_service(const json::Value& attributes, std::vector<ResourceProblem>& problems) {
  if (attributes.string_or("name").find('/') != std::string::npos)
    problems.push_back({"name", "a unit's name holds no '/'"});
}

void check_sysctl(const json::Value& attributes, std::vector<ResourceProblem>& problems) {
  const std::string name = attributes.string_or("name");
  if (name.find("..") != std::string::npos || name.starts_with('/') ||
      name.find_first_of(" \t\n=") != std::string::npos)
    problems.push_back({"name", "expected a kernel parameter such as vm.max_map_count"});
  if (attributes.string_or("value").find('\n') != std::string::npos)
    problems.push_back({"value", "a kernel parameter's value is one line"});
}

void check_user(const json::Value& attributes, std::vector<ResourceProblem>& problems) {
  if (const auto uid = attributes["uid"].as_int(); uid && (*uid < 0 || *uid > 4294967293))
    problems.push_back({"uid", "a user's number is between 0 and 4294967293"});
  const std::string name = attributes.string_or("name");
  if (name.find("{{") == std::string::npos &&
      (name.find_first_of(":/ \t\n") != std::string::npos || name.starts_with('-')))
    problems.push_back({"name", "a login name holds no blank, ':' or '/' and does not start with '-'"});
  if (name == "root" && attributes.string_or("state") == "absent")
    problems.push_back({"state", "root is never removed"});
}

void check_command(const json::Value& attributes, std::vector<ResourceProblem>& problems) {
  const bool run = present(attributes, "run"), shell = present(attributes, "shell");
  if (run == shell)
    problems.push_back({run ? "shell" : "", run ? "say run or shell, not both" : "say what to run: run or shell"});
  if (!present(attributes, "unless") && !present(attributes, "only_if") && !present(attributes, "creates"))
    problems.push_back({"", "a command needs a guard (unless, only_if or creates), or it would run again each time"});
  if (const auto* words = attributes["run"].as_array(); words && words->empty())
    problems.push_back({"run", "the command is empty"});
}

using CheckFunction = void (*)(const json::Value&, std::vector<ResourceProblem>&);
constexpr std::array<std::pair<std::string_view, CheckFunction>, 6> checks{{{"package", check_package},
                                                                            {"file", check_file},
                                                                            {"service", check_service},
                                                                            {"sysctl", check_sysctl},
                                                                            {"user", check_user},
                                                                            {"command", check_command}}};

}  // namespace

std::string_view to_string(AttributeType type) {
  switch (type) {
    case string: return "a string";
    case scalar: return "a string, a whole number or a boolean";
    case integer: return "a whole number";
    case boolean: return "true or false";
    case string_list: return "a list of strings";
    case mode: return "permission bits such as \"0644\"";
    case path: return "an absolute path";
    case command: return "a list of strings, or a line for the shell";
  }
  return "";
}

const AttributeSpec* ResourceType::find(std::string_view attribute) const {
  const auto it = std::find_if(attributes.begin(), attributes.end(),
                               [&](const AttributeSpec& spec) { return spec.name == attribute; });
  return it == attributes.end() ? nullptr : &*it;
}

std::span<const ResourceType> resource_types() { return types; }

const ResourceType* find_resource_type(std::string_view name) {
  const auto it = std::find_if(types.begin(), types.end(), [&](const ResourceType& type) { return type.name == name; });
  return it == types.end() ? nullptr : &*it;
}

std::vector<std::string> resource_type_names() {
  std::vector<std::string> names;
  for (const auto& type : types) names.emplace_back(type.name);
  return names;
}

std::span<const AttributeSpec> common_resource_keys() { return common_keys; }

std::optional<std::string> attribute_problem(const AttributeSpec& spec, const json::Value& value, bool expanded) {
  const std::string* text = value.as_string();
  if (!expanded && text && text->find("{{") != std::string::npos) return std::nullopt;
  if (auto problem = type_problem(spec.type, value)) return problem;
  if (!spec.allowed.empty() && text) {
    const auto allowed = split(spec.allowed, '|');
    if (std::find(allowed.begin(), allowed.end(), *text) == allowed.end())
      return fmt::format("expected {}, found '{}'", join(allowed, " or "), one_line(*text, 40));
  }
  if (spec.name == "timeout_s" || spec.name == "lock_timeout_s") {
    const auto seconds = value.as_int().value_or(0);
    if (seconds < 1 || seconds > 86400) return fmt::format("expected 1 to 86400 seconds, found {}", seconds);
  }
  if ((spec.name == "name" || spec.name == "path") && text && text->empty()) return "expected a name, found nothing";
  return std::nullopt;
}

std::vector<ResourceProblem> resource_problems(const ResourceType& type, const json::Value& attributes) {
  std::vector<ResourceProblem> problems;
  for (const auto& [name, check] : checks)
    if (name == type.name) check(attributes, problems);
  return problems;
}

std::string default_resource_id(const ResourceType& type, const json::Value& attributes) {
  const json::Value* value = &attributes[type.names_it];
  if (value->is_null()) value = &attributes["shell"];   // a command is named by what it runs
  std::string name;
  if (const auto* text = value->as_string()) name = *text;
  if (const auto* items = value->as_array()) {
    for (const auto& item : *items) {
      const std::string word = item.as_string() ? *item.as_string() : json::dump(item);
      name += (name.empty() ? "" : type.name == "command" ? " " : ",") + word;
    }
  }
  return fmt::format("{}:{}", type.name, one_line(name, 80));
}

}  // namespace kfab::manifest

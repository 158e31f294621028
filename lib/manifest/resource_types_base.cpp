#include <array>

#include "base/text.hpp"
#include "manifest/resource_tables.hpp"

namespace kfab::manifest {
namespace {

using enum AttributeType;

constexpr std::array package_attributes{
    AttributeSpec{"names", string_list, true, "", "", "the packages, by the distribution's names"},
    AttributeSpec{"state", string, false, "present|absent", "present", "installed, or removed (configuration stays)"},
    AttributeSpec{"version", string, false, "", "any", "exactly this version; for one package only"},
    AttributeSpec{"hold", boolean, false, "", "left as it is", "kept at its version by the package manager"},
    AttributeSpec{"pin", string, false, "", "none", "apt takes no other version than those of this pattern: \"570.*\""},
    AttributeSpec{"from", path, false, "", "the repositories", "a .deb or .rpm file on the node, for one package"},
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
    AttributeSpec{"validate", words, false, "", "",
                  "a command that must accept the new file, named %s in it, before the old one is replaced"},
    AttributeSpec{"backup", boolean, false, "", "true", "keep a copy of what is replaced or removed"},
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
    AttributeSpec{"run", words, false, "", "", "the command and its arguments, run as they are"},
    AttributeSpec{"shell", string, false, "", "", "text given to /bin/sh -c, instead of run"},
    AttributeSpec{"unless", command, false, "", "", "do nothing when this command succeeds"},
    AttributeSpec{"only_if", command, false, "", "", "do nothing when this command fails"},
    AttributeSpec{"creates", path, false, "", "", "do nothing when this path is there; it must be there afterwards"},
    AttributeSpec{"directory", path, false, "", "/", "where it runs"},
    AttributeSpec{"timeout_s", integer, false, "", "300", "how long it may take; each guard has 60 s"},
};

void check_package(const json::Value& attributes, std::vector<ResourceProblem>& problems) {
  const auto* names = attributes["names"].as_array();
  if (names && names->empty()) problems.push_back({"names", "no package is named"});
  if (present(attributes, "version") && names && names->size() > 1)
    problems.push_back({"version", "a version can be asked for one package only; declare the packages separately"});
  const bool absent = attributes.string_or("state") == "absent";
  for (const auto* key : {"version", "hold", "pin", "from"})
    if (absent && present(attributes, key))
      problems.push_back({"state", std::string("a package that shall be absent has no ") + key});
  if (present(attributes, "from") && names && names->size() > 1)
    problems.push_back({"from", "a file holds one package; declare the packages separately"});
  if (present(attributes, "from") && present(attributes, "version"))
    problems.push_back({"version", "a file has its own version"});
  const std::string pin = attributes.string_or("pin");
  if (is_known(pin) && pin.find_first_of(" \n") != std::string::npos)
    problems.push_back({"pin", "a pin is one pattern of versions without blanks: 570.*"});
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
  check_validate(attributes, problems);
  if (link && present(attributes, "validate")) problems.push_back({"validate", "a link has no content to check"});
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
  if (const auto* argv = attributes["run"].as_array(); argv && argv->empty())
    problems.push_back({"run", "the command is empty"});
}

constexpr std::array base_rows{
    ResourceRow{{"package", "packages of the distribution (apt, dnf)", "names", package_attributes}, check_package},
    ResourceRow{{"file", "a file with its whole content, or a symbolic link", "path", file_attributes}, check_file},
    ResourceRow{{"directory", "a directory", "path", directory_attributes}, nullptr},
    ResourceRow{{"service", "a systemd unit", "name", service_attributes}, check_service},
    ResourceRow{{"sysctl", "a kernel parameter, now and after the next boot", "name", sysctl_attributes}, check_sysctl},
    ResourceRow{{"user", "a user account", "name", user_attributes}, check_user},
    ResourceRow{{"command", "a command with a guard that says whether it is needed", "run", command_attributes},
                check_command},
};

}  // namespace

std::span<const ResourceRow> base_resource_rows() { return base_rows; }

}  // namespace kfab::manifest

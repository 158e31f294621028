#include <regex.h>

#include <array>

#include "base/text.hpp"
#include "manifest/resource_tables.hpp"

// Resources that say who may do what on a node, and what it is called.
namespace kfab::manifest {
namespace {

using enum AttributeType;

constexpr AttributeSpec state{"state", string, false, "present|absent", "present", "there, or removed"};
constexpr AttributeSpec backup{"backup", boolean, false, "", "true", "keep a copy of what is replaced or removed"};

constexpr std::array line_attributes{
    AttributeSpec{"path", path, true, "", "", "the file, which others write too"},
    AttributeSpec{"line", string, false, "", "", "the line; needed unless lines that match shall be absent"},
    AttributeSpec{"match", string, false, "", "",
                  "a POSIX extended expression: the lines that match become the one line, or are removed"},
    state,
    AttributeSpec{"create", boolean, false, "", "false", "make the file where there is none"},
    AttributeSpec{"owner", string, false, "", "left as it is", "user name or number"},
    AttributeSpec{"group", string, false, "", "left as it is", "group name or number"},
    AttributeSpec{"mode", mode, false, "", "left as it is; 0644 for a new file", "permission bits"},
    AttributeSpec{"validate", words, false, "", "",
                  "a command that must accept the new file, named %s in it, before the old one is replaced"},
    backup,
    AttributeSpec{"sensitive", boolean, false, "", "false", "never show the line or a diff of the file"},
};

constexpr std::array group_attributes{
    AttributeSpec{"name", string, true, "", "", "the group"},
    AttributeSpec{"gid", integer, false, "", "the next free one", "the group's number"},
    AttributeSpec{"system", boolean, false, "", "false", "a system group; matters only when it is created"},
    state,
};

constexpr std::array ssh_key_attributes{
    AttributeSpec{"user", string, true, "", "", "whose login it opens; the account must exist"},
    AttributeSpec{"keys", string_list, true, "", "", "public keys, each \"[options] type base64 [comment]\""},
    AttributeSpec{"options", string, false, "", "none", "options for the keys that have none of their own: from=\"10.0.0.0/8\""},
    AttributeSpec{"exclusive", boolean, false, "", "false", "remove every other key of this user"},
    AttributeSpec{"state", string, false, "present|absent", "present", "the keys may log in, or are removed"},
    backup,
};

constexpr std::array sudoers_attributes{
    AttributeSpec{"name", string, true, "", "", "the file in /etc/sudoers.d: letters, digits, '-' and '_'"},
    AttributeSpec{"content", string, false, "", "", "the rules; visudo must accept them before sudo sees them"},
    state,
    backup,
};

constexpr std::array limits_attributes{
    AttributeSpec{"item", string, true, "", "", "what is limited: memlock, nofile, stack"},
    AttributeSpec{"value", scalar, false, "", "", "a number, or unlimited; needed unless it shall be absent"},
    AttributeSpec{"domains", string_list, false, "", "* and root", "users, @groups, or * for everybody but root"},
    AttributeSpec{"kind", string, false, "soft|hard|both", "both", "which limit"},
    AttributeSpec{"state", string, false, "present|absent", "present", "set, or no longer set by kfab"},
};

constexpr std::array hostname_attributes{
    AttributeSpec{"name", string, true, "", "", "the node's name, now and in /etc/hostname"},
};

constexpr std::array timezone_attributes{
    AttributeSpec{"name", string, true, "", "", "the zone: Asia/Seoul"},
};

void check_line(const json::Value& attributes, std::vector<ResourceProblem>& problems) {
  const std::string line = attributes.string_or("line"), match = attributes.string_or("match");
  const bool absent = attributes.string_or("state") == "absent";
  if (line.find('\n') != std::string::npos) problems.push_back({"line", "a line holds no newline; declare each on its own"});
  if (!absent && line.empty()) problems.push_back({"line", "say what the line is"});
  if (absent && line.empty() && match.empty()) problems.push_back({"", "say which line shall be absent: line or match"});
  if (!match.empty() && is_known(match)) {
    regex_t compiled{};
    if (::regcomp(&compiled, match.c_str(), REG_EXTENDED | REG_NOSUB) != 0)
      problems.push_back({"match", "this is no POSIX extended regular expression"});
    else ::regfree(&compiled);
  }
  check_validate(attributes, problems);
}

void check_group(const json::Value& attributes, std::vector<ResourceProblem>& problems) {
  if (const auto gid = attributes["gid"].as_int(); gid && (*gid < 0 || *gid > 4294967293))
    problems.push_back({"gid", "a group's number is between 0 and 4294967293"});
  const std::string name = attributes.string_or("name");
  if (is_known(name) && (name.find_first_of(":/ \t\n,") != std::string::npos || name.starts_with('-')))
    problems.push_back({"name", "a group's name holds no blank, ':', ',' or '/' and does not start with '-'"});
  if (name == "root" && attributes.string_or("state") == "absent")
    problems.push_back({"state", "root's group is never removed"});
}

void check_ssh_key(const json::Value& attributes, std::vector<ResourceProblem>& problems) {
  for (const auto& key : attributes.array_at("keys")) {
    const auto* text = key.as_string();
    if (!text || !is_known(*text)) continue;
    if (text->find("PRIVATE KEY") != std::string::npos) problems.push_back({"keys", "this is a private key; only public ones belong on nodes"});
    else if (text->find('\n') != std::string::npos) problems.push_back({"keys", "a key is one line; write each as an entry of the list"});
  }
  if (attributes.string_or("options").find('\n') != std::string::npos)
    problems.push_back({"options", "options hold no newline"});
  if (attributes.bool_or("exclusive", false) && attributes.string_or("state") == "absent")
    problems.push_back({"exclusive", "keys that shall be absent cannot be the only ones"});
}

void check_sudoers(const json::Value& attributes, std::vector<ResourceProblem>& problems) {
  const std::string name = attributes.string_or("name");
  if (is_known(name) && !name.empty() && !made_of(name, "-_"))
    problems.push_back({"name", "sudo leaves out files with other characters than letters, digits, '-' and '_'"});
  const bool absent = attributes.string_or("state") == "absent";
  if (absent == present(attributes, "content"))
    problems.push_back({absent ? "content" : "", absent ? "rules that shall be absent have no content" : "say the rules: content"});
}

void check_limits(const json::Value& attributes, std::vector<ResourceProblem>& problems) {
  if (attributes.string_or("state") != "absent" && !present(attributes, "value"))
    problems.push_back({"", "say the limit: value"});
  for (const auto* word : {"item", "value"}) {
    const std::string text = attributes.string_or(word);
    if (is_known(text) && text.find_first_of(" \t\n#") != std::string::npos)
      problems.push_back({word, "expected one word without blanks"});
  }
}

constexpr std::array access_rows{
    ResourceRow{{"line", "one line of a file that others write too", "line", line_attributes}, check_line},
    ResourceRow{{"group", "a group of users", "name", group_attributes}, check_group},
    ResourceRow{{"ssh_key", "keys by which one may log in as a user", "user", ssh_key_attributes}, check_ssh_key},
    ResourceRow{{"sudoers", "rules for sudo, checked by visudo before they are installed", "name", sudoers_attributes}, check_sudoers},
    ResourceRow{{"limits", "what a login may use, by pam_limits", "item", limits_attributes}, check_limits},
    ResourceRow{{"hostname", "the node's name", "name", hostname_attributes}, nullptr},
    ResourceRow{{"timezone", "the time zone", "name", timezone_attributes}, nullptr},
};

}  // namespace

std::span<const ResourceRow> access_resource_rows() { return access_rows; }

}  // namespace kfab::manifest

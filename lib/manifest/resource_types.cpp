#include "manifest/resource_types.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/text.hpp"
#include "manifest/resource_tables.hpp"

namespace kfab::manifest {
namespace {

using enum AttributeType;

constexpr std::array common_keys{
    AttributeSpec{"type", string, true, "", "", "what it is: the name of a type"},
    AttributeSpec{"id", string, false, "", "<type>:<name or path>", "its name in the role"},
    AttributeSpec{"after", string_list, false, "", "", "ids in this role that must be right before it"},
    AttributeSpec{"restart_on", string_list, false, "", "",
                  "for a service: restarted when one of these ids in this role changed"},
    AttributeSpec{"concurrency", integer, false, "", "any number", "nodes that may apply it at the same time"},
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

bool is_word_list(const json::Value& value) {
  if (const auto* text = value.as_string()) return !text->empty();
  const auto* items = value.as_array();
  if (!items) return false;
  const bool plain = std::all_of(items->begin(), items->end(), [](const json::Value& item) {
    return item.is_string() || item.is_bool() || item.is_number();
  });
  return plain && (items->empty() || (items->front().is_string() && !items->front().as_string()->empty()));
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
    case words: return is_word_list(value) ? std::nullopt : expected(type, value);
    case command: return is_word_list(value) ? std::nullopt : expected(type, value);
    case path: return text ? path_problem(*text) : expected(type, value);
    case mode: return text ? mode_problem(*text) : expected(type, value);
  }
  return std::nullopt;
}

const std::vector<ResourceRow>& rows() {
  static const std::vector<ResourceRow> all = [] {
    std::vector<ResourceRow> list;
    for (const auto area : {base_resource_rows(), access_resource_rows(), system_resource_rows(), supply_resource_rows()})
      list.insert(list.end(), area.begin(), area.end());
    return list;
  }();
  return all;
}

}  // namespace

std::string_view to_string(AttributeType type) {
  switch (type) {
    case string: return "a string";
    case scalar: return "a string, a whole number or a boolean";
    case integer: return "a whole number";
    case boolean: return "true or false";
    case string_list: return "a list of strings";
    case words: return "a command with its arguments, as a list";
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

std::span<const ResourceType> resource_types() {
  static const std::vector<ResourceType> types = [] {
    std::vector<ResourceType> list;
    for (const auto& row : rows()) list.push_back(row.type);
    return list;
  }();
  return types;
}

const ResourceType* find_resource_type(std::string_view name) {
  const auto types = resource_types();
  const auto it = std::find_if(types.begin(), types.end(), [&](const ResourceType& type) { return type.name == name; });
  return it == types.end() ? nullptr : &*it;
}

std::vector<std::string> resource_type_names() {
  std::vector<std::string> names;
  for (const auto& type : resource_types()) names.emplace_back(type.name);
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
  for (const auto& row : rows())
    if (row.type.name == type.name && row.check) row.check(attributes, problems);
  return problems;
}

void check_validate(const json::Value& attributes, std::vector<ResourceProblem>& problems) {
  const auto* argv = attributes["validate"].as_array();
  if (!argv) return;
  const bool named = std::any_of(argv->begin(), argv->end(), [](const json::Value& word) {
    return word.is_string() && word.as_string()->find("%s") != std::string::npos;
  });
  if (!named) problems.push_back({"validate", "the command must name the new file by %s, or it would check another"});
}

bool made_of(std::string_view text, std::string_view more) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           more.find(c) != std::string_view::npos;
  });
}

std::string resource_identity(const ResourceType& type, const json::Value& attributes) {
  if (type.name == "package" || type.name == "command" || type.name == "assertion" || type.name == "reboot") return {};
  const std::string name =
      type.name == "hugepages" || type.name == "firewall" ? json::dump(attributes["size_kib"]) : attributes.string_or(type.names_it);
  if (name.empty()) return {};
  if (type.name == "firewall") return "firewall";
  if (type.name == "swap") return "swap\n" + attributes.string_or("device");
  if (type.name == "file" || type.name == "directory") return "path\n" + name;
  // Several lines of one file, and one line of several files, are different things.
  if (type.name == "line") return "line\n" + attributes.string_or("path") + "\n" + attributes.string_or("match", name);
  std::string key = fmt::format("{}\n{}", type.name, name);
  if (type.name == "drop_in") key += "\n" + attributes.string_or("name");
  if (type.name == "limits") key += "\n" + attributes.string_or("kind") + "\n" + json::dump(attributes["domains"]);
  if (type.name == "ssh_key" && !attributes.bool_or("exclusive", false)) return {};
  return key;
}

std::string default_resource_id(const ResourceType& type, const json::Value& attributes) {
  const json::Value* value = &attributes[type.names_it];
  if (value->is_null()) value = &attributes["shell"];   // a command is named by what it runs
  std::string name;
  if (const auto* text = value->as_string()) name = *text;
  else if (!value->is_null() && !value->as_array()) name = json::dump(*value);
  if (const auto* items = value->as_array()) {
    for (const auto& item : *items) {
      const std::string word = item.as_string() ? *item.as_string() : json::dump(item);
      name += (name.empty() ? "" : type.name == "command" ? " " : ",") + word;
    }
  }
  if (name.empty() && type.name == "reboot") return "reboot";
  return fmt::format("{}:{}", type.name, one_line(name, 80));
}

}  // namespace kfab::manifest

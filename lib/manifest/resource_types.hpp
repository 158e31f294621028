#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "json/value.hpp"

// The resource types that a role may declare, and what each may say: the one table by which manifests are checked,
// requests are planned and the documentation is written.
namespace kfab::manifest {

enum class AttributeType : std::uint8_t {
  string,        // text
  scalar,        // a string, a whole number or a boolean, taken as text: `value: 0`
  integer,       // a whole number
  boolean,       // true or false
  string_list,   // a list of strings; one string is a list of one
  words,         // a command and its arguments: strings, numbers and booleans, of which all but the first may be empty
  mode,          // file permission bits as a string of octal digits: "0644"
  path,          // an absolute path, without "." and ".." in it
  command,       // a list of strings is run as it is; one string is given to /bin/sh -c
};
std::string_view to_string(AttributeType);       // words for messages: "a whole number"

struct AttributeSpec {
  std::string_view name;
  AttributeType type;
  bool required;
  std::string_view allowed;    // "present|absent"; empty: anything of the type
  std::string_view fallback;   // what holds when it is not said, in words; empty: nothing
  std::string_view help;
};

struct ResourceType {
  std::string_view name;
  std::string_view help;
  std::string_view names_it;   // the attribute from which the default id is made: "<type>:<its value>"
  std::span<const AttributeSpec> attributes;
  const AttributeSpec* find(std::string_view attribute) const;
};

// In the order of the documentation.
std::span<const ResourceType> resource_types();
const ResourceType* find_resource_type(std::string_view name);
std::vector<std::string> resource_type_names();

// Keys that stand beside the attributes in every resource: type id after restart_on.
std::span<const AttributeSpec> common_resource_keys();

// What is wrong with one value for one attribute: a sentence ("expected a whole number, found the string 'x'"), or
// nothing. A string that holds `{{` passes here for every type unless `expanded`: its value is known only when its
// variables are, and planning asks again.
std::optional<std::string> attribute_problem(const AttributeSpec&, const json::Value&, bool expanded = false);

// What is wrong between the attributes of one resource (an object): content together with link_to, a command without
// a guard, a version for several packages. One sentence each. `attribute` names the key to point at, if there is one.
struct ResourceProblem {
  std::string attribute;
  std::string message;
};
std::vector<ResourceProblem> resource_problems(const ResourceType&, const json::Value& attributes);

// "package:chrony", "file:/etc/motd": the id of a resource that names none.
std::string default_resource_id(const ResourceType&, const json::Value& attributes);

// What on a node a resource is about: two resources with one identity declare the same thing, and would undo each other
// where they differ. Empty for those of which any number may be declared.
std::string resource_identity(const ResourceType&, const json::Value& attributes);

}  // namespace kfab::manifest

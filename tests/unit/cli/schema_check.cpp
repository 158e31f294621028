#include "unit/cli/schema_check.hpp"

#include <algorithm>
#include <array>

#include "base/text.hpp"

namespace kfab {
namespace {

constexpr std::array<std::string_view, 20> known{
    "$schema", "$id", "$ref", "title", "description", "type", "enum", "const", "required", "properties", "items",
    "anyOf", "oneOf", "allOf", "if", "then", "else", "pattern", "format", "minimum"};

}  // namespace

bool SchemaCheck::has_type(const std::string& type, const json::Value& value) const {
  if (type == "null") return value.is_null();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_bool();
  if (type == "array") return value.is_array();
  if (type == "object") return value.is_object();
  if (type == "number") return value.is_number();
  return type == "integer" && value.is_number() && (value.as_int() || value.as_uint());
}

bool SchemaCheck::holds(const json::Value& schema, const json::Value& value, const std::string& at) {
  const std::size_t before = found_.size();
  check(schema, value, at);
  const bool good = found_.size() == before;
  found_.resize(before);
  return good;
}

void SchemaCheck::check(const json::Value& schema, const json::Value& value, const std::string& at) {
  const auto complain = [&](const std::string& what) { found_.push_back(at + ": " + what); };
  const json::Object* rules = schema.as_object();
  if (rules == nullptr) return complain("the schema here is no object");
  for (const auto& [key, rule] : rules->members())
    if (std::find(known.begin(), known.end(), key) == known.end()) complain("the schema says '" + key + "', which this check does not know");
  if (const std::string* reference = schema["$ref"].as_string()) {
    const json::Value* target = &root_;
    for (const std::string& step : split(reference->substr(2), '/')) target = &(*target)[step];
    return check(*target, value, at);
  }
  if (rules->find("type") != nullptr) {
    bool fits = schema["type"].is_string() && has_type(*schema["type"].as_string(), value);
    for (const json::Value& type : schema.array_at("type")) fits = fits || has_type(*type.as_string(), value);
    if (!fits) complain("is not of type " + json::dump(schema["type"]) + ": " + json::dump(value).substr(0, 60));
  }
  if (rules->find("const") != nullptr && json::dump(schema["const"]) != json::dump(value)) complain("is not " + json::dump(schema["const"]));
  if (rules->find("enum") != nullptr) {
    const auto& words = schema.array_at("enum");
    if (std::none_of(words.begin(), words.end(), [&](const json::Value& w) { return json::dump(w) == json::dump(value); }))
      complain(json::dump(value).substr(0, 60) + " is none of " + json::dump(schema["enum"]));
  }
  if (value.is_object()) {
    for (const json::Value& key : schema.array_at("required"))
      if (value.as_object()->find(*key.as_string()) == nullptr) complain("has no " + *key.as_string());
    const json::Object* properties = schema["properties"].as_object();
    for (const auto& [key, member] : value.as_object()->members())
      if (properties != nullptr && properties->find(key) != nullptr) check(*properties->find(key), member, at + "." + key);
  }
  if (value.is_array() && rules->find("items") != nullptr)
    for (std::size_t i = 0; i < value.as_array()->size(); ++i) check(schema["items"], (*value.as_array())[i], at + "[" + std::to_string(i) + "]");
  for (const json::Value& part : schema.array_at("allOf")) check(part, value, at);
  for (const auto* key : {"anyOf", "oneOf"}) {
    const auto& parts = schema.array_at(key);
    if (parts.empty()) continue;
    const auto fitting = std::count_if(parts.begin(), parts.end(), [&](const json::Value& part) { return holds(part, value, at); });
    if (fitting == 0 && parts.size() == 2 && parts[0].string_or("type") == "null" && !value.is_null()) check(parts[1], value, at);
    else if (fitting == 0 || (key == std::string("oneOf") && fitting > 1)) complain(std::to_string(fitting) + " of " + key + " fit");
  }
  if (rules->find("if") != nullptr) {
    const char* branch = holds(schema["if"], value, at) ? "then" : "else";
    if (rules->find(branch) != nullptr) check(schema[branch], value, at);
  }
}

}  // namespace kfab

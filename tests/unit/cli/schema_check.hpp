#pragma once

#include <string>
#include <vector>

#include "json/value.hpp"

namespace kfab {

// As much of JSON Schema as kfab's own schemas use: type, enum, const, required, properties, items, anyOf, oneOf, allOf,
// if/then/else and local $ref. An unknown keyword that would restrict something is itself reported, so that a schema
// cannot pass by being misunderstood.
class SchemaCheck {
 public:
  explicit SchemaCheck(const json::Value& root) : root_(root) {}
  // What is wrong with the document; empty when nothing is.
  std::vector<std::string> problems(const json::Value& document) {
    found_.clear();
    check(root_, document, "$");
    return found_;
  }

 private:
  void check(const json::Value& schema, const json::Value& value, const std::string& at);
  bool holds(const json::Value& schema, const json::Value& value, const std::string& at);
  bool has_type(const std::string& type, const json::Value& value) const;

  const json::Value& root_;
  std::vector<std::string> found_;
};

}  // namespace kfab

#pragma once

#include <span>
#include <string_view>

namespace kfab::json {

// A JSON Schema (2020-12) as it is published: "kfab.exec/1.0" and its text. Compiled in from lib/json/schemas; a test
// holds a hash of each, because what is published changes only by a new version.
struct PublishedSchema {
  std::string_view name;
  std::string_view about;
  std::string_view text;
};

std::span<const PublishedSchema> published_schemas();   // by name
// By full name, or by name and major version ("kfab.exec/1"), or by name alone (the newest). Null when there is none.
const PublishedSchema* find_schema(std::string_view name);

}  // namespace kfab::json

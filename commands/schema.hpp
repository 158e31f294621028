#pragma once

#include <string>

#include "commands/command.hpp"

namespace kfab::commands {

struct SchemaOptions {
  std::string name = "list";   // "list", or a name as find_schema() takes it
};

// `list`: data.schemas[] of name and about. A name: data.name and data.schema, the JSON Schema itself, which is also
// what is printed without -o json. Schema kfab.schema/1.0.
CommandOutput run_schema(const SchemaOptions&);

}  // namespace kfab::commands

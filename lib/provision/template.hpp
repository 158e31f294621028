#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/diagnostic.hpp"
#include "json/value.hpp"

namespace kfab::provision {

// Names and what they stand for, dotted names written out: "node.name", "ntp.servers". Objects given as a variable
// are reached by their members' dotted names.
using Variables = std::map<std::string, json::Value>;

// Flattens an object into dotted names under `prefix` and keeps the object itself under `prefix` as well.
void add_variable(Variables&, const std::string& name, const json::Value&);

// Replaces each `{{ name }}` by its value: strings as they are, numbers and booleans as JSON writes them, lists of
// those joined by a blank. `{{{{` stands for a literal `{{`; `}}` outside a placeholder is itself. What is put in is
// not expanded again. There are no filters, loops or conditions. Everything wrong is appended to `problems`
// (template_undefined with suggestions, template_syntax) with line and column inside the template in the span; nothing
// is returned then.
std::optional<std::string> expand_template(std::string_view text, const Variables&, Diagnostics& problems);

// The same for a whole JSON value: every string in it is expanded. A string that is one placeholder and nothing else
// takes the variable's own type (`uid: "{{ uid }}"` is a number); in a list such a string that stands for a list is
// spliced in.
std::optional<json::Value> expand_value(const json::Value&, const Variables&, Diagnostics& problems);

}  // namespace kfab::provision

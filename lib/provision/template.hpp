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

// Begins what stands for a secret while templates are expanded (secrets.hpp). A value with it in it can be put into a text,
// and nothing else: no filter but default and join takes it, and nothing is compared with it.
inline constexpr std::string_view secret_mark = "\x01kfab-secret:";

// Flattens an object into dotted names under `prefix` and keeps the object itself under `prefix` as well.
void add_variable(Variables&, const std::string& name, const json::Value&);

// Expands a template:
//   {{ name }}                                   the value: strings as they are, numbers and booleans as JSON writes them, lists
//                                                of those joined by a blank. `{{{{` stands for a literal `{{`
//   {{ list[0] }} {{ map['key'] }} {{ a.b }}     parts of it
//   {{ x | default('y') }}                       filters: default(value), join(text), upper, lower, length
//   {% for x in list %} {% endfor %}             loop.index, loop.index0, loop.first, loop.last, loop.length;
//   {% for key, value in mapping %}              what is set within a loop is gone after it
//   {% if c %} {% elif c %} {% else %} {% endif %}
//   {% set name = value %}
// Conditions: == != < <= > >= in, not in, and, or, not, is defined, parentheses; empty texts, lists, 0 and false are false.
// A statement alone on its line leaves nothing of the line; `{{-`, `-}}`, `{%-`, `-%}` take the blanks and line ends beside
// them. What is put in is not expanded again; `}}` and `%}` outside a tag are themselves.
//
// Everything wrong is appended to `problems` with line and column inside the template in the span, and nothing is
// returned then: template_undefined for a name that nothing defines, with suggestions; template_syntax; template_value for a
// value of the wrong kind; template_endless past 1 MiB of output or 200,000 steps (loops and expressions nest up to 16 deep);
// secret_not_allowed. A branch that is not taken may name what is not defined.
std::optional<std::string> expand_template(std::string_view text, const Variables&, Diagnostics& problems);

// The same for a whole JSON value: every string in it is expanded. A string that is one placeholder and nothing else
// takes the value's own type (`uid: "{{ uid }}"` is a number); in a list such a string that stands for a list is
// spliced in.
std::optional<json::Value> expand_value(const json::Value&, const Variables&, Diagnostics& problems);

}  // namespace kfab::provision

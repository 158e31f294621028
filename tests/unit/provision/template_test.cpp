#include "provision/template.hpp"

#include <doctest/doctest.h>

#include "base/codes/provision.hpp"

using namespace kfab;
using namespace kfab::provision;

namespace {
Variables variables() {
  Variables values;
  add_variable(values, "name", "gpu001");
  add_variable(values, "count", 8);
  add_variable(values, "ratio", 0.5);
  add_variable(values, "flag", true);
  add_variable(values, "list", json::Array{"a", "b"});
  add_variable(values, "ntp", json::Object{{"server", "10.0.0.1"}, {"deep", json::Object{{"er", "x"}}}});
  add_variable(values, "braces", "{{ name }}");
  return values;
}
std::string expanded(std::string_view text) {
  Diagnostics problems;
  const auto out = expand_template(text, variables(), problems);
  REQUIRE(problems.empty());
  REQUIRE(out);
  return *out;
}
Diagnostics problems_of(std::string_view text) {
  Diagnostics problems;
  CHECK_FALSE(expand_template(text, variables(), problems));
  REQUIRE_FALSE(problems.empty());
  return problems;
}
}  // namespace

TEST_CASE("template: values of every kind, with and without blanks") {
  CHECK(expanded("") == "");
  CHECK(expanded("no braces { } }} {") == "no braces { } }} {");
  CHECK(expanded("{{name}}-{{ count }}") == "gpu001-8");
  CHECK(expanded("{{ ratio }} {{ flag }} {{ list }}") == "0.5 true a b");
  CHECK(expanded("{{ ntp.server }}{{ ntp.deep.er }}") == "10.0.0.1x");
}

TEST_CASE("template: four braces are two, and what is put in is not read again") {
  CHECK(expanded("{{{{ name }}") == "{{ name }}");
  CHECK(expanded("{{ braces }}") == "{{ name }}");
  CHECK(expanded(R"({"a":{"b":{"c":{}}}})") == R"({"a":{"b":{"c":{}}}})");
}

TEST_CASE("template: an undefined name has its place and what was probably meant") {
  const auto problems = problems_of("first\n\xed\x95\x9c {{ nam }} and {{ ntp.servr }}\n");
  REQUIRE(problems.size() == 2);
  CHECK(problems[0].code == code::template_undefined);
  CHECK(problems[0].span->line == 2);
  CHECK(problems[0].span->column == 6);   // in code points
  REQUIRE_FALSE(problems[0].suggestions.empty());
  CHECK(problems[0].suggestions[0] == "name");
  CHECK(problems[1].suggestions[0] == "ntp.server");
}

TEST_CASE("template: a mapping has no text") {
  CHECK(problems_of("{{ ntp }}")[0].message.find("no value that can stand in a text") != std::string::npos);
}

TEST_CASE("template: what cannot be read") {
  for (const auto* text : {"{{", "{{ name", "{{ name\n}}", "{{ }}", "{{}}", "{{ a b }}", "{{ name | upper }}",
                           "{{ 1a }}", "{{ a..b }}", "{{ .a }}", "{{ a. }}"}) {
    CAPTURE(text);
    const auto problems = problems_of(text);
    CHECK(problems[0].code == code::template_syntax);
    CHECK(problems[0].span->line == 1);
    CHECK(problems[0].span->column == 1);
  }
}

TEST_CASE("template: a lone placeholder keeps its type, a list is spliced in") {
  Diagnostics problems;
  const json::Value value = json::Object{{"uid", "{{ count }}"},
                                         {"text", "n{{ count }}"},
                                         {"names", json::Array{"first", "{{ list }}", "x{{ name }}"}},
                                         {"all", "{{ list }}"},
                                         {"plain", 3}};
  const auto out = expand_value(value, variables(), problems);
  REQUIRE(out);
  CHECK(json::dump(*out) == R"({"uid":8,"text":"n8","names":["first","a","b","xgpu001"],"all":["a","b"],"plain":3})");
  CHECK_FALSE(
      expand_value(json::Object{{"a", "{{ none }}"}, {"b", json::Array{"{{ neither }}"}}}, variables(), problems));
  CHECK(problems.size() == 2);   // everything wrong is told at once
}

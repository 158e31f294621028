#include "provision/template.hpp"

#include <doctest/doctest.h>

#include "base/codes/plan.hpp"
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
  for (const auto* text : {"{{", "{{ name", "{{ name\n}}", "{{ }}", "{{}}", "{{ a b }}", "{{ name | shout }}",
                           "{{ 1a }}", "{{ a..b }}", "{{ .a }}", "{{ a. }}", "{{ name", "{% if name", "{{ 'a }}", "{{ name == }}", "{{ (name }}", "{{ list[0 }}",
                           "{{ name | join(1,2) }}", "{{ name | default }}", "{% frob %}", "{% endif %}", "{% else %}", "{% for %}{% endfor %}", "{% for x list %}{% endfor %}",
                           "{% for a.b in list %}{% endfor %}", "{% set = 1 %}", "{% set x 1 %}", "{% if name %}{% endfor %}{% endif %}", "{% if name %}", "{% for x in list %}",
                           "{% if name %}{% else %}{% else %}{% endif %}", "{{ not }}", "{{ 1.2.3 }}", "{{ name & name }}"}) {
    CAPTURE(text);
    const auto problems = problems_of(text);
    CHECK(problems[0].code == code::template_syntax);
    CHECK(problems[0].span->line == 1);
  }
  CHECK(problems_of("x\n  {{ name | shout }}")[0].span->line == 2);
  CHECK(problems_of("x\n  {{ name | shout }}")[0].span->column == 13);
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

TEST_CASE("template: loops over lists and mappings, with where they are") {
  CHECK(expanded("{% for x in list %}{{ loop.index }}{{ x }}{% if not loop.last %},{% endif %}{% endfor %}") == "1a,2b");
  CHECK(expanded("{% for x in ['u', name, 3] %}{{ x }}{{ loop.length }} {% endfor %}") == "u3 gpu0013 33 ");
  CHECK(expanded("{% for key, value in ntp.deep %}{{ key }}={{ value }}{% endfor %}") == "er=x");
  CHECK(expanded("{% for x in [] %}never{% endfor %}.") == ".");
  CHECK(expanded("{% for a in list %}{% for b in list %}{{ a }}{{ b }}{{ loop.first }} {% endfor %}{% endfor %}") == "aatrue abfalse batrue bbfalse ");
}

TEST_CASE("template: conditions") {
  CHECK(expanded("{% if count >= 8 and flag %}yes{% else %}no{% endif %}") == "yes");
  CHECK(expanded("{% if count == 4 %}4{% elif count == 8 %}8{% else %}-{% endif %}") == "8");
  CHECK(expanded("{% if not flag or name != 'gpu001' %}a{% elif 'b' in list %}b{% endif %}") == "b");
  CHECK(expanded("{% if 'gpu' in name and 'z' not in list %}in{% endif %}") == "in");
  CHECK(expanded("{% if (count < 9) == true %}{{ 'server' in ntp }}{% endif %}") == "true");
  CHECK(expanded("{% if nothing is defined %}a{% elif name is defined and nothing is not defined %}b{% endif %}") == "b");
  CHECK(expanded("{% if '' %}a{% elif [] %}b{% elif 0 %}c{% elif false %}d{% else %}e{% endif %}") == "e");
  CHECK(expanded("{% if false and nothing %}a{% endif %}{% if true or nothing %}b{% endif %}") == "b");   // what is not asked need not be there
}

TEST_CASE("template: filters, parts, and names given a value") {
  CHECK(expanded("{{ nothing | default('x') }}{{ name | default('x') }}{{ ntp.nothing | default(count) }}") == "xgpu0018");
  CHECK(expanded("{{ list | join(', ') }} {{ list | join }} {{ name | upper }} {{ 'ABC' | lower }} {{ list | length }}{{ name | length }}") == "a, b ab GPU001 abc 26");
  CHECK(expanded("{{ list[1] }}{{ ntp['server'] }}{{ list[9] | default('-') }}") == "b10.0.0.1-");
  CHECK(expanded("{% set x = list | length %}{{ x }}{% for x in list %}{% set y = x %}{{ y }}{% endfor %}{{ x }}{{ y | default('gone') }}") == "2ab2gone");
  CHECK(expanded("{{ '{%' }} {{ \"}}\" }}") == "{% }}");
}

TEST_CASE("template: lines and blanks are where one expects them in a configuration file") {
  CHECK(expanded("servers:\n{% for x in list %}\n  - {{ x }}\n{% endfor %}\nend\n") == "servers:\n  - a\n  - b\nend\n");
  CHECK(expanded("a\n  {% if flag %}\nb\n  {% endif %}  \nc") == "a\nb\nc");
  CHECK(expanded("a {% if flag %} b {% endif %} c\n") == "a  b  c\n");
  CHECK(expanded("a \n {{- name -}} \n b {%- if flag -%} \n c{% endif %}") == "agpu001bc");
  CHECK(expanded("{% set x = -1 %}{{-1}}{{ x }}") == "-1-1");
}

TEST_CASE("template: what is undefined is told with its place, once, whatever loop it stands in") {
  const auto problems = problems_of("{% for x in list %}\n{{ x }} {{ y }}\n{% endfor %}\n{% if missing %}{% endif %}{{ list[7] }}");
  REQUIRE(problems.size() == 3);
  CHECK(problems[0].code == code::template_undefined);
  CHECK(problems[0].span->line == 2);
  CHECK(problems[0].span->column == 12);
  CHECK(problems[1].message == "nothing defines 'missing'");
  CHECK(problems[1].span->line == 4);
  CHECK(problems[2].code == code::template_undefined);
}

TEST_CASE("template: values of the wrong kind") {
  for (const auto* text : {"{% for x in name %}{% endfor %}", "{% for a, b in list %}{% endfor %}", "{{ name < 3 }}", "{{ 1 in 2 }}", "{{ name | join(',') }}",
                           "{{ count | length }}", "{{ ntp | upper }}"}) {
    CAPTURE(text);
    CHECK(problems_of(text)[0].code == code::template_value);
  }
}

TEST_CASE("template: random, endless and hostile ones end") {
  Variables values = variables();
  json::Array many;
  for (int i = 0; i < 1000; ++i) many.emplace_back("x");
  add_variable(values, "many", many);
  add_variable(values, "long", std::string(10'000, 'x'));
  Diagnostics problems;
  CHECK_FALSE(expand_template("{% for a in many %}{% for b in many %}{% for c in many %}{% endfor %}{% endfor %}{% endfor %}", values, problems));
  CHECK_FALSE(expand_template("{% for a in many %}{{ long }}{% endfor %}", values, problems));
  REQUIRE(problems.size() == 2);
  for (const auto& problem : problems) CHECK(problem.code == code::template_endless);
  std::string deep, nested = std::string(100'000, '(');
  for (int i = 0; i < 1000; ++i) deep += "{% if flag %}";
  CHECK(problems_of(deep)[0].code == code::template_syntax);
  CHECK(problems_of("{{ " + nested + " }}")[0].code == code::template_syntax);
  CHECK(problems_of("{{ " + std::string(100'000, '[') + " }}")[0].code == code::template_syntax);
  const std::string pieces[] = {"{{", "}}", "{%", "%}", "{%-", " if ", " for ", " x ", " in ", "list", "name", "|", "'", "\n", "endif", "endfor", "(", ")", "[", "0", "==", "{{{{", "else", "set", "="};
  unsigned seed = 7;
  for (int round = 0; round < 20'000; ++round) {
    std::string text;
    for (int i = 0; i < 12; ++i) text += pieces[(seed = seed * 1664525u + 1013904223u) >> 16 & 0x7fff ? (seed >> 16) % std::size(pieces) : 0];
    Diagnostics told;
    const auto out = expand_template(text, values, told);
    CHECK(out.has_value() == told.empty());
  }
}

TEST_CASE("template: a secret can be put into a text, and looked at by nothing") {
  Variables values = variables();
  const std::string mark = std::string(secret_mark) + "0\x01";
  add_variable(values, "password", mark);
  add_variable(values, "users", json::Array{"a", mark});
  Diagnostics problems;
  CHECK(expand_template("pw={{ password }} {{ users | join(',') }} {{ password | default('x') }}", values, problems) == "pw=" + mark + " a," + mark + " " + mark);
  CHECK(problems.empty());
  for (const auto* text : {"{{ password | upper }}", "{{ users | length }}", "{% if password == 'x' %}{% endif %}", "{% if 'x' in users %}{% endif %}", "{% if password < 'm' %}{% endif %}"}) {
    CAPTURE(text);
    problems.clear();
    CHECK_FALSE(expand_template(text, values, problems));
    REQUIRE_FALSE(problems.empty());
    CHECK(problems[0].code == code::secret_not_allowed);
  }
}

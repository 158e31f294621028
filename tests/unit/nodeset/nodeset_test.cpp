#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "base/codes/nodeset.hpp"
#include "base/text.hpp"
#include "nodeset/nodeset.hpp"

using kfab::Code;
namespace code = kfab::code;
using kfab::nodeset::expand_in_order;
using kfab::nodeset::fold_names;
using kfab::nodeset::Groups;
using kfab::nodeset::NodeSet;

namespace {

NodeSet set(std::string_view expression, const Groups* groups = nullptr) {
  auto parsed = NodeSet::parse(expression, groups);
  INFO(expression);
  if (!parsed) FAIL("does not parse: " << std::string(expression) << ": " << parsed.error().message);
  return *parsed;
}

std::string fold(std::string_view expression) { return set(expression).fold(); }
std::string expand(std::string_view expression) { return kfab::join(set(expression).names(), " "); }

struct Row { const char* expression; const char* expected; };

// What a diagnostic points at, cut out of the expression.
std::string pointed_at(std::string_view expression, const kfab::Diagnostic& d) {
  const auto& span = *d.span;
  return std::string(expression.substr(span.byte_offset, span.end_column - span.column));
}

Groups sample_groups() {
  Groups groups;
  groups.add("rack", "r1", set("gpu[01-04]"));
  groups.add("rack", "r2", set("gpu[05-08]"));
  groups.add("rack", "s1", set("login1"));
  groups.add("group", "all-gpu", set("gpu[01-08]"));
  return groups;
}

}  // namespace

TEST_CASE("expressions expand to the names in ClusterShell's order") {
  const std::vector<Row> rows{
      {"n1", "n1"},
      {"n[01-03]", "n01 n02 n03"},
      {"n[009-011]", "n009 n010 n011"},
      {"n[09-11]", "n09 n10 n11"},
      {"n[1,01,001]", "n1 n01 n001"},
      {"n[8-10],n08", "n8 n9 n08 n10"},
      {"n[0-10/2]", "n0 n2 n4 n6 n8 n10"},
      {"n[00-10/5]", "n00 n05 n10"},
      {"n[3,1,2]", "n1 n2 n3"},
      {"n[1-2],n[2-3]", "n1 n2 n3"},
      {"n[1-2]x[1-2]", "n1x1 n1x2 n2x1 n2x2"},
      {"n[1-2]-[3-4]-[5-6]", "n1-3-5 n1-3-6 n1-4-5 n1-4-6 n2-3-5 n2-3-6 n2-4-5 n2-4-6"},
      {"n[1-3]-ilo", "n1-ilo n2-ilo n3-ilo"},
      {"n[1-3].dc1.example.com", "n1.dc1.example.com n2.dc1.example.com n3.dc1.example.com"},
      {"n[1-2]0", "n10 n20"},
      {"[1-3]n", "1n 2n 3n"},
      {"n00[1-6]0", "n0010 n0020 n0030 n0040 n0050 n0060"},
      {"n0[1-2]", "n01 n02"},
      {"n1[1-6/2]", "n11 n13 n15"},
      {"n[1 - 3]", "n1 n2 n3"},
      {"n[1, 2]", "n1 n2"},
      {"n1 n2", "n1 n2"},
      {" n1 , n2\tn3\nn4 ", "n1 n2 n3 n4"},
      {"n[1-5]!n3", "n1 n2 n4 n5"},
      {"n[1-5]&n[4-9]", "n4 n5"},
      {"n[1-5]^n[4-6]", "n1 n2 n3 n6"},
      {"n[1-10]!n5!n6&n[1-5]", "n1 n2 n3 n4"},
      {"n1,n2!n2,n3", "n1 n3"},
      {"n[1-3]!n2,n2", "n1 n2 n3"},
      {"n[1-5]!n[2-3]&n[1-2],n9", "n1 n9"},
      {"n[1-5]!(n[2-3]&n[1-2]),n9", "n1 n3 n4 n5 n9"},
      {"((n1))", "n1"},
      {"n1!n1", ""},
      {"10.1.0.[1-3]", "10.1.0.1 10.1.0.2 10.1.0.3"},
      {"fe80::[1-2]", "fe80::1 fe80::2"},
      {"fe80::1%eth0", "fe80::1%eth0"},
      {"b1,a1,a,aa1,a1b1", "a a1 a1b1 aa1 b1"},
      {"n1,N1,n01", "N1 n1 n01"},
      {"node[999999999999999998-999999999999999999]", "node999999999999999998 node999999999999999999"},
  };
  for (const Row& row : rows) {
    INFO(row.expression);
    CHECK(expand(row.expression) == row.expected);
  }
}

TEST_CASE("folding is ClusterShell's, and the padding traps do not catch it") {
  const std::vector<Row> rows{
      {"n2 n01 n003", "n[2,01,003]"},
      {"n[9-11] n09", "n[9,09-11]"},
      {"n[001-100] n[1-3]", "n[1-3,001-100]"},
      {"n[01-03,1]", "n[1,01-03]"},
      {"r1n1 r1n2 r2n1", "r1n[1-2],r2n1"},
      {"x[0-1]y[0-1]z[0-1]!x0y0z0", "x1y[0-1]z[0-1],x0y1z[0-1],x0y0z1"},
      {"node1[00-02,000-032/8]", "node[100-102,1000,1008,1016,1024,1032]"},
      {"prod-02[10-34,069-099]", "prod-[0210-0234,02069-02099]"},
      {"n[98-99],n100", "n[98-100]"},
      {"n[08-99],n[100-102]", "n[08-99,100-102]"},
      {"n[08-12,100]", "n[08-12,100]"},
      {"n9,n10", "n[9-10]"},
      {"n[1-100000]", "n[1-100000]"},
      {"n1x2,n1x10,n1x9", "n1x[2,9-10]"},
      {"n1x[9-10],n10x[9-10]", "n[1,10]x[9-10]"},
      {"n[1-2]x[1-2]", "n[1-2]x[1-2]"},
      {"n[1-3],n", "n,n[1-3]"},
      {"n[01-02]5", "n[015,025]"},
      {"n1-[2-3],n1", "n1,n1-[2-3]"},
      {"n[1-3,5]", "n[1-3,5]"},
      {"n1!n1", ""},
      {"a%1,a%2", "a%[1-2]"},
  };
  for (const Row& row : rows) {
    INFO(row.expression);
    CHECK(fold(row.expression) == row.expected);
  }
}

TEST_CASE("what is folded parses back to the same set") {
  for (const char* expression : {"n[1-100]!n[7,9,11-13]", "r[1-9]n[1-16]!r3n4!r5n[2-9]", "x[0-2]y[0-2]z[0-2]!x1y1z1",
                                 "a1b2c3,a1b2c4,a1b3c3,a2b2c3", "n[1-12],n[01-12],n[001-012]", "h,h1,h1-1,h01-1"}) {
    INFO(expression);
    const NodeSet original = set(expression);
    CHECK(set(original.fold()) == original);
  }
}

TEST_CASE("what tools read differently is an error that points at the spot") {
  struct Case { const char* expression; Code code; const char* at; };
  const std::vector<Case> cases{
      {"n[1-03]", code::nodeset_padding, "1-03"},
      {"n[01-3]", code::nodeset_padding, "01-3"},
      {"n[01-100]", code::nodeset_padding, "01-100"},
      {"n[1-3][4-5]", code::nodeset_syntax, "[4-5]"},
      {"n[1-3]0[4-5]", code::nodeset_syntax, "[4-5]"},
      {"n[1-6/2]0", code::nodeset_syntax, "[1-6/2]"},
      {"n1[8-12]", code::nodeset_padding, "1[8-12]"},
      {"n0[8-12]", code::nodeset_padding, "0[8-12]"},
      {"n[5-1]", code::nodeset_syntax, "5-1"},
      {"n[]", code::nodeset_syntax, "]"},
      {"n[a-c]", code::nodeset_syntax, "a"},
      {"n[1--3]", code::nodeset_syntax, "-"},
      {"n[1-]", code::nodeset_syntax, "]"},
      {"n[-1]", code::nodeset_syntax, "-"},
      {"n[1-5/0]", code::nodeset_syntax, "0"},
      {"n[1", code::nodeset_syntax, "["},
      {"n[1,", code::nodeset_syntax, "["},
      {"n1]", code::nodeset_syntax, "]"},
      {"n1,,n2", code::nodeset_syntax, ","},
      {",n1", code::nodeset_syntax, ","},
      {"n1,", code::nodeset_syntax, ","},
      {"n1!", code::nodeset_syntax, "!"},
      {"n1 & ", code::nodeset_syntax, "&"},
      {"(n1", code::nodeset_syntax, "("},
      {"n1)", code::nodeset_syntax, ")"},
      {"()", code::nodeset_syntax, ")"},
      {"(n1)n2", code::nodeset_syntax, "n"},
      {"n1(n2)", code::nodeset_syntax, "("},
      {"n[12345678901234567890]", code::nodeset_syntax, "12345678901234567890"},
      {"n1234567890123456789", code::bad_node_name, "1234567890123456789"},
      {"n1[000000000000000000]", code::nodeset_syntax, "[000000000000000000]"},
      {"user@n[1-2]", code::nodeset_syntax, "@"},
      {"n[1-5],-n3", code::bad_node_name, "-"},
      {"n\x01", code::bad_node_name, "\x01"},
      {"n[1-2000000]", code::nodeset_too_large, "n[1-2000000]"},
      {"a[1-1001]b[1-1000]", code::nodeset_too_large, "a[1-1001]b[1-1000]"},
      {"a[1-999999],b[1-2]", code::nodeset_too_large, "a[1-999999],b[1-2]"},
      {"gpu*", code::no_known_nodes, "gpu*"},
      {"n1,@rack:r1", code::no_known_nodes, "@rack:r1"},
  };
  for (const Case& c : cases) {
    const auto parsed = NodeSet::parse(c.expression);
    INFO(c.expression);
    REQUIRE_FALSE(parsed);
    CHECK(kfab::to_string(parsed.error().code) == kfab::to_string(c.code));
    REQUIRE(parsed.error().span);
    CHECK(pointed_at(c.expression, parsed.error()) == c.at);
  }
  CHECK_FALSE(NodeSet::parse(""));
  CHECK_FALSE(NodeSet::parse("   "));
}

TEST_CASE("errors offer the fix and count columns in characters") {
  const auto padding = NodeSet::parse("gpu[01-3]");
  REQUIRE_FALSE(padding);
  CHECK(padding.error().suggestions == std::vector<std::string>{"01-03", "1-3"});
  const auto backwards = NodeSet::parse("n[5-1]");
  REQUIRE_FALSE(backwards);
  CHECK(backwards.error().suggestions == std::vector<std::string>{"1-5"});
  const auto second_line = NodeSet::parse("\xED\x95\x9C\n\xED\x95\x9C[9-1]");
  REQUIRE_FALSE(second_line);
  CHECK(second_line.error().span->line == 2);
  CHECK(second_line.error().span->column == 3);
  CHECK(second_line.error().span->byte_offset == 8);
}

TEST_CASE("deep and costly expressions end with an error") {
  CHECK_FALSE(NodeSet::parse(std::string(100'000, '(') + "n1" + std::string(100'000, ')')));
  CHECK(NodeSet::parse(std::string(60, '(') + "n1" + std::string(60, ')')));
  std::string repeated = "n[1-1000000]";
  for (int i = 0; i < 100; ++i) repeated += ",n[1-1000000]";
  const auto too_often = NodeSet::parse(repeated);
  REQUIRE_FALSE(too_often);
  CHECK(too_often.error().code == code::nodeset_too_large);
  std::string flipped = "n[1-1000000]";
  for (int i = 0; i < 500; ++i) flipped += "^n" + std::to_string(i);
  const auto too_costly = NodeSet::parse(flipped);
  REQUIRE_FALSE(too_costly);
  CHECK(too_costly.error().code == code::nodeset_too_large);
}

TEST_CASE("algebra agrees with itself") {
  const NodeSet a = set("n[1-50],login1,r[1-3]c[1-3]"), b = set("n[40-60],login2,r2c[2-9]");
  CHECK((a | b).size() == a.size() + b.size() - (a & b).size());
  CHECK((a ^ b) == ((a | b) - (a & b)));
  CHECK((a - b).size() == a.size() - (a & b).size());
  CHECK((a | b).contains(a));
  CHECK_FALSE(a.contains(b));
  NodeSet self = a;
  self -= self;
  CHECK(self.empty());
  self = a;
  self ^= self;
  CHECK(self.empty());
  self = a;
  self |= self;
  CHECK(self == a);
  CHECK(a.contains("n1"));
  CHECK(a.contains("login1"));
  CHECK(a.contains("r3c3"));
  CHECK_FALSE(a.contains("n01"));
  CHECK_FALSE(a.contains("n51"));
  CHECK_FALSE(a.contains("r3c4"));
  CHECK_FALSE(a.contains(""));
  CHECK_FALSE(a.contains("n[1-2]"));
}

TEST_CASE("split, section and slice") {
  std::string sizes;
  std::size_t total = 0;
  for (const NodeSet& part : set("n[0-6]").split(4)) {
    sizes += std::to_string(part.size()) + " ";
    total += part.size();
  }
  CHECK(sizes == "2 2 2 1 ");
  CHECK(total == 7);
  CHECK(set("n[1-2]").split(5).size() == 2);
  CHECK(set("n[1-2]").split(0).empty());
  CHECK(set("n[1-3],r[1-2]c[1-2]").section(2, 3).fold() == "n3,r1c[1-2]");
  CHECK(set("n[0-20]").slice("0-18/9,20,99")->fold() == "n[0,9,18,20]");
  CHECK(set("n[0-20]").slice("0-999999999999999999")->size() == 21);
  CHECK_FALSE(set("n[0-20]").slice("1-"));
  CHECK_FALSE(set("n[0-20]").slice("1]"));
  CHECK_FALSE(set("n[0-20]").slice(""));
}

TEST_CASE("names in the order in which they are written, for zipping with addresses") {
  const auto in_order = [](std::string_view expression) {
    const auto names = expand_in_order(expression);
    return names ? kfab::join(*names, " ") : "error";
  };
  CHECK(in_order("n[3,1-2],a") == "n3 n1 n2 a");
  CHECK(in_order("n2,n1,n2") == "n2 n1 n2");
  CHECK(in_order("r[2,1]n[2,1]") == "r2n2 r2n1 r1n2 r1n1");
  CHECK(in_order("n[3,1-2]!n1,n9") == "n3 n2 n9");
  CHECK(in_order("n[3,1-2]&(n2,n3)") == "n3 n2");
  CHECK(in_order("n[1-2]^n2") == "error");
  CHECK(in_order("10.1.0.[1-128]").starts_with("10.1.0.1 10.1.0.2 "));
}

TEST_CASE("groups and wildcards") {
  const Groups groups = sample_groups();
  const auto names = [&](std::string_view e) { return set(e, &groups).fold(); };
  CHECK(names("@rack:r1") == "gpu[01-04]");
  CHECK(names("@rack:r[1-2]") == "gpu[01-08]");
  CHECK(names("@rack:r*") == "gpu[01-08]");
  CHECK(names("@all-gpu!@rack:r1") == "gpu[05-08]");
  CHECK(names("@*") == "gpu[01-08],login1");
  CHECK(names("*") == "gpu[01-08],login1");
  CHECK(names("*!gpu*") == "login1");
  CHECK(names("gpu?1") == "gpu01");
  CHECK(names("gpu0[1-2]*") == "gpu[01-02]");
  CHECK(names("@@rack") == "r[1-2],s1");
  CHECK(names("@@") == "group,rack");
  const auto unknown = NodeSet::parse("n1,@rack:r3", &groups);
  REQUIRE_FALSE(unknown);
  CHECK(unknown.error().code == code::unknown_group);
  CHECK(pointed_at("n1,@rack:r3", unknown.error()) == "@rack:r3");
  CHECK(unknown.error().suggestions.front() == "@rack:r1");
  const auto source = NodeSet::parse("@rak:r1", &groups);
  REQUIRE_FALSE(source);
  CHECK(source.error().suggestions == std::vector<std::string>{"@rack:r1"});
  CHECK_FALSE(NodeSet::parse("@nope", &groups));
  CHECK_FALSE(NodeSet::parse("@", &groups));
  CHECK_FALSE(NodeSet::parse("@rack:", &groups));
  const auto nothing = NodeSet::parse("zzz*", &groups);
  REQUIRE_FALSE(nothing);
  CHECK(nothing.error().code == code::nodeset_no_match);
  CHECK(expand_in_order("@rack:r2", &groups)->front() == "gpu05");
}

TEST_CASE("plain names") {
  CHECK(fold_names({"n2", "n1", "n1", "n10"}) == "n[1-2,10]");
  CHECK(fold_names({"n1", "bad name", "\x1b[31mred"}) == "n1,bad name,red");
  CHECK(fold_names({}) == "");
  CHECK(NodeSet::from_names({"a1", "a2"})->fold() == "a[1-2]");
  const auto bad = NodeSet::from_names({"a1", "a[1-2]"});
  REQUIRE_FALSE(bad);
  CHECK(bad.error().code == code::bad_node_name);
  for (const char* name : {"n1", "a.b-c_d", "fe80::1%eth0", "10.0.0.1", "\xED\x95\x9C\xEA\xB5\xAD"}) CHECK(kfab::nodeset::check_name(name));
  for (const char* name : {"", "-n", "a b", "a\n", "a,b", "a@b", "\xFF", "a\x7F", "\xE2\x80\xAE", "1234567890123456789"})
    CHECK_FALSE(kfab::nodeset::check_name(name));
  CHECK_FALSE(kfab::nodeset::check_name(std::string(256, 'a')));
}

#include <doctest/doctest.h>

#include <random>
#include <string>

#include "nodeset/nodeset.hpp"

using kfab::nodeset::NodeSet;

// Random texts of the grammar's own characters: what parses must survive folding, the rest must say where it is wrong.
TEST_CASE("random expressions never crash and fold to themselves") {
  constexpr std::string_view alphabet = "nnnrx0001122399[[[]]]---,,,!&^()//  @:*?%.\xED\x01";
  std::mt19937 random(20261121);
  kfab::nodeset::Groups groups;
  groups.add("r", "n1", *NodeSet::parse("n[1-9]"));
  int parsed_count = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string expression;
    const auto length = random() % 24;
    for (unsigned i = 0; i < length; ++i) expression += alphabet[random() % alphabet.size()];
    const auto parsed = NodeSet::parse(expression, &groups);
    if (!parsed) {
      REQUIRE(parsed.error().span);
      REQUIRE(parsed.error().span->byte_offset <= expression.size());
      REQUIRE(parsed.error().span->line >= 1);
      continue;
    }
    ++parsed_count;
    if (parsed->empty() || parsed->size() > 100'000) continue;
    const auto again = NodeSet::parse(parsed->fold());
    INFO(expression << " -> " << parsed->fold());
    REQUIRE(again);
    REQUIRE(*again == *parsed);
  }
  CHECK(parsed_count > 500);
}

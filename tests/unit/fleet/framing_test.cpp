#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "fleet/fold.hpp"
#include "fleet/framing.hpp"

using namespace kfab::fleet;

namespace {
std::vector<std::string> lines_of(const std::vector<std::string>& pieces, LineFramer& framer) {
  std::vector<std::string> lines;
  for (const std::string& piece : pieces) {
    framer.feed(piece, [&](std::string_view line) {
      lines.emplace_back(line);
      return true;
    });
  }
  return lines;
}
}  // namespace

TEST_CASE("lines are whole however they arrive") {
  const std::string text = "one\ntwo\r\n\nthree\nrest";
  for (std::size_t size = 1; size <= text.size(); ++size) {
    std::vector<std::string> pieces;
    for (std::size_t at = 0; at < text.size(); at += size) pieces.push_back(text.substr(at, size));
    LineFramer framer;
    CHECK(lines_of(pieces, framer) == std::vector<std::string>{"one", "two", "", "three"});
    CHECK_FALSE(framer.empty());
  }
}

TEST_CASE("a line past the limit breaks the stream, in one piece or in many") {
  LineFramer one(10);
  CHECK(one.feed("0123456789\n", [](std::string_view line) { return line.size() == 10; }));
  CHECK_FALSE(one.feed("01234567890\n", [](std::string_view) { return true; }));
  CHECK_FALSE(one.feed("ok\n", [](std::string_view) { return true; }));
  LineFramer many(10);
  CHECK(many.feed("012345", [](std::string_view) { return true; }));
  CHECK_FALSE(many.feed("67890", [](std::string_view) { return true; }));
  CHECK(many.empty());
}

TEST_CASE("equal outputs fold, in the order of their first node") {
  const auto groups = fold({{"a", "x"}, {"b", "y"}, {"c", "x"}, {"d", ""}, {"e", ""}});
  REQUIRE(groups.size() == 3);
  CHECK(groups[0].nodes == std::vector<std::string>{"a", "c"});
  CHECK(groups[1].text == "y");
  CHECK(groups[2].nodes == std::vector<std::string>{"d", "e"});
  CHECK(fold({}).empty());
}

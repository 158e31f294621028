#include <doctest/doctest.h>

#include <sstream>

#include "base/text.hpp"
#include "term/table.hpp"
#include "term/writer.hpp"

using namespace kfab::term;

TEST_CASE("capitals over columns two blanks apart, numbers to the right, no blanks at the end of a line") {
  Table table({{"node"}, {"power kw", Align::right}, {"note"}});
  table.row({"gpu1", "14.3", "fine"});
  table.row({"gpu-long-name", "5", ""});
  table.row({"x"});
  CHECK(table.render({}) ==
        "NODE           POWER KW  NOTE\n"
        "gpu1               14.3  fine\n"
        "gpu-long-name         5\n"
        "x\n");
}

TEST_CASE("wide characters count two columns") {
  Table table({{"site"}, {"n", Align::right}});
  table.row({"울산", "1"});
  table.row({"abc", "2"});
  CHECK(table.render({}) == "SITE  N\n울산  1\nabc   2\n");
}

TEST_CASE("what a node says cannot break a line or colour the terminal") {
  Table table({{"node"}});
  table.row({"a\nb\x1b[31mc\t d"});
  CHECK(table.render({.colour = true}).find("\x1b[31m") == std::string::npos);
  CHECK(table.render({}) == "NODE\na bc d\n");
}

TEST_CASE("on a narrow terminal the widest column that may shrink is cut; elsewhere nothing is") {
  Table table({{"code"}, {"cause", Align::left, true}});
  table.row({"KF1003", "a key that the document does not know"});
  CHECK(table.render({.width = 24}) == "CODE    CAUSE\nKF1003  a key that th...\n");
  CHECK(table.render({}).find("does not know") != std::string::npos);
  for (const std::string& line : kfab::split(table.render({.width = 24}), '\n')) CHECK(kfab::display_width(line) <= 24);
}

TEST_CASE("a column that may not shrink is never cut, and two that may share the loss") {
  Table table({{"a", Align::left, true}, {"b", Align::left, true}, {"keep"}});
  table.row({std::string(30, 'x'), std::string(20, 'y'), "0123456789"});
  const std::string drawn = table.render({.width = 40});
  CHECK(drawn.find("0123456789") != std::string::npos);
  for (const std::string& line : kfab::split(drawn, '\n')) CHECK(kfab::display_width(line) <= 40);
  CHECK(table.render({.width = 5}).find("0123456789") != std::string::npos);   // too narrow for anything: still there
}

TEST_CASE("styles colour the text and not the blanks") {
  Table table({{"state"}, {"n", Align::right}});
  table.row({{"pass", Style::good}, "1"});
  CHECK(table.render({.colour = true}) == "\x1b[1mSTATE\x1b[0m  \x1b[1mN\x1b[0m\n\x1b[32mpass\x1b[0m   1\n");
}

TEST_CASE("fit cuts between characters and keeps within the width") {
  CHECK(fit("abcdef", 6) == "abcdef");
  CHECK(fit("abcdefg", 6) == "abc...");
  CHECK(fit("울산울산", 6) == "울...");
  CHECK(fit("abcdef", 2) == "..");
}

TEST_CASE("the writer shows words by meaning and lets no escape through but its own") {
  std::ostringstream plain, rich;
  Writer(plain, {}).word("pass").text(" \x1b[2Jx").line();
  CHECK(plain.str() == "pass x\n");
  Writer(rich, {.colour = true, .unicode = true}).word(kfab::Verdict::fail).text(" ").word("not_judged");
  CHECK(rich.str() == "\x1b[31m✗ fail\x1b[0m \x1b[33m! not_judged\x1b[0m");
  std::ostringstream raw;
  Writer(raw, {}).raw(std::string_view("\x1b[0m\0z", 6));
  CHECK(raw.str().size() == 6);
}

TEST_CASE("every verdict and outcome has a style of its own kind") {
  CHECK(style_of("pass") == Style::good);
  CHECK(style_of("not_judged") == Style::warning);
  CHECK(style_of("fail") == Style::bad);
  CHECK(style_of("unreachable") == Style::warning);
  CHECK(style_of("somebody's word") == Style::plain);
}

#include "base/shell_word.hpp"
#include "base/statistics.hpp"
#include "base/text.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>

using namespace kfab;

TEST_CASE("printable leaves text and takes what a terminal would obey") {
  CHECK(printable("plain \xED\x95\x9C\n\tok") == "plain \xED\x95\x9C\n\tok");
  CHECK(printable("\x1b[31mred\x1b[0m") == "red");
  CHECK(printable("a\x1b]0;title\ab") == "ab");
  CHECK(printable("a\x1b]0;title\x1b\\b") == "ab");
  CHECK(printable("a\x1bP1$r\x1b\\b") == "ab");
  CHECK(printable("a\x1b" "cb") == "ab");
  CHECK(printable("a\rb\bc\x7f\x01") == "abc");
  CHECK(printable("\xC2\x9B" "31m") == "31m");               // the one-byte CSI
  CHECK(printable("a\xE2\x80\xAE" "b\xE2\x81\xA6") == "ab");   // bidirectional overrides
  CHECK(printable("\xff\xC3(") == "\xEF\xBF\xBD\xEF\xBF\xBD(");
  CHECK(printable("a\x1b]0;never ends\nb") == "a\nb");
  CHECK(printable("end\x1b") == "end");
  CHECK(printable("end\x1b[") == "end");
  CHECK(printable("") == "");
}

TEST_CASE("printable of random bytes is valid UTF-8 without controls, and stays the same when done twice") {
  std::mt19937 random(1);
  for (int round = 0; round < 5'000; ++round) {
    std::string bytes;
    for (unsigned i = random() % 30; i > 0; --i) bytes += random() % 4 == 0 ? '\x1b' : static_cast<char>(random() % 256);
    const std::string shown = printable(bytes);
    REQUIRE(is_valid_utf8(shown));
    for (const char c : shown) REQUIRE((static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t'));
    REQUIRE(printable(shown) == shown);
    REQUIRE(one_line(bytes).find('\n') == std::string::npos);
  }
}

TEST_CASE("one_line") {
  CHECK(one_line("  a\n\n\tb  c ") == "a b c");
  CHECK(one_line("abcdef", 3) == "abc...");
  CHECK(one_line("abc", 3) == "abc");
  CHECK(one_line("\xED\x95\x9C\xEA\xB5\xAD\xEC\x96\xB4", 2) == "\xED\x95\x9C\xEA\xB5\xAD...");
  CHECK(one_line("") == "");
  // What needs no change is told apart at a glance; a line feed at the end has every character looked at.
  std::mt19937 random(2);
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes;
    for (unsigned i = random() % 12; i > 0; --i) bytes += random() % 4 == 0 ? ' ' : static_cast<char>(random() % 8 == 0 ? random() % 256 : 'a' + random() % 26);
    const std::size_t most = random() % 12;
    REQUIRE(one_line(bytes, most) == one_line(bytes + "\n", most));
  }
}

TEST_CASE("UTF-8") {
  CHECK(is_valid_utf8("a\xC3\xA9\xED\x95\x9C\xF0\x9F\x98\x80"));
  for (const char* bad : {"\x80", "\xC0\x80", "\xC3", "\xE0\x80\x80", "\xED\xA0\x80", "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "a\xff"}) {
    INFO(bad);
    CHECK_FALSE(is_valid_utf8(bad));
    CHECK(is_valid_utf8(replace_invalid_utf8(bad)));
  }
  CHECK(code_points("\xED\x95\x9C" "a\xff") == 3);
  CHECK(display_width("\xED\x95\x9C\xEA\xB5\xAD") == 4);
  CHECK(display_width("e\xCC\x81") == 1);
  CHECK(display_width("abc") == 3);
}

TEST_CASE("splitting and joining") {
  CHECK(split("a,,b,", ',') == std::vector<std::string>{"a", "", "b", ""});
  CHECK(split("", ',') == std::vector<std::string>{""});
  const auto lines = split_lines("a\r\n\nb\n");
  REQUIRE(lines.size() == 3);
  CHECK(lines[0] == "a");
  CHECK(lines[1].empty());
  CHECK(split_lines("").empty());
  CHECK(join({"a", "b"}, ", ") == "a, b");
  CHECK(join({}, ", ") == "");
  CHECK(trim(" \t a b \r\n") == "a b");
  CHECK(trim(" \n").empty());
  CHECK(to_lower("AbZ\xC3\x84") == "abz\xC3\x84");
}

TEST_CASE("did you mean") {
  const std::vector<std::string> known{"tranche", "transport", "nodes", "profile"};
  CHECK(nearest("tranch", known) == std::vector<std::string>{"tranche"});
  CHECK(nearest("ndoes", known) == std::vector<std::string>{"nodes"});   // two letters swapped are one slip
  CHECK(nearest("zzz", known).empty());
  CHECK(nearest("", known).empty());
  CHECK(nearest("ab", {"cd"}).empty());   // everything changed is no slip
  CHECK(nearest("aa", {"ab", "ac", "ad", "aa"}, 2) == std::vector<std::string>{"aa", "ab"});
  CHECK(nearest("src", {"service", "source", "state"}) == std::vector<std::string>{"source", "service"});
  CHECK(nearest("prof", known) == std::vector<std::string>{"profile"});
  CHECK(nearest("crs", {"source"}).empty());
  CHECK(nearest("so", {"source"}).empty());   // two letters say too little
  CHECK(nearest(std::string(100'000, 'a'), known).empty());
}

TEST_CASE("figures for people") {
  CHECK(format_duration_s(0.85) == "850 ms");
  CHECK(format_duration_s(0.9999) == "1.0 s");
  CHECK(format_duration_s(12.44) == "12.4 s");
  CHECK(format_duration_s(59.97) == "1 min 00 s");
  CHECK(format_duration_s(192) == "3 min 12 s");
  CHECK(format_duration_s(3599.7) == "1 h 00 min");
  CHECK(format_duration_s(7500) == "2 h 05 min");
  CHECK(format_duration_s(std::nan("")) == "-");
  CHECK(with_thousands(0) == "0");
  CHECK(with_thousands(999) == "999");
  CHECK(with_thousands(-1234567) == "-1,234,567");
  CHECK(with_thousands(std::numeric_limits<long long>::min()) == "-9,223,372,036,854,775,808");
  CHECK(format_number(1234.5) == "1,234.5");
  CHECK(format_number(107.25, 1) == "107.2");
  CHECK(format_number(-0.001) == "0");
  CHECK(format_number(-1234567.891) == "-1,234,567.89");
  CHECK(format_number(5, 0) == "5");
  CHECK(format_number(100, 0) == "100");
  CHECK(format_number(std::nan("")) == "-");
  CHECK(format_figure(0.0004) == "0.0004");
  CHECK(format_figure(-0.012345) == "-0.0123");
  CHECK(format_figure(0.5) == "0.5");
  CHECK(format_figure(0) == "0");
  CHECK(format_figure(1e-300) == "0");
  CHECK(format_figure(1234.5678) == "1,234.57");
  CHECK(format_figure(std::nan("")) == "-");
  CHECK(plural(1, "node") == "1 node");
  CHECK(plural(2000, "node") == "2,000 nodes");
  CHECK(plural(0, "site") == "0 sites");
  CHECK(plural(2, "entry", "entries") == "2 entries");
}

TEST_CASE("a word for the shell is quoted only where it must be") {
  CHECK(shell_word("manifests/my-site_2.yaml") == "manifests/my-site_2.yaml");
  CHECK(shell_word("") == "''");
  CHECK(shell_word("n[1-3]") == "'n[1-3]'");
  CHECK(shell_word("it's") == "'it'\\''s'");
  CHECK(shell_word("a b;$(c)`d`\n") == "'a b;$(c)`d`\n'");
}

TEST_CASE("the median of an even number of values is the mean of the two in the middle") {
  CHECK(median_of({}) == 0);
  CHECK(median_of({3}) == 3);
  CHECK(median_of({9, 1, 4}) == 4);
  CHECK(median_of({9, 1, 4, 2}) == 3);
  CHECK(variation_of({5}) == 0);
  CHECK(variation_of({4, 6}) == doctest::Approx(std::sqrt(2.0) / 5));
}

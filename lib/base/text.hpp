#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kfab {

// Text from a node, a BMC or a manifest as it may be shown on a terminal: escape sequences and control characters
// other than newline and tab are removed, invalid UTF-8 becomes U+FFFD, bidirectional overrides are removed.
std::string printable(std::string_view untrusted);
// The same on one line: newlines, tabs and runs of blanks become one blank; cut at `max_chars` code points with "...".
std::string one_line(std::string_view untrusted, std::size_t max_chars = 200);

bool is_valid_utf8(std::string_view);
std::string replace_invalid_utf8(std::string_view);
std::size_t code_points(std::string_view utf8);
// Columns on a terminal: East Asian wide characters count two, combining ones none.
std::size_t display_width(std::string_view utf8);

std::vector<std::string> split(std::string_view text, char separator);   // keeps empty fields
std::vector<std::string_view> split_lines(std::string_view text);        // "\n" or "\r\n", no empty last line
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string_view trim(std::string_view);
std::string to_lower(std::string_view ascii);

// Up to `most` words within two edits of `word`, nearest first: for "did you mean".
std::vector<std::string> nearest(std::string_view word, const std::vector<std::string>& known, std::size_t most = 3);

// "850 ms", "12.4 s", "3 min 12 s", "2 h 05 min".
std::string format_duration_s(double seconds);
// The same for a glance, where tenths past ten seconds say nothing: "850 ms", "2.4 s", "41 s", "3 min 12 s".
std::string brief_duration_s(double seconds);
// 1234567 -> "1,234,567".
std::string with_thousands(long long);
// A number for people: at most `decimals` places, no trailing zeros, thousands separated.
std::string format_number(double value, int decimals = 2);
// The same for what may be small: below 1 at least three digits that count, so that 0.0004 is not told as 0.
std::string format_figure(double value, int decimals = 2);
std::string plural(long long count, std::string_view singular, std::string_view plural_form = {});  // "1 node", "2 nodes"

}  // namespace kfab

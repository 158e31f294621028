#include "base/text.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>

#include <fmt/format.h>

namespace kfab {
namespace {

constexpr char32_t bad = 0xFFFFFFFF;

// Decodes one code point at `at` and moves past it; `bad` (moving one byte) where the bytes are not UTF-8.
char32_t next_code_point(std::string_view text, std::size_t& at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at);
  if (first < 0x80) return text[at++] & 0x7F;
  const int length = first >= 0xF0 && first < 0xF5 ? 4 : first >= 0xE0 && first < 0xF0 ? 3 : first >= 0xC2 && first < 0xE0 ? 2 : 0;
  if (length == 0 || at + static_cast<std::size_t>(length) > text.size()) { ++at; return bad; }
  char32_t value = first & (0xFFu >> (length + 1));
  for (int i = 1; i < length; ++i) {
    const unsigned char c = byte(at + static_cast<std::size_t>(i));
    if ((c & 0xC0) != 0x80) { ++at; return bad; }
    value = (value << 6) | (c & 0x3Fu);
  }
  const bool overlong = (length == 3 && value < 0x800) || (length == 4 && value < 0x10000);
  if (overlong || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) { ++at; return bad; }
  at += static_cast<std::size_t>(length);
  return value;
}

bool is_bidi_or_invisible(char32_t c) {
  return (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) || c == 0x200E || c == 0x200F || c == 0xFEFF;
}

// Skips an escape sequence that starts at the ESC at `at`: CSI, OSC and other strings to their end, else two bytes.
std::size_t after_escape(std::string_view text, std::size_t at) {
  if (at + 1 >= text.size()) return text.size();
  const char kind = text[at + 1];
  std::size_t i = at + 2;
  if (kind == '[') {
    while (i < text.size() && (text[i] < 0x40 || text[i] > 0x7E)) {
      if (static_cast<unsigned char>(text[i]) < 0x20 || static_cast<unsigned char>(text[i]) >= 0x80) return i;
      ++i;
    }
    return std::min(i + 1, text.size());
  }
  if (kind == ']' || kind == 'P' || kind == 'X' || kind == '^' || kind == '_') {
    for (; i < text.size(); ++i) {
      if (text[i] == '\a') return i + 1;
      if (text[i] == '\n') return i;   // a string that never ends must not swallow the rest
      if (text[i] == 0x1B && i + 1 < text.size() && text[i + 1] == '\\') return i + 2;
    }
    return text.size();
  }
  return i;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), row(b.size() + 1), two_before;
  for (std::size_t j = 0; j <= b.size(); ++j) before[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({before[j] + 1, row[j - 1] + 1, before[j - 1] + (a[i - 1] == b[j - 1] ? 0u : 1u)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], two_before[j - 2] + 1);
    }
    two_before = before;
    before = row;
  }
  return before[b.size()];
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte == 0x1B) { at = after_escape(text, at); continue; }
    const std::size_t start = at;
    const char32_t c = next_code_point(text, at);
    if (c == bad) { out += "\xEF\xBF\xBD"; continue; }
    const bool control = (c < 0x20 && c != '\n' && c != '\t') || c == 0x7F || (c >= 0x80 && c < 0xA0);
    if (!control && !is_bidi_or_invisible(c)) out += text.substr(start, at - start);
  }
  return out;
}

// Most text is what one_line() would leave as it is: figures' names by the million.
static bool is_plain_line(std::string_view text) {
  char before = ' ';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7F || (c == ' ' && before == ' ')) return false;
    before = c;
  }
  return text.empty() || before != ' ';
}

std::string one_line(std::string_view untrusted, std::size_t max_chars) {
  if (untrusted.size() <= max_chars && is_plain_line(untrusted)) return std::string(untrusted);
  std::string flat;
  bool blank = false;
  for (const char c : printable(untrusted)) {
    if (c == '\n' || c == '\t' || c == ' ') { blank = !flat.empty(); continue; }
    if (blank) flat += ' ';
    blank = false;
    flat += c;
  }
  std::size_t chars = 0;
  for (std::size_t at = 0; at < flat.size(); ++chars) {
    if (chars == max_chars) return flat.substr(0, at) + "...";
    next_code_point(flat, at);
  }
  return flat;
}

bool is_valid_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();)
    if (next_code_point(text, at) == bad) return false;
  return true;
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t start = at;
    if (next_code_point(text, at) == bad) out += "\xEF\xBF\xBD";
    else out += text.substr(start, at - start);
  }
  return out;
}

std::size_t code_points(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t at = 0; at < text.size(); ++count) next_code_point(text, at);
  return count;
}

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  for (std::size_t at = 0; at < text.size();) {
    const char32_t c = next_code_point(text, at);
    const bool combining = (c >= 0x0300 && c <= 0x036F) || is_bidi_or_invisible(c) || c == 0x200B;
    const bool wide = (c >= 0x1100 && c <= 0x115F) || (c >= 0x2E80 && c <= 0xA4CF) || (c >= 0xAC00 && c <= 0xD7A3) ||
                      (c >= 0xF900 && c <= 0xFAFF) || (c >= 0xFE30 && c <= 0xFE6F) || (c >= 0xFF00 && c <= 0xFF60) ||
                      (c >= 0xFFE0 && c <= 0xFFE6) || (c >= 0x1F300 && c <= 0x1FAFF);
    width += combining ? 0 : wide ? 2 : 1;
  }
  return width;
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    const auto end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const auto end = text.find('\n');
    auto line = text.substr(0, end);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    lines.push_back(line);
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return lines;
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  return fmt::format("{}", fmt::join(parts, separator));
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n\f\v";
  const auto first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

std::string to_lower(std::string_view text) {
  std::string out{text};
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

namespace {

// "src" of "source": the same first letter, and all others in their order.
bool abbreviates(std::string_view word, std::string_view candidate) {
  if (word.size() < 3 || word.size() >= candidate.size() || word.front() != candidate.front()) return false;
  std::size_t at = 0;
  for (const char letter : candidate)
    if (at < word.size() && word[at] == letter) ++at;
  return at == word.size();
}

}  // namespace

std::vector<std::string> nearest(std::string_view word, const std::vector<std::string>& known, std::size_t most) {
  std::vector<std::pair<std::size_t, std::string>> close;
  for (const auto& candidate : known) {
    if (candidate.size() > word.size() + 2 || word.size() > candidate.size() + 2) continue;
    const auto distance = edit_distance(word, candidate);
    if (distance <= 2 && distance < std::max(word.size(), candidate.size())) close.emplace_back(distance, candidate);
  }
  std::stable_sort(close.begin(), close.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> out;
  for (auto& [distance, candidate] : close)
    if (out.size() < most) out.push_back(std::move(candidate));
  if (!out.empty()) return out;
  std::copy_if(known.begin(), known.end(), std::back_inserter(out), [&](const auto& candidate) { return abbreviates(word, candidate); });
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.size() < b.size(); });
  out.resize(std::min(out.size(), most));
  return out;
}

std::string format_duration_s(double seconds) {
  if (!std::isfinite(seconds)) return "-";
  if (seconds < 0.9995) return fmt::format("{:.0f} ms", seconds * 1000);
  if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<long long>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

std::string brief_duration_s(double seconds) {
  if (seconds >= 9.95 && seconds < 59.5) return fmt::format("{:.0f} s", seconds);
  return format_duration_s(seconds < 60 && seconds >= 59.5 ? 60 : seconds);
}

std::string with_thousands(long long value) {
  std::string digits = fmt::format("{}", value);
  const std::size_t first = digits[0] == '-' ? 1 : 0;
  for (std::size_t at = digits.size(); at > first + 3;) digits.insert(at -= 3, 1, ',');
  return digits;
}

std::string format_number(double value, int decimals) {
  if (!std::isfinite(value)) return "-";
  std::string text = fmt::format("{:.{}f}", value, decimals);
  if (text.find('.') != std::string::npos) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
  }
  const auto point = text.find('.');
  const auto whole = text.substr(0, point);
  const std::size_t first = whole.starts_with('-') ? 1 : 0;
  std::string grouped = whole;
  for (std::size_t at = grouped.size(); at > first + 3;) grouped.insert(at -= 3, 1, ',');
  if (grouped == "-0" && point == std::string::npos) grouped = "0";
  return point == std::string::npos ? grouped : grouped + text.substr(point);
}

std::string format_figure(double value, int decimals) {
  const double size = std::fabs(value);
  if (!(size > 0) || size >= 1 || !std::isfinite(size)) return format_number(value, decimals);
  return format_number(value, std::min(std::max(decimals, 2 - static_cast<int>(std::floor(std::log10(size)))), 12));
}

std::string plural(long long count, std::string_view singular, std::string_view plural_form) {
  if (count == 1) return fmt::format("1 {}", singular);
  return plural_form.empty() ? fmt::format("{} {}s", with_thousands(count), singular)
                             : fmt::format("{} {}", with_thousands(count), plural_form);
}

}  // namespace kfab

#include "base/codes.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include "base/codes/internal.hpp"

namespace kfab {
namespace {

constexpr auto severity_error = Severity::error;
constexpr auto severity_warning = Severity::warning;
constexpr auto severity_note = Severity::note;

const auto& sorted_codes() {
  static const auto table = [] {
    std::array rows{
#define KF_CODE(number, severity, name, cause, next_step) \
  CodeInfo{Code{number}, severity_##severity, #name, cause, next_step},
#include "base/codes/all.inc"
#undef KF_CODE
    };
    std::sort(rows.begin(), rows.end(), [](const CodeInfo& a, const CodeInfo& b) { return a.code < b.code; });
    return rows;
  }();
  return table;
}

}  // namespace

std::string_view to_string(Severity severity) {
  constexpr std::array<std::string_view, 3> words{"note", "warning", "error"};
  return words[static_cast<std::size_t>(severity)];
}

std::span<const CodeInfo> all_codes() { return sorted_codes(); }

const CodeInfo& info(Code code) {
  const auto& rows = sorted_codes();
  const auto row = std::lower_bound(rows.begin(), rows.end(), code,
                                    [](const CodeInfo& a, Code wanted) { return a.code < wanted; });
  return row != rows.end() && row->code == code ? *row : info(code::internal);
}

std::string to_string(Code code) { return fmt::format("KF{:04}", static_cast<unsigned>(code)); }

std::optional<Code> parse_code(std::string_view text) {
  if (text.size() > 2 && (text[0] == 'K' || text[0] == 'k') && (text[1] == 'F' || text[1] == 'f')) text.remove_prefix(2);
  unsigned number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  for (const CodeInfo& row : sorted_codes())
    if (static_cast<unsigned>(row.code) == number) return row.code;
  return std::nullopt;
}

}  // namespace kfab

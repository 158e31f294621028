#include "base/share.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/text.hpp"

namespace kfab {

std::size_t Share::of(std::size_t whole) const {
  if (!percent) return static_cast<std::size_t>(value);
  // The nearest double of 0.7 percent of 1000 is a hair under 7; what was meant is 7.
  const double exact = static_cast<double>(whole) * value / 100;
  return std::min(whole, static_cast<std::size_t>(std::floor(exact + 1e-9)));
}

std::optional<Share> parse_share(std::string_view text) {
  Share share;
  share.percent = text.ends_with('%');
  if (share.percent) text.remove_suffix(1);
  if (text.empty() || text.find_first_not_of(share.percent ? "0123456789." : "0123456789") != std::string_view::npos) return std::nullopt;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), share.value, std::chars_format::fixed);
  constexpr double most = 1e9;
  if (problem != std::errc{} || end != text.data() + text.size() || share.value > (share.percent ? 100 : most)) return std::nullopt;
  return share;
}

std::string to_string(const Share& share) {
  return share.percent ? format_number(share.value, 6) + "%" : with_thousands(static_cast<long long>(share.value));
}

}  // namespace kfab

#include "cli/args.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <stdexcept>

#include "base/text.hpp"

namespace kfab::cli {
namespace {

struct UnitRow { std::string_view unit; double seconds; };
constexpr std::array units{UnitRow{"ms", 1e-3}, UnitRow{"s", 1}, UnitRow{"m", 60}, UnitRow{"h", 3600}, UnitRow{"d", 86400}};

// A number without sign or exponent at the start of `text`, which loses it.
std::optional<double> take_number(std::string_view& text) {
  std::size_t length = 0;
  while (length < text.size() && ((text[length] >= '0' && text[length] <= '9') || text[length] == '.')) ++length;
  double value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + length, value, std::chars_format::fixed);
  if (length == 0 || problem != std::errc{} || end != text.data() + length) return std::nullopt;
  text.remove_prefix(length);
  return value;
}

// Of any length.
std::optional<double> read_duration_s(std::string_view text) {
  double total = 0;
  bool whole = true;   // nothing was read before
  if (text.empty()) return std::nullopt;
  while (!text.empty()) {
    const auto number = take_number(text);
    if (!number) return std::nullopt;
    std::size_t length = 0;
    while (length < text.size() && text[length] >= 'a' && text[length] <= 'z') ++length;
    const std::string_view unit = text.substr(0, length);
    text.remove_prefix(length);
    if (unit.empty() && whole && text.empty() && *number == 0) return 0.0;   // no time is none in any unit
    double factor = 0;
    for (const UnitRow& row : units)
      if (row.unit == unit) factor = row.seconds;
    if (factor == 0) return std::nullopt;
    total += *number * factor;
    whole = false;
  }
  return total;
}

}  // namespace

std::optional<double> parse_duration_s(std::string_view text) {
  const auto seconds = read_duration_s(text);
  return seconds && *seconds <= most_duration_s ? seconds : std::nullopt;
}

bool is_too_long(std::string_view text) {
  const auto seconds = read_duration_s(text);
  return seconds && *seconds > most_duration_s;
}

std::optional<double> parse_percent(std::string_view text) {
  if (text.ends_with('%')) text.remove_suffix(1);
  const auto value = take_number(text);
  if (!value || !text.empty() || *value > 100) return std::nullopt;
  return value;
}

const OptionSpec& Args::spec(std::string_view name) const {
  const OptionSpec* found = find_option(command_, name);
  if (found == nullptr) throw std::logic_error("option '" + std::string(name) + "' is not declared");
  return *found;
}

bool Args::given(std::string_view name) const {
  spec(name);
  return options_.find(name) != options_.end();
}

bool Args::flag(std::string_view name) const { return given(name); }

int Args::count(std::string_view name) const {
  spec(name);
  const auto found = options_.find(name);
  return found == options_.end() ? 0 : static_cast<int>(found->second.size());
}

std::string Args::text(std::string_view name) const {
  const OptionSpec& option = spec(name);
  const auto found = options_.find(name);
  if (found == options_.end() || found->second.empty()) return std::string(option.fallback);
  return found->second.back();
}

std::vector<std::string> Args::list(std::string_view name) const {
  const OptionSpec& option = spec(name);
  const auto found = options_.find(name);
  if (found != options_.end()) return found->second;
  if (option.fallback.empty()) return {};
  return {std::string(option.fallback)};
}

std::optional<std::int64_t> Args::integer(std::string_view name) const {
  const std::string value = text(name);
  std::int64_t number = 0;
  const auto [end, problem] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (value.empty() || problem != std::errc{} || end != value.data() + value.size()) return std::nullopt;
  return number;
}

std::optional<double> Args::duration_s(std::string_view name) const { return parse_duration_s(text(name)); }
std::optional<double> Args::percent(std::string_view name) const { return parse_percent(text(name)); }
std::optional<Share> Args::share(std::string_view name) const { return parse_share(text(name)); }

std::string Args::positional(std::string_view name) const {
  const auto all = positionals(name);
  return all.empty() ? std::string{} : all.front();
}

std::vector<std::string> Args::positionals(std::string_view name) const {
  bool declared = false;
  if (command_ != nullptr)
    for (const PositionalSpec& p : command_->positionals) declared = declared || p.name == name;
  if (!declared) throw std::logic_error("argument '" + std::string(name) + "' is not declared");
  const auto found = positionals_.find(name);
  return found == positionals_.end() ? std::vector<std::string>{} : found->second;
}

}  // namespace kfab::cli

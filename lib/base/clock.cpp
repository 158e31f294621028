#include "base/clock.hpp"

#include <cstdlib>

#include <fmt/format.h>

namespace kfab {
namespace {

class SystemClock final : public Clock {
 public:
  Timestamp now() const override {
    return std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
  }
  std::chrono::steady_clock::time_point steady_now() const override { return std::chrono::steady_clock::now(); }
};

// Reads exactly `digits` decimal digits at `at`.
std::optional<int> digits_at(std::string_view text, std::size_t at, std::size_t digits) {
  if (at + digits > text.size()) return std::nullopt;
  int value = 0;
  for (const char c : text.substr(at, digits)) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  return value;
}

}  // namespace

std::unique_ptr<Clock> make_system_clock() { return std::make_unique<SystemClock>(); }

std::string to_rfc3339(Timestamp time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss clock{time - day};
  const auto ms = clock.subseconds().count();
  auto text = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", static_cast<int>(date.year()),
                          static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), clock.hours().count(),
                          clock.minutes().count(), clock.seconds().count());
  return ms == 0 ? text + "Z" : fmt::format("{}.{:03}Z", text, ms);
}

std::optional<Timestamp> parse_rfc3339(std::string_view text) {
  if (text.size() < 20 || text[10] != 'T' || text[13] != ':' || text[16] != ':' || text.back() != 'Z') return std::nullopt;
  const auto date = parse_date(text.substr(0, 10));
  const auto h = digits_at(text, 11, 2), m = digits_at(text, 14, 2), s = digits_at(text, 17, 2);
  if (!date || !h || !m || !s || *h > 23 || *m > 59 || *s > 60) return std::nullopt;
  int ms = 0;
  if (text[19] == '.') {
    const auto fraction = text.substr(20, text.size() - 21);
    if (fraction.empty() || fraction.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
    for (std::size_t i = 0; i < 3; ++i) ms = ms * 10 + (i < fraction.size() ? fraction[i] - '0' : 0);
  } else if (text.size() != 20) {
    return std::nullopt;
  }
  return Timestamp{std::chrono::sys_days{date->value}} + std::chrono::hours{*h} + std::chrono::minutes{*m} +
         std::chrono::seconds{*s} + std::chrono::milliseconds{ms};
}

std::optional<Date> parse_date(std::string_view text) {
  const bool month_only = text.size() == 7;
  if ((!month_only && text.size() != 10) || text[4] != '-' || (!month_only && text[7] != '-')) return std::nullopt;
  const auto y = digits_at(text, 0, 4), m = digits_at(text, 5, 2);
  const auto d = month_only ? std::optional{1} : digits_at(text, 8, 2);
  if (!y || !m || !d) return std::nullopt;
  const std::chrono::year_month month{std::chrono::year{*y}, std::chrono::month{static_cast<unsigned>(*m)}};
  if (!month.ok()) return std::nullopt;
  if (month_only) return Date{std::chrono::year_month_day{month / std::chrono::last}, true};
  const std::chrono::year_month_day day = month / std::chrono::day{static_cast<unsigned>(*d)};
  if (!day.ok()) return std::nullopt;
  return Date{day, false};
}

std::string to_string(const Date& date) {
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(date.value.year()), static_cast<unsigned>(date.value.month()),
                     static_cast<unsigned>(date.value.day()));
}

int days_between(const Date& from, const Date& to) {
  return static_cast<int>((std::chrono::sys_days{to.value} - std::chrono::sys_days{from.value}).count());
}

Date date_of(Timestamp time) {
  return Date{std::chrono::year_month_day{std::chrono::floor<std::chrono::days>(time)}, false};
}

}  // namespace kfab

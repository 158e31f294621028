#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <optional>
#include <string_view>

namespace kfab {

using Timestamp = std::chrono::sys_time<std::chrono::milliseconds>;

// Time as an effect, so that whatever prints or compares it can be tested.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Timestamp now() const = 0;
  virtual std::chrono::steady_clock::time_point steady_now() const = 0;
};
std::unique_ptr<Clock> make_system_clock();

// RFC 3339 in UTC with milliseconds: "2026-11-21T16:41:58.000Z". Seconds only when the milliseconds are zero.
std::string to_rfc3339(Timestamp);
std::optional<Timestamp> parse_rfc3339(std::string_view);

// A calendar day. "2027-11" reads as the last day of that month, as contracts mean it.
struct Date {
  std::chrono::year_month_day value{};
  bool month_only = false;   // written as a month: shown as such, compared as its last day
  std::strong_ordering operator<=>(const Date& other) const { return value <=> other.value; }
  bool operator==(const Date& other) const { return value == other.value; }
};
std::optional<Date> parse_date(std::string_view);   // "YYYY-MM-DD" or "YYYY-MM"
std::string to_string(const Date&);                 // always "YYYY-MM-DD"
int days_between(const Date& from, const Date& to);
Date date_of(Timestamp);                            // the UTC day

}  // namespace kfab

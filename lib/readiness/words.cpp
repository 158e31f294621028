#include "readiness/words.hpp"

#include <fmt/format.h>

#include "base/text.hpp"

namespace kfab::readiness {

std::string power_text(double kw) {
  if (kw >= 1'000'000) return format_number(kw / 1'000'000, 3) + " GW";
  return kw >= 1000 ? format_number(kw / 1000, 2) + " MW" : format_number(kw, 2) + " kW";
}

std::string count_text(std::int64_t count, std::string_view singular, std::string_view plural) {
  std::string word(singular);
  if (count != 1) word = plural.empty() ? word + "s" : std::string(plural);
  return with_thousands(count) + " " + word;
}

std::string percent_text(double percent) { return format_number(percent, 1) + " %"; }

std::string join_sentences(const std::string& first, const std::string& second) {
  if (first.empty()) return second;
  return second.empty() ? first : first + "; " + second;
}

}  // namespace kfab::readiness

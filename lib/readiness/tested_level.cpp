#include "readiness/tested_level.hpp"

#include <algorithm>
#include <array>

#include "base/text.hpp"

namespace kfab::readiness {
namespace {

constexpr std::array levels{std::string_view("quick"), std::string_view("standard"), std::string_view("soak")};
constexpr std::string_view shortened_mark = " (shortened)";   // as validate keeps it

}  // namespace

int rank_of(std::string_view level) {
  const auto found = std::find(levels.begin(), levels.end(), level);
  return found == levels.end() ? -1 : static_cast<int>(found - levels.begin());
}

int rank_if_whole(std::string_view level) {
  return level.ends_with(shortened_mark) ? rank_of(level.substr(0, level.size() - shortened_mark.size())) : -1;
}

bool level_reached(std::string_view done, std::string_view asked) {
  return rank_of(done) >= 0 && rank_of(done) >= rank_of(asked);
}

TestedLevel tested_level(std::string_view level) {
  TestedLevel out;
  if (const auto open = level.rfind(" ("); open != std::string_view::npos && level.ends_with(')')) {
    for (const auto& word : split(std::string(level.substr(open + 2, level.size() - open - 3)), ',')) {
      const auto mark = trim(word);
      if (mark == "shortened") out.whole = false;
      else out.load = mark;
    }
    level = level.substr(0, open);
  }
  constexpr std::string_view at = " at ";
  if (const auto place = level.find(at); place != std::string_view::npos) {
    out.families = split(std::string(level.substr(0, place)), '+');
    level.remove_prefix(place + at.size());
  }
  out.rank = rank_of(level);
  if (out.rank < 0 && out.families.empty()) out.families = split(std::string(level), '+');
  return out;
}

bool covers(const TestedLevel& later, const TestedLevel& earlier) {
  if (!later.whole || later.rank < earlier.rank || later.load != earlier.load) return false;
  if (later.families.empty()) return true;
  return !earlier.families.empty() && std::all_of(earlier.families.begin(), earlier.families.end(), [&](const std::string& family) {
    return std::find(later.families.begin(), later.families.end(), family) != later.families.end();
  });
}

}  // namespace kfab::readiness

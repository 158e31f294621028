#include "commands/common_start.hpp"

#include <doctest/doctest.h>

#include "base/codes/validation.hpp"

using namespace kfab;
using namespace kfab::commands;

TEST_CASE("a clock keeps to a common start only when it is surely near enough") {
  CHECK(why_not_together(0.1, 0.1, 0.5).empty());
  CHECK(why_not_together(-0.4, 0.1, 0.5).empty());
  CHECK(why_not_together(3.0, 0.001, 0.5).find("3.0 s ahead of") != std::string::npos);
  CHECK(why_not_together(-3.0, 0.001, 0.5).find("behind") != std::string::npos);
  CHECK_FALSE(why_not_together(0.0, 0.8, 0.5).empty());            // over a link so slow nobody can tell
  CHECK_FALSE(why_not_together(std::nullopt, 0.1, 0.5).empty());
  CHECK_FALSE(why_not_together(0.0, std::nullopt, 0.5).empty());
  CHECK_FALSE(why_not_together(0.0, -1.0, 0.5).empty());
}

TEST_CASE("faster loads want better clocks") {
  CHECK(start_tolerance_s({}) == 0.5);
  CHECK(start_tolerance_s({"pulsed", 2, 0.5}) == doctest::Approx(0.2));
  CHECK(start_tolerance_s({"pulsed", 0.05, 0.5}) == doctest::Approx(0.02));
  CHECK(start_tolerance_s({"stepped", 600, 0.5}) == 0.5);
}

TEST_CASE("nodes that cannot run at the same time do not begin together") {
  ValidateOptions options;
  options.site.reach.window = 8;
  CHECK(may_start_together(options, 8, false));
  CHECK(may_start_together(options, 9, false).error().code == code::start_not_together);
  CHECK(may_start_together(options, 9, true));   // left to themselves they all run
  options.site.reach.pace.canary = 1;
  CHECK(may_start_together(options, 2, true).error().code == code::start_not_together);
}

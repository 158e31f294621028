// The load of a burn-in as people see it, from the figures that are in the JSON.
#include "commands/load_view.hpp"

#include <doctest/doctest.h>

#include <sstream>

#include "term/writer.hpp"

using namespace kfab;
using namespace kfab::commands;

namespace {

ValidatedNode node_with(const std::vector<std::pair<std::string, std::optional<double>>>& figures) {
  ValidatedNode node;
  for (const auto& [metric, value] : figures) node.report.measurements.push_back({"GPU-1", "cuda", "telemetry", "burnin.load." + metric, "", value, {}, "", ""});
  return node;
}

std::string shown(const std::vector<ValidatedNode>& nodes) {
  std::ostringstream text;
  term::Writer out(text, {});
  render(load_figures(nodes), out);
  return text.str();
}

}  // namespace

TEST_CASE("shares and parts of a load are told over all accelerators, its parts in their order") {
  const auto one = node_with({{"asked_pct", 50}, {"worked_pct", 48}, {"off_pct", 2}, {"pulse.power_w", 690}, {"pulse.sm_clock_mhz", 1700}, {"pulse.temperature_c", 60}, {"pause.power_w", 120}});
  const auto two = node_with({{"asked_pct", 50}, {"worked_pct", 50}, {"off_pct", 0.5}, {"pulse.power_w", 700}, {"pulse.sm_clock_mhz", 1720}, {"pulse.temperature_c", 62}, {"pause.power_w", 130}});
  const auto load = load_figures({one, two});
  CHECK(load.worked_pct == std::vector<double>{48, 50});
  REQUIRE(load.parts.size() == 2);
  CHECK(load.parts[0].name == "pulse");
  CHECK(load.parts[0].power_w == std::vector<double>{690, 700});
  CHECK(load.parts[1].clock_mhz.empty());
  CHECK(shown({one, two}) ==
        "the burn-in was to work 50 % of its time and worked 49 % (48 to 50), at most 2 % off, on 2 accelerators\n"
        "PART   ACCELERATORS  MIN W  MEDIAN W  MAX W  CLOCK MHZ  HOTTEST C\n"
        "pulse             2    690       695    700      1,710         62\n"
        "pause             2    120       125    130          -          -\n");
}

TEST_CASE("of a load without parts there is the line of its shares alone, and of no load nothing") {
  CHECK(shown({node_with({{"asked_pct", 100}, {"worked_pct", 97.5}, {"off_pct", 2.5}})}) ==
        "the burn-in worked 97.5 % of its time\n");
  // Stopped before it did anything: asked for, and nothing known of what was worked.
  CHECK(load_figures({node_with({{"asked_pct", 50}, {"worked_pct", std::nullopt}})}).empty());
  CHECK(load_figures({}).empty());
  // Parts that no load of kfab's has stay in the JSON.
  CHECK(load_figures({node_with({{"worked_pct", 1}, {"lunch.power_w", 5}})}).parts.empty());
}

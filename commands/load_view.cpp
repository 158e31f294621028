#include "commands/load_view.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <string_view>

#include <fmt/format.h>

#include "base/statistics.hpp"
#include "base/text.hpp"
#include "commands/report_shelf.hpp"
#include "term/table.hpp"

namespace kfab::commands {
namespace {

constexpr std::string_view part_names[] = {"step_25", "step_50", "step_75", "step_100", "pulse", "pause"};

constexpr std::string_view load_prefix = "burnin.load.";

// By metric, without the prefix; each sorted.
std::map<std::string, std::vector<double>, std::less<>> figures_of(const std::vector<ValidatedNode>& nodes) {
  std::map<std::string, std::vector<double>, std::less<>> out;
  for (const auto& node : nodes) {
    const WithReport whole(node);
    for (const auto& m : whole->report.measurements)
      if (m.metric.starts_with(load_prefix) && m.value) out[m.metric.substr(load_prefix.size())].push_back(*m.value);
  }
  for (auto& [metric, values] : out) std::sort(values.begin(), values.end());
  return out;
}

// "48 to 50" where several differ, in brackets behind what was said of the median; nothing else.
std::string range(const std::vector<double>& sorted) {
  const std::string least = format_number(sorted.front(), 1), most = format_number(sorted.back(), 1);
  return least == most ? std::string() : fmt::format(" ({} to {})", least, most);
}

}  // namespace

LoadFigures load_figures(const std::vector<ValidatedNode>& nodes) {
  const auto figures = figures_of(nodes);
  const auto of = [&](std::string_view metric) {
    const auto found = figures.find(metric);
    return found == figures.end() ? std::vector<double>() : found->second;
  };
  LoadFigures out{of("asked_pct"), of("worked_pct"), of("off_pct"), {}};
  for (const auto& name : part_names) {
    LoadPart part{std::string(name), of(fmt::format("{}.power_w", name)), of(fmt::format("{}.sm_clock_mhz", name)), of(fmt::format("{}.temperature_c", name))};
    if (!part.power_w.empty() || !part.clock_mhz.empty() || !part.temperature_c.empty()) out.parts.push_back(std::move(part));
  }
  return out;
}

void render(const LoadFigures& load, term::Writer& out) {
  if (!load.worked_pct.empty()) {
    const bool several = load.worked_pct.size() > 1;
    const bool shaped = !load.asked_pct.empty() && load.asked_pct.front() < 100;   // a steady load is asked to work all the time
    const std::string worked = fmt::format("worked {} %{}", format_number(median_of(load.worked_pct), 1), range(load.worked_pct));
    std::string line = fmt::format("the burn-in {} of its time", worked);
    if (shaped) line = fmt::format("the burn-in was to work {} %{} of its time and {}", format_number(median_of(load.asked_pct), 1), range(load.asked_pct), worked);
    if (shaped && !load.off_pct.empty()) line += fmt::format(", {}{} % off", several ? "at most " : "", format_number(load.off_pct.back(), 1));
    if (several) line += fmt::format(", on {} accelerators", load.worked_pct.size());
    out.line(line);
  }
  if (load.parts.empty()) return;
  const auto right = [](const char* title) { return term::Column{title, term::Align::right}; };
  term::Table table({{"Part"}, right("Accelerators"), right("Min W"), right("Median W"), right("Max W"), right("Clock MHz"), right("Hottest C")});
  const auto told = [](const std::vector<double>& values, double (*one)(const std::vector<double>&)) { return values.empty() ? std::string("-") : format_number(one(values), 1); };
  const auto least = [](const std::vector<double>& sorted) { return sorted.front(); };
  const auto middle = [](const std::vector<double>& sorted) { return median_of(sorted); };
  const auto most = [](const std::vector<double>& sorted) { return sorted.back(); };
  for (const LoadPart& part : load.parts)
    table.row({part.name, std::to_string(std::max({part.power_w.size(), part.clock_mhz.size(), part.temperature_c.size()})), told(part.power_w, least), told(part.power_w, middle),
               told(part.power_w, most), told(part.clock_mhz, middle), told(part.temperature_c, most)});
  out.table(table);
}

}  // namespace kfab::commands

#pragma once

#include <string>
#include <vector>

#include "commands/validate.hpp"

// What became of a burn-in's load: how much of the time it asked for and worked, and the power that each of its parts drew.
namespace kfab::commands {

// One part of a load that comes in steps or pulses, over all accelerators that told of it. Values are sorted.
struct LoadPart {
  std::string name;                                        // "step_25" .. "step_100", "pulse", "pause"
  std::vector<double> power_w, clock_mhz, temperature_c;   // mean power, median clock, highest temperature of each
};

// Figures of the metrics burnin.load.*, percent of the time of each accelerator, sorted; empty where none was told.
struct LoadFigures {
  std::vector<double> asked_pct, worked_pct, off_pct;
  std::vector<LoadPart> parts;                             // in the order in which a load has them
  bool empty() const { return worked_pct.empty() && parts.empty(); }
};
LoadFigures load_figures(const std::vector<ValidatedNode>&);

// One line of the shares, and a table of the parts where there are several.
void render(const LoadFigures&, term::Writer&);

}  // namespace kfab::commands

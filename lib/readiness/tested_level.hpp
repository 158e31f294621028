#pragma once

#include <string>
#include <string_view>
#include <vector>

// What the level of a record says was tested (AcceleratorRecord::level): "standard", "standard (shortened)", "memory+burnin at quick",
// "quick (pulsed, shortened)". Levels are quick, standard and soak, each trying at least what the one before does.
namespace kfab::readiness {

struct TestedLevel {
  std::vector<std::string> families;   // none: all
  int rank = -1;                       // of the level; -1 where it is not told
  bool whole = true;                   // false: cut short
  std::string load;                    // "pulsed", "stepped"; none: a steady one
};
TestedLevel tested_level(std::string_view level);

// The rank of a level; -1 for anything else: single families never stand for a whole level.
int rank_of(std::string_view level);
// Of a level that was cut short and otherwise whole, the level's; -1 for anything else.
int rank_if_whole(std::string_view level);
bool level_reached(std::string_view done, std::string_view asked);

// Whether a test tries at least what another one did. Steps and pulses try what a steady load does not, and the other way round.
bool covers(const TestedLevel& later, const TestedLevel& earlier);

}  // namespace kfab::readiness

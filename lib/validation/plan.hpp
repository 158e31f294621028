#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "json/value.hpp"
#include "manifest/model.hpp"
#include "validation/catalogue.hpp"

// What a node is asked to test, for how long, and what that is predicted to take. Pure: by the catalogue and the profile alone.
namespace kfab::validation {

// How the burn-in loads the accelerators over time (agent/devices/load_shape.hpp).
struct LoadOptions {
  std::string kind = "steady";               // steady | stepped | pulsed
  double period_s = 20;                      // of all four steps, or of a pulse and its pause
  double duty = 0.5;                         // a pulse's part of the period
  bool shaped() const { return kind != "steady"; }
};

struct RequestOptions {
  Level level = Level::quick;
  std::vector<std::string> families;         // empty: all
  std::optional<double> duration_s;          // overrides the level's; for soak the default is 8 h
  int threads = 0;                           // cpu
  std::optional<double> memory_fraction;     // cpu: of MemAvailable; cuda: of free memory
  std::optional<int> memory_cap_mib;
  std::vector<std::string> precisions, accelerators;
  LoadOptions load{};
  int share = 1;                             // agents that share one machine (demo): memory is divided by it
};

// What to send to a node of this profile, and what to expect of it.
struct TestPlan {
  std::string device;
  Level level = Level::quick;
  std::vector<std::string> families;
  LoadOptions load{};
  json::Object members;              // the task's own members, to be added to agent::request_header(...)
  double predicted_s = 0;            // wall time on the node for all its accelerators
  std::vector<std::pair<std::string, double>> family_s;   // how it is made up, in the order in which they run
  double deadline_s = 0;             // what to give the agent: prediction with room for slow devices
};
// Errors: no_tests_for_device for profiles of a device that nobody knows, unknown_test_family, load_too_long where the
// burn-in does not hold two periods of the load.
Result<TestPlan> plan_tests(const manifest::Profile&, const RequestOptions&);
// The device that tests a profile: its own statement, else cuda for nvidia, cpu for cpu, vendor otherwise.
std::string device_of(const manifest::Profile&);

}  // namespace kfab::validation

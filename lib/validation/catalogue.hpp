#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "json/value.hpp"
#include "manifest/model.hpp"

// Which checks there are, what they yield and how long they take. One table: the agent's request, the prediction, the
// man page and the judge all read it.
namespace kfab::validation {

enum class Level : std::uint8_t { quick, standard, soak };
std::string_view to_string(Level);
std::optional<Level> parse_level(std::string_view);

struct Metric {
  std::string_view id, unit;
  std::string_view means;
};

// A check: one family of one device at all levels. Durations are seconds for one accelerator.
struct Check {
  std::string_view family;           // health | memory | bandwidth | burnin
  std::string_view device;           // cpu | cuda | vendor
  std::string_view title;
  double quick_s, standard_s;        // soak takes what is asked for, in parts of `soak_share`
  double soak_share;
  std::span<const Metric> metrics;
  double fixed_s = 0;                // what it takes at any level, whatever time is asked for
  std::string_view not_judged;       // what leaves it without a verdict, beside the rules that hold for every check
};
std::span<const Check> all_checks();
// What a check takes at a level on one accelerator, in seconds; of a soak its share of `soak_s`. 0: it is not run.
double seconds_of(const Check&, Level, double soak_s);
// The least number of samples of each figure.
int samples_of(Level);
// From so many GPUs on, which take turns at copying, standard takes so few samples of each copy.
inline constexpr int many_gpus = 3, samples_of_many = 10;
// What a soak lasts when nobody says it.
inline constexpr double soak_default_s = 8 * 3600;
// What a metric of that device means, by its id or the pattern that it is of ("burnin.gemm_<p>.tflops"); null: no check yields it.
const Metric* find_metric(std::string_view id, std::string_view device);
// What comes with every family: how far counters moved, XIDs, the PCIe link under load. Their metrics belong to no family, so
// that criteria on them hold whatever is tested.
std::span<const Metric> common_metrics();
std::vector<std::string> all_families();
// The family of a metric id ("burnin" for "burnin.gemm_fp32.tflops"); empty when it belongs to none.
std::string_view family_of(std::string_view metric);

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

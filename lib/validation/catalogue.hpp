#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// Which checks there are, what they yield and how long they take. One table: the plan of a node's tests (plan.hpp), the man page
// and the judge all read it.
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
  double fixed_s = 0;                // what it takes at any level, whatever time is asked for; of the cpu device as measured on two processors
  double least_s = 0;                // the least time of one accelerator that holds one round, every result compared
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

}  // namespace kfab::validation

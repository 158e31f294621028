#pragma once

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "manifest/load.hpp"
#include "validation/measurement.hpp"

// A site of H200 whose nodes told a figure for every metric that the criteria ask for, and a step of a benchmark over it.
namespace kfab::bench {

using namespace kfab::validation;

// Of a run over a whole site on two cores.
struct Limits { double wall_s, mib; };
inline constexpr Limits whole_site{300, 1024};
inline constexpr Limits whole_site_in_memory{std::numeric_limits<double>::infinity(), 1024};
inline constexpr const char* model = "NVIDIA H200";

inline std::string manifest_of(int nodes, int accelerators) {
  return fmt::format(R"(apiVersion: kfab/v1
kind: Site
metadata: {{name: bench, title: Bench, country: KR, as_of: 2026-11-22}}
spec:
  kind: campus
  tranches:
    - {{name: p1, due: 2027-11-30, targets: [{{profile: h200, nodes: {0}, accelerators: {1}}}], ready_when: {{level: standard}}}}
  nodes:
    - {{group: gpu, tranche: p1, profile: h200, range: "n[00001-{0:05}]", rack: "r[0001-{2:04}]", nodes_per_rack: 50}}
---
apiVersion: kfab/v1
kind: Profile
metadata: {{name: h200, version: "1", title: eight H200}}
spec: {{vendor: nvidia, accelerator: H200, per_node: {3}, nameplate: 10.2 kW, nominal: {{hbm_gbps: 4800}}, criteria: nvidia-h200}}
)", nodes, nodes * accelerators, (nodes + 49) / 50, accelerators);
}

// A sound figure for what all criteria on one metric ask, which differs a little from one accelerator to the next; one in a thousand
// is slow beside its peers and above every floor.
inline double figure_of(const manifest::CriteriaSet& set, const manifest::Criterion& first, int number) {
  const double spread = 1 + 0.004 * std::sin(number * 12.9898);
  const bool slow = number % 1000 == 137;
  double floor = 0, ceiling = 0;
  bool rate = false, bounded = false;
  for (const auto& c : set.criteria) {
    if (c.metric != first.metric || c.basis == manifest::Basis::fleet_relative) continue;
    if (c.direction == manifest::Direction::equal) return c.limit.value_or(0);
    if (c.direction == manifest::Direction::max) ceiling = c.limit.value_or(0), bounded = true;
    else floor = std::max({floor, c.limit.value_or(0), c.nominal_key.empty() ? 0.0 : 4800.0});
  }
  for (const auto unit : {"gbps", "tflops", "tops"}) rate |= first.unit == unit;
  if (rate) return 1.2 * std::max(floor, 500.0) * spread * (slow ? 0.9 : 1);
  if (first.unit == "percent" && floor > 0) return std::max(floor, 99.0);
  if (first.unit == "c") return 60 * spread;
  return bounded ? std::min(ceiling, 0.0) : floor * 1.1;
}

inline TestReport report_of(const manifest::CriteriaSet& set, int node, int accelerators) {
  TestReport report;
  for (int i = 0; i < accelerators; ++i) {
    const std::string id = fmt::format("GPU-{:08x}-0000-4000-8000-{:012x}", node, i);
    report.accelerators.push_back({id, "cuda", model, fmt::format("0000:{:02x}:00.0", 16 * i), "", i, i / 4, std::uint64_t{141} << 30});
    std::set<std::string> metrics, tests;
    for (const auto& c : set.criteria) {
      if (!metrics.insert(c.metric).second) continue;
      const auto dot = c.metric.find('.');
      const std::string family = c.metric.substr(0, dot), rest = c.metric.substr(dot + 1);
      const std::string test = family == "burnin" || family == "bandwidth" ? rest.substr(0, rest.find('.')) : family;
      std::vector<std::string> of{test};
      if (family == "health") of = {"health"};
      if (family == "counters" || family == "pcie") of = {"health", "memory", "bandwidth", "burnin"};   // told for each family
      for (const auto& one : of) {
        report.measurements.push_back({id, "cuda", one, c.metric, c.unit, figure_of(set, c, node * accelerators + i), {}, "", family == "health" ? "" : "512 MiB, 20 samples"});
        tests.insert(one);
      }
    }
    for (const auto& test : tests) {
      report.measurements.push_back({id, "cuda", test, "selftest." + test + ".found", "ratio", 1.0, {}, "", ""});
      report.statuses.push_back({id, "cuda", test, TestState::ran, "", "", 12.5});
    }
  }
  return report;
}

// One step in a process of its own, so that its memory is its own.
inline bool step(const char* what, const std::vector<std::string>& arguments, std::optional<Limits> limits) {
  std::fflush(stdout);
  const auto begin = std::chrono::steady_clock::now();
  const pid_t child = ::fork();
  if (child == 0) {
    std::string self = "/proc/self/exe";
    std::vector<std::string> words = arguments;
    std::vector<char*> argv{self.data()};
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    ::execv(self.c_str(), argv.data());
    ::_exit(127);
  }
  int status = 0;
  rusage used{};
  if (child < 0 || ::wait4(child, &status, 0, &used) != child) return false;
  const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const double cpu = double(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + double(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
  const double mib = double(used.ru_maxrss) / 1024;
  const bool met = !limits || (wall <= limits->wall_s && mib <= limits->mib);
  const std::string said = !limits ? std::string() : fmt::format("  (at most {}{:.0f} MiB: {})", std::isfinite(limits->wall_s) ? fmt::format("{:.0f} s, ", limits->wall_s) : "", limits->mib, met ? "met" : "NOT MET");
  std::printf("%-36s %7.1f s wall %7.1f s cpu %6.0f MiB%s\n", what, wall, cpu, mib, said.c_str());
  return met && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace kfab::bench

// How long `kfab judge` takes over a whole site, and how much memory: fills a store with the reports of 32,500 nodes of eight,
// with a figure for every metric that the criteria of the H200 ask for, and judges them again, first keeping nothing, then with
// every verdict kept. The limits are those of a run over such a site: 5 minutes and 1 GiB on two cores.
//   bench_judge [NODES] [ACCELERATORS_PER_NODE]      default 32500 8
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include <fmt/format.h>

#include "base/text.hpp"
#include "commands/judge.hpp"
#include "manifest/load.hpp"
#include "store/store.hpp"
#include "validation/measurement.hpp"

namespace {

using namespace kfab;
using namespace kfab::validation;

constexpr double limit_s = 300, limit_mib = 1024;
constexpr const char* model = "NVIDIA H200";

std::string manifest_of(int nodes, int accelerators) {
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
double figure_of(const manifest::CriteriaSet& set, const manifest::Criterion& first, int number) {
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

TestReport report_of(const manifest::CriteriaSet& set, int node, int accelerators) {
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

int fill(const std::filesystem::path& dir, int nodes, int accelerators) {
  const auto set = manifest::built_in_criteria("nvidia-h200");
  auto store = store::Store::open(dir / "state", "bench");
  if (!set || !store) return 1;
  const auto now = make_system_clock()->now();
  if (!(*store)->begin_run({"run-0", "validate", {}, "bench", "", "", "", now, {}, {}})) return 1;
  store::Findings batch;
  std::size_t figures = 0;
  for (int n = 1; n <= nodes; ++n) {
    const TestReport report = report_of(*set, n, accelerators);
    figures += report.measurements.size();
    NodeJudgement judgement;
    judgement.verdict = Verdict::pass;
    for (const auto& a : report.accelerators) judgement.accelerators.push_back({a.id, a.device, a.model, a.index, Verdict::pass, {}});
    json::Object detail{{"level", "standard"}, {"device", "cuda"}, {"criteria", "nvidia-h200@1"}};
    commands::add_report(detail, report, judgement, {"health", "memory", "bandwidth", "burnin"}, {}, false, "");
    store::NodeRecord record{"run-0", fmt::format("n{:05}", n), fmt::format("BOARD-{}", n), "validate", now, NodeOutcome::ok, Verdict::pass, "", {}};
    record.detail = std::move(detail);
    batch.nodes.push_back(std::move(record));
    if (n % 50 != 0 && n != nodes) continue;
    if (!(*store)->put(batch)) return 1;
    batch = {};
  }
  std::printf("filled with %d nodes x %d accelerators, %zu figures, %zu MiB\n", nodes, accelerators, figures, static_cast<std::size_t>(std::filesystem::file_size(dir / "state/kfab.db") >> 20));
  return 0;
}

enum class Told { table, kept, json };

int judge(const std::filesystem::path& dir, Told told) {
  std::ostringstream out, err;
  const auto clock = make_system_clock();
  NullEventSink events;
  CancelToken cancel;
  Env env{.out = out, .err = err, .clock = *clock, .events = events, .cancel = cancel, .getenv = [](std::string_view) { return std::optional<std::string>(); },
          .state_dir = dir / "state", .run_id = "run-1", .started_at = clock->now(), .read_stdin = {}, .confirm = {}};
  commands::JudgeOptions options;
  options.manifest = (dir / "site.yaml").string();
  options.dry_run = told != Told::kept;
  const auto output = commands::run_judge(options, env);
  for (const auto& diagnostic : output.diagnostics) std::printf("  %s\n", diagnostic.message.c_str());
  if (told != Told::json) {
    term::Writer writer(out, {});
    output.render(writer);
    // The answer must be one: all judged, and the slow ones found, which are degraded beside their peers.
    const std::string text = out.str();
    return output.outcome == Outcome::no && text.find("degraded") != std::string::npos ? 0 : 1;
  }
  const json::Value data = output.make_data();
  const auto& counts = data["counts"];
  std::printf("  %lld nodes judged, %lld with another verdict, %lld figures lie off their peers\n", static_cast<long long>(counts.int_or("judged", 0)),
              static_cast<long long>(counts.int_or("changed", 0)), static_cast<long long>(data["fleet"].int_or("outliers_in_all", 0)));
  return counts.int_or("judged", 0) > 0 && counts.int_or("without_report", 1) == 0 && counts.int_or("changed", 0) < counts.int_or("judged", 0) ? 0 : 1;
}

// One step in a process of its own, so that its memory is its own.
bool step(const char* what, const char* self, const char* word, const std::string& dir, int nodes, int accelerators, bool limited) {
  std::fflush(stdout);
  const auto begin = std::chrono::steady_clock::now();
  const pid_t child = ::fork();
  if (child == 0) {
    ::execl(self, self, word, dir.c_str(), std::to_string(nodes).c_str(), std::to_string(accelerators).c_str(), nullptr);
    ::_exit(127);
  }
  int status = 0;
  rusage used{};
  if (child < 0 || ::wait4(child, &status, 0, &used) != child) return false;
  const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const double cpu = double(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + double(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
  const double mib = double(used.ru_maxrss) / 1024;
  const bool met = !limited || (wall <= limit_s && mib <= limit_mib);
  std::printf("%-36s %7.1f s wall %7.1f s cpu %6.0f MiB%s\n", what, wall, cpu, mib, !limited ? "" : met ? "  (limits 300 s, 1024 MiB: met)" : "  (limits 300 s, 1024 MiB: NOT MET)");
  return met && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string word = argc > 1 ? argv[1] : "";
  if (argc == 5 && word == "fill") return fill(argv[2], std::atoi(argv[3]), std::atoi(argv[4]));
  if (argc == 5 && (word == "look" || word == "keep" || word == "json")) return judge(argv[2], word == "keep" ? Told::kept : word == "json" ? Told::json : Told::table);
  const int nodes = argc > 1 ? std::atoi(argv[1]) : 32'500, accelerators = argc > 2 ? std::atoi(argv[2]) : 8;
  if (nodes < 1 || nodes > 99'999 || accelerators < 1) return 2;
  std::string pattern = (std::filesystem::temp_directory_path() / "kfab-bench-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) return 1;
  std::ofstream(pattern + "/site.yaml") << manifest_of(nodes, accelerators);
  const char* self = "/proc/self/exe";
  bool met = step("filled", self, "fill", pattern, nodes, accelerators, false);
  met = met && step("kfab judge --dry-run", self, "look", pattern, nodes, accelerators, true);
  met = step("kfab judge --dry-run -o json", self, "json", pattern, nodes, accelerators, false) && met;
  met = step("kfab judge", self, "keep", pattern, nodes, accelerators, true) && met;
  std::filesystem::remove_all(pattern);
  return met ? 0 : 1;
}

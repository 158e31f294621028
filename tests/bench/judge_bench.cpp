// How long `kfab judge` takes over a whole site, and how much memory: fills a store with the reports of 32,500 nodes of eight,
// with a figure for every metric that the criteria of the H200 ask for, and judges them again, first keeping nothing, then with
// every verdict kept. The limits are those of a run over such a site: 5 minutes and 1 GiB on two cores.
//   bench_judge [NODES] [ACCELERATORS_PER_NODE]      default 32500 8
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <fmt/format.h>

#include "base/text.hpp"
#include "bench/tested_site.hpp"
#include "commands/judge.hpp"
#include "manifest/load.hpp"
#include "store/store.hpp"
#include "validation/measurement.hpp"

namespace {

using namespace kfab;
using namespace kfab::validation;
using namespace kfab::bench;

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
  const std::string of = std::to_string(nodes), each = std::to_string(accelerators);
  bool met = step("filled", {"fill", pattern, of, each}, std::nullopt);
  met = met && step("kfab judge --dry-run", {"look", pattern, of, each}, whole_site);
  met = step("kfab judge --dry-run -o json", {"json", pattern, of, each}, std::nullopt) && met;
  met = step("kfab judge", {"keep", pattern, of, each}, whole_site) && met;
  std::filesystem::remove_all(pattern);
  return met ? 0 : 1;
}

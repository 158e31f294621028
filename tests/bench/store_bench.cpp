// How long readiness waits for the store: fills a store with the evidence of a whole site and reads it back.
//   bench_store [NODES] [ACCELERATORS_PER_NODE] [RUNS]     default 32500 8 2, which is 260,000 accelerators
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <string>

#include <fmt/format.h>

#include "store/store.hpp"

namespace {

using namespace kfab;
using namespace kfab::store;

struct Taken { double wall_s, cpu_s; };

// On a machine that does other things as well, the processor time is the figure to compare.
Taken time_of(const auto& job) {
  const auto start = std::chrono::steady_clock::now();
  const auto cpu = std::clock();
  job();
  return {std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), double(std::clock() - cpu) / CLOCKS_PER_SEC};
}

constexpr std::int64_t epoch_ms = 1'795'000'000'000;

NodeRecord node_record(const std::string& run, const std::string& node, const char* step, std::int64_t ms) {
  NodeRecord record{run, node, "BOARD-" + node, step, Timestamp{std::chrono::milliseconds{epoch_ms + ms}}, NodeOutcome::ok, Verdict::pass, "", {}};
  json::Array disks;
  for (int i = 0; i < 10; ++i) disks.push_back(json::Object{{"name", fmt::format("nvme{}n1", i)}, {"model", "SAMSUNG MZWLO3T8HCLS-00A07"}, {"bytes", 3840755982336}});
  record.detail = json::Object{{"desired_sha256", std::string(64, 'a')}, {"kernel", "6.1.0-28-amd64"}, {"disks", std::move(disks)}};
  return record;
}

Findings findings(const std::string& run, int node_index, int accelerators, std::int64_t ms) {
  Findings found;
  const std::string node = fmt::format("r{:04}n{:02}", node_index / 50, node_index % 50);
  for (const char* step : {"reach", "inventory", "provision", "validate"}) found.nodes.push_back(node_record(run, node, step, ms));
  const Timestamp at{std::chrono::milliseconds{epoch_ms + ms}};
  for (int i = 0; i < accelerators; ++i) {
    const std::string id = fmt::format("GPU-{:08x}-0000-4000-8000-{:012x}", node_index, i);
    found.accelerators.push_back({run, node, id, "cuda", "NVIDIA B200", i, at, Verdict::pass, "", "standard", "default@1",
                                  std::string(64, 'c'), std::string(64, 'd')});
    for (const char* metric : {"burnin.gemm_bf16.tflops", "burnin.gemm_bf16.mismatches", "burnin.power_w", "memory.errors", "bandwidth.h2d_gbps"})
      found.measurements.push_back({run, node, id, "cuda", "gemm_bf16", metric, metric[7] == 'p' ? "w" : "tflops", 1234.5, at, Verdict::pass,
                                    "gemm-bf16", 1000.0, ""});
  }
  return found;
}

}  // namespace

int main(int argc, char** argv) {
  const int nodes = argc > 1 ? std::atoi(argv[1]) : 32'500;
  const int accelerators = argc > 2 ? std::atoi(argv[2]) : 8;
  const int runs = argc > 3 ? std::atoi(argv[3]) : 2;
  std::string pattern = (std::filesystem::temp_directory_path() / "kfab-bench-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) return 1;
  const std::filesystem::path dir = pattern;

  const auto fill = [&] {
    auto store = Store::open(dir, "ulsan");
    for (int run = 0; run < runs; ++run) {
      const std::string id = fmt::format("run-{}", run);
      if (!(*store)->begin_run({id, "validate", {}, "ulsan", "", "", "", {}, {}, {}})) std::abort();
      Findings batch;
      for (int node = 0; node < nodes; ++node) {
        Findings one = findings(id, node, accelerators, run * 1000);
        std::move(one.nodes.begin(), one.nodes.end(), std::back_inserter(batch.nodes));
        std::move(one.accelerators.begin(), one.accelerators.end(), std::back_inserter(batch.accelerators));
        std::move(one.measurements.begin(), one.measurements.end(), std::back_inserter(batch.measurements));
        if (node % 200 != 199 && node + 1 != nodes) continue;
        if (!(*store)->put(batch)) std::abort();
        batch = {};
      }
    }
  };
  fmt::print("filled with {} nodes x {} accelerators x {} runs in {:.1f} s\n", nodes, accelerators, runs, time_of(fill).wall_s);
  fmt::print("file: {} MiB\n", std::filesystem::file_size(dir / "kfab.db") >> 20);

  struct Row { const char* what; EvidenceScope scope; std::optional<Timestamp> as_of; };
  const Timestamp later{std::chrono::milliseconds{epoch_ms + 10'000'000}}, earlier{std::chrono::milliseconds{epoch_ms}};
  const Row rows[] = {
      {"what readiness reads: short details, power", {false, EvidenceScope::Figures::power}, later},
      {"verdicts alone", {false, EvidenceScope::Figures::none}, later},
      {"everything", {true, EvidenceScope::Figures::all}, later},
      {"what readiness reads, as of an earlier run", {false, EvidenceScope::Figures::power}, earlier},
  };
  for (const Row& row : rows) {
    std::size_t found = 0, figures = 0;
    const Taken taken = time_of([&] {
      auto store = Store::open(dir, "ulsan");
      auto evidence = (*store)->evidence("ulsan", row.as_of, row.scope);
      if (!evidence) std::abort();
      found = evidence->accelerators.size();
      figures = evidence->measurements.size();
    });
    fmt::print("{:44} {:6.2f} s, {:5.2f} s of processor  ({} accelerators, {} figures)\n", row.what, taken.wall_s, taken.cpu_s, found, figures);
  }

  auto store = Store::open(dir, "ulsan");
  if (!(*store)->begin_run({"single", "validate", {}, "ulsan", "", "", "", {}, {}, {}})) std::abort();
  const Taken each = time_of([&] {
    for (int i = 0; i < 200; ++i)
      if (!(*store)->put(findings("single", i, accelerators, 5000))) std::abort();
  });
  fmt::print("{:44} {:6.2f} ms\n", "one node put and synced", each.wall_s * 1000 / 200);
  std::filesystem::remove_all(dir);
  return 0;
}

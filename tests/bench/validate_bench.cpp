// What `kfab validate` keeps of a whole site in memory, and how long it takes once the nodes have told: reads the messages of window after
// window of nodes of eight H200, judges and keeps each node, holds all beside each other and writes the answer, as JSON and as tables. What
// the nodes do, and the connections, are not in it. The limit is that of a run over a whole site: 1 GiB.
//   bench_validate [NODES] [ACCELERATORS_PER_NODE] [WINDOW]      default 32500 8 512
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <streambuf>

#include "base/text.hpp"
#include "bench/tested_site.hpp"
#include "commands/report_shelf.hpp"
#include "commands/validate_nodes.hpp"

namespace {

using namespace kfab;
using namespace kfab::bench;
using namespace kfab::commands;

constexpr int samples = 12;   // of each figure, as an agent takes them of most

// Where the answer goes: counted, and looked through for a word.
class Counted final : public std::streambuf {
 public:
  std::size_t bytes = 0;

 private:
  int overflow(int c) override { return ++bytes, c; }
  std::streamsize xsputn(const char*, std::streamsize size) override { return bytes += static_cast<std::size_t>(size), size; }
};

// The report in the words of an agent.
std::vector<json::Value> messages_of_agent(const TestReport& report) {
  std::vector<json::Value> out;
  for (const auto& a : report.accelerators)
    out.emplace_back(json::Object{{"type", "accelerator"}, {"id", a.id}, {"device", a.device}, {"model", a.model}, {"index", a.index}, {"pci_bus_id", a.pci_bus_id}, {"memory_bytes", a.memory_bytes}});
  for (const auto& m : report.measurements) {
    json::Array taken;
    for (int s = 0; s < samples; ++s) taken.emplace_back(m.value.value_or(0) * (1 + 0.001 * s));
    out.emplace_back(json::Object{{"type", "measurement"}, {"accelerator", m.accelerator}, {"device", m.device}, {"test", m.test}, {"metric", m.metric}, {"value", m.value}, {"unit", m.unit},
                                  {"samples", std::move(taken)}, {"detail", m.detail}});
  }
  for (const auto& s : report.statuses)
    out.emplace_back(json::Object{{"type", "test_done"}, {"accelerator", s.accelerator}, {"device", s.device}, {"test", s.test}, {"status", "ran"}, {"duration_s", s.duration_s}});
  return out;
}

int run(const std::filesystem::path& dir, std::size_t nodes, int accelerators, std::size_t window, bool put_reports_away) {
  const auto clock = make_system_clock();
  NullEventSink events;
  CancelToken cancel;
  std::ostringstream nowhere;
  Env env{.out = nowhere, .err = nowhere, .clock = *clock, .events = events, .cancel = cancel, .getenv = [](std::string_view) { return std::optional<std::string>(); },
          .state_dir = dir / (put_reports_away ? "state" : "state-held"), .run_id = "run-1", .started_at = clock->now(), .read_stdin = {}, .confirm = {}};
  auto loaded = load_manifest((dir / "site.yaml").string(), env);
  const auto* site = loaded.site();
  if (!site) return 1;
  NodeTest test = criteria_of(*site, site->find_profile("h200"));
  test.plan.device = "cuda";
  test.plan.families = validation::all_families();
  test.plan.level = validation::Level::standard;
  auto recorder = Recorder::begin(env, "validate", {"bench", ""});
  if (!recorder) return 1;

  ValidateResult result;
  result.families = test.plan.families;
  result.nodes.resize(nodes);
  const auto shelf = std::make_shared<Shelf>(env.state_dir);
  const auto begin = std::chrono::steady_clock::now();
  for (std::size_t first = 0; first < nodes; first += window) {
    const std::size_t end = std::min(nodes, first + window);
    ReportReaders reports(end - first);
    const auto take = reports.take();
    for (std::size_t i = first; i < end; ++i)
      for (const auto& message : messages_of_agent(report_of(*test.criteria, static_cast<int>(i), accelerators))) take(i - first, message);
    for (std::size_t i = first; i < end; ++i) {
      AgentRun said;
      said.end.node = site->nodes[i].name;
      said.end.outcome = NodeOutcome::ok;
      said.end.hello = json::Object{{"board_serial", fmt::format("BOARD-{}", i)}};
      ValidatedNode node = judged(test, said, reports.finish(i - first));
      (*recorder)->put(findings_of(env, env.run_id, test, said, node));
      if (put_reports_away) put_away(node, shelf);
      result.nodes[i] = std::move(node);
    }
  }
  const auto since = [](auto then) { return std::chrono::duration<double>(std::chrono::steady_clock::now() - then).count(); };
  const double told_s = since(begin);
  std::vector<const manifest::Node*> places;
  for (const auto& node : site->nodes) places.push_back(&node);
  const auto held = std::chrono::steady_clock::now();
  result.fleet = judge_beside_peers(result.nodes, std::vector<NodeTest>(nodes, test), places, env.run_id, env, **recorder);
  const double beside_s = since(held);

  const auto answer = std::chrono::steady_clock::now();
  CommandOutput output = conclude(std::move(result), {}, env);
  Counted json_bytes, text_bytes;
  std::ostream json_out(&json_bytes), text_out(&text_bytes);
  json::Envelope envelope;
  envelope.data = output.make_data();
  envelope.rows = output.rows;
  json::write(json_out, std::move(envelope));
  term::Writer writer(text_out, {});
  output.render(writer);
  std::printf("  judged and kept %.1f ms a node, beside each other %.1f ms, answer %.1f ms; JSON %zu MiB, %zu MiB put into a file\n", told_s * 1e3 / double(nodes),
              beside_s * 1e3 / double(nodes), since(answer) * 1e3 / double(nodes), json_bytes.bytes >> 20, shelf->bytes_in_file() >> 20);
  (*recorder)->finish(output);
  // The slow ones are found beside their peers.
  return output.outcome == Outcome::no && text_bytes.bytes > 0 && json_bytes.bytes > nodes * 1000 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string word = argc > 1 ? argv[1] : "";
  const auto number = [&](int at, int otherwise) { return argc > at ? std::atoi(argv[at]) : otherwise; };
  if (argc == 6 && (word == "away" || word == "held")) return run(argv[2], static_cast<std::size_t>(number(3, 0)), number(4, 0), static_cast<std::size_t>(number(5, 0)), word == "away");
  const int nodes = number(1, 32'500), accelerators = number(2, 8), window = number(3, 512);
  if (nodes < 1 || nodes > 99'999 || accelerators < 1 || window < 1) return 2;
  std::string pattern = (std::filesystem::temp_directory_path() / "kfab-bench-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) return 1;
  std::ofstream(pattern + "/site.yaml") << manifest_of(nodes, accelerators);
  const auto step_of = [&](const char* what, const char* how, int of, std::optional<Limits> limits) {
    return step(what, {how, pattern, std::to_string(of), std::to_string(accelerators), std::to_string(window)}, limits);
  };
  bool met = step_of(fmt::format("validate, {} nodes", nodes).c_str(), "away", nodes, whole_site_in_memory);
  const int few = std::min(nodes, 200);
  met = step_of(fmt::format("{} nodes, reports in memory", few).c_str(), "held", few, std::nullopt) && met;
  std::filesystem::remove_all(pattern);
  return met ? 0 : 1;
}

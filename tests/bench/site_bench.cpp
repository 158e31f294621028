// `true` on a whole simulated site from one control host, some nodes dead:
//   bench_site NODES DEAD_PERCENT WINDOW [SIMULATOR_THREADS]
// Half of the dead never answer a SYN, half take the connection and say nothing. Every node must be accounted for: the
// healthy are ok, the dead are not. The simulator shares the machine; its CPU is told beside the client's.
#include <fmt/core.h>
#include <sys/resource.h>

#include <array>
#include <chrono>
#include <cstdlib>

#include "fleet/fleet.hpp"
#include "fleet/simulator_process.hpp"

using namespace kfab;
using fleet::test::SimulatorProcess;

namespace {

double cpu_seconds(int who) {
  rusage used{};
  ::getrusage(who, &used);
  const auto seconds = [](const timeval& time) { return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6; };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}
double peak_mib() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  return static_cast<double>(used.ru_maxrss) / 1024;
}

// Node i of the site, its address past those that a machine uses itself.
std::string address_of(std::size_t i) {
  const std::size_t value = i + 1;
  return fmt::format("127.{}.{}.{}", 64 + (value >> 16), value >> 8 & 255, value & 255);
}

struct Plan {
  std::vector<bool> dead;
  std::vector<std::string> arguments;
};
Plan plan_site(std::size_t nodes, double dead_percent, const std::string& threads) {
  Plan plan{std::vector<bool>(nodes, false), {"--threads", threads}};
  const auto dead = static_cast<std::size_t>(static_cast<double>(nodes) * dead_percent / 100 + 0.5);
  for (std::size_t k = 0; k < dead; ++k) {
    const std::size_t i = k * nodes / dead;   // spread over the site
    plan.dead[i] = true;
    plan.arguments.insert(plan.arguments.end(), {"--node", address_of(i) + (k % 2 == 0 ? " black_hole" : " stall@accept")});
  }
  return plan;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    fmt::print(stderr, "usage: bench_site NODES DEAD_PERCENT WINDOW [SIMULATOR_THREADS]\n");
    return 2;
  }
  const auto nodes = static_cast<std::size_t>(std::atoll(argv[1]));
  const Plan plan = plan_site(nodes, std::atof(argv[2]), argc > 4 ? argv[4] : "1");
  double simulator_cpu = 0, wall = 0, cpu = 0, before_mib = 0;
  std::vector<fleet::CommandResult> results;
  long long most_open = 0;
  std::string simulator_said;
  {
    SimulatorProcess simulator(KFAB_NODE_SIMULATOR, plan.arguments);
    if (simulator.port <= 0) {
      fmt::print(stderr, "the simulator did not start\n");
      return 2;
    }
    std::vector<ssh::Target> targets;
    for (std::size_t i = 0; i < nodes; ++i) targets.push_back(simulator.target(fmt::format("n{:05}", i), address_of(i)));
    fleet::FleetOptions options;
    options.window = static_cast<std::size_t>(std::atoll(argv[3]));
    ssh::TransportOptions with;   // never the keys of whoever measures
    auto transport = ssh::make_transport(with);
    auto clock = make_system_clock();
    NullEventSink sink;
    CancelToken cancel;
    before_mib = peak_mib();
    const double cpu_before = cpu_seconds(RUSAGE_SELF);
    const auto begin = std::chrono::steady_clock::now();
    results = fleet::run_command(*transport, targets, "true", "", options, *clock, sink, cancel);
    wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    cpu = cpu_seconds(RUSAGE_SELF) - cpu_before;
    most_open = simulator.stat("most_open");
    simulator_said = simulator.last_stats;
  }
  simulator_cpu = cpu_seconds(RUSAGE_CHILDREN);

  std::array<std::size_t, all_node_outcomes.size()> counts{};
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < results.size(); ++i) {
    ++counts[static_cast<std::size_t>(results[i].outcome)];
    if ((results[i].outcome == NodeOutcome::ok) == !plan.dead[i]) continue;
    if (++wrong <= 5) fmt::print("  wrong: {} is {}: {}\n", results[i].node, to_string(results[i].outcome), results[i].why ? results[i].why->message : "");
  }
  fmt::print("{} nodes, {} % dead, window {}: wall {:.1f} s, client CPU {:.1f} s ({:.2f} ms per node), peak RSS {:.0f} MiB ({:.0f} before)\n ", nodes,
             argv[2], argv[3], wall, cpu, cpu * 1000 / static_cast<double>(nodes), peak_mib(), before_mib);
  for (const NodeOutcome outcome : all_node_outcomes) fmt::print(" {} {}", counts[static_cast<std::size_t>(outcome)], to_string(outcome));
  fmt::print("; {} wrong; the simulator held {} sessions at once and took {:.1f} s CPU\n  {}\n", wrong, most_open, simulator_cpu, simulator_said);
  constexpr double most_wall_s = 300, most_mib = 1024;
  const auto say = [](bool met, const std::string& what) {
    fmt::print("{}  {}\n", met ? "met    " : "NOT MET", what);
    return met;
  };
  bool met = say(wrong == 0 && results.size() == nodes, fmt::format("every node accounted for, {} told wrong", wrong));
  met = say(wall <= most_wall_s, fmt::format("wall {:.0f} s (asked: <= {:.0f} s)", wall, most_wall_s)) && met;
  met = say(peak_mib() <= most_mib, fmt::format("peak memory {:.0f} MiB (asked: <= {:.0f} MiB)", peak_mib(), most_mib)) && met;
  return met ? 0 : 1;
}

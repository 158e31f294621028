// What `exec true` costs the control host per node: connect, log in, run, close, all nodes behind one sshd.
//   bench_fleet SSHD_DIR NODES WINDOW
//   bench_fleet SSHD_DIR memory          what one more open connection takes: 1 if that is more than it may be
// SSHD_DIR is one that tests/fleet/sshd.sh has started. The same with ssh(1):
//   time sh -c 'for i in $(seq 50); do ssh -F none -o BatchMode=yes -i DIR/id_ed25519 -o UserKnownHostsFile=DIR/known_hosts -p PORT 127.0.0.1 true; done'
#include <sys/resource.h>

#include <chrono>
#include <cstdlib>
#include <fmt/core.h>

#include "base/file.hpp"
#include "fleet/fleet.hpp"

using namespace kfab;

namespace {

double cpu_seconds(const rusage& used) {
  const auto seconds = [](const timeval& time) { return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6; };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}
rusage used_now() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  return used;
}

std::vector<ssh::Target> targets_of(const std::string& dir, std::size_t count, int port) {
  std::vector<ssh::Target> targets(count);
  for (std::size_t i = 0; i < targets.size(); ++i) {
    targets[i].node = fmt::format("n{}", i);
    targets[i].address = "127.0.0.1";
    targets[i].port = static_cast<std::uint16_t>(port);
    targets[i].identity_files = {dir + "/id_ed25519"};
    targets[i].known_hosts = {dir + "/known_hosts"};
  }
  return targets;
}

struct Run {
  std::size_t good = 0;
  double wall = 0;
  rusage before{}, after{};
};
Run run(const std::vector<ssh::Target>& targets, std::size_t window, const std::string& line) {
  fleet::FleetOptions options;
  options.window = window;
  options.deadlines.banner = options.deadlines.kex = options.deadlines.auth = options.deadlines.channel = std::chrono::seconds(120);
  ssh::TransportOptions with = ssh::options_from_environment();
  with.home.clear();   // never the keys of whoever measures
  with.agent_socket.clear();
  auto transport = ssh::make_transport(with);
  auto clock = make_system_clock();
  NullEventSink sink;
  CancelToken cancel;
  Run done;
  done.before = used_now();
  const auto begin = std::chrono::steady_clock::now();
  const auto results = fleet::run_command(*transport, targets, line, "", options, *clock, sink, cancel);
  done.wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  done.after = used_now();
  for (const auto& result : results) done.good += result.outcome == NodeOutcome::ok ? 1 : 0;
  return done;
}

// The peak grows with the connections that were open at once: the slope is what one of them takes, whatever else does.
int memory(const std::string& dir, int port) {
  constexpr std::size_t few = 32, many = 288;
  constexpr double most_kib = 160;
  const Run first = run(targets_of(dir, few, port), few, "sleep 2");
  const Run second = run(targets_of(dir, many, port), many, "sleep 20");
  if (first.good != few || second.good != many) {
    fmt::print("not measured: {} of {} and {} of {} nodes were ok\n", first.good, few, second.good, many);
    return 1;
  }
  const double kib = static_cast<double>(second.after.ru_maxrss - first.after.ru_maxrss) / static_cast<double>(many - few);
  fmt::print("{}  memory per open connection: {:.0f} KiB, from {} and {} open at once (asked: <= {:.0f} KiB)\n", kib <= most_kib ? "met    " : "NOT MET",
             kib, few, many, most_kib);
  return kib <= most_kib ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const std::string dir = argv[1];
  auto text = read_file(dir + "/port");
  if (!text) return 2;
  const int port = std::atoi(text->c_str());
  if (argc == 3) return std::string_view(argv[2]) == "memory" ? memory(dir, port) : 2;
  const auto nodes = static_cast<std::size_t>(std::atoi(argv[2])), window = static_cast<std::size_t>(std::atoi(argv[3]));
  const Run done = run(targets_of(dir, nodes, port), window, "true");
  fmt::print("{} nodes, window {}: {} ok, wall {:.2f} s, client CPU {:.2f} ms per node, peak RSS {:.1f} MiB (before: {:.1f} MiB)\n", nodes, window, done.good,
             done.wall, (cpu_seconds(done.after) - cpu_seconds(done.before)) * 1000 / static_cast<double>(nodes),
             static_cast<double>(done.after.ru_maxrss) / 1024, static_cast<double>(done.before.ru_maxrss) / 1024);
  return done.good == nodes ? 0 : 1;
}

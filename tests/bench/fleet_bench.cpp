// What `exec true` costs the control host per node: connect, log in, run, close, all nodes behind one sshd.
//   bench_fleet SSHD_DIR NODES WINDOW
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

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const std::string dir = argv[1];
  auto port = read_file(dir + "/port");
  if (!port) return 2;
  std::vector<ssh::Target> targets(static_cast<std::size_t>(std::atoi(argv[2])));
  for (std::size_t i = 0; i < targets.size(); ++i) {
    targets[i].node = fmt::format("n{}", i);
    targets[i].address = "127.0.0.1";
    targets[i].port = static_cast<std::uint16_t>(std::atoi(port->c_str()));
    targets[i].identity_files = {dir + "/id_ed25519"};
    targets[i].known_hosts = {dir + "/known_hosts"};
  }
  fleet::FleetOptions options;
  options.window = static_cast<std::size_t>(std::atoi(argv[3]));
  options.deadlines.banner = options.deadlines.kex = options.deadlines.auth = options.deadlines.channel = std::chrono::seconds(120);
  auto transport = ssh::make_transport(ssh::options_from_environment());
  auto clock = make_system_clock();
  NullEventSink sink;
  CancelToken cancel;
  const rusage before = used_now();
  const auto begin = std::chrono::steady_clock::now();
  const auto results = fleet::run_command(*transport, targets, "true", "", options, *clock, sink, cancel);
  const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const rusage after = used_now();
  std::size_t good = 0;
  for (const auto& result : results) good += result.outcome == NodeOutcome::ok ? 1 : 0;
  const auto nodes = static_cast<double>(results.size());
  fmt::print("{} nodes, window {}: {} ok, wall {:.2f} s, client CPU {:.2f} ms per node, peak RSS {:.1f} MiB (before: {:.1f} MiB, {:.0f} KiB per window slot)\n",
             results.size(), options.window, good, wall, (cpu_seconds(after) - cpu_seconds(before)) * 1000 / nodes,
             static_cast<double>(after.ru_maxrss) / 1024, static_cast<double>(before.ru_maxrss) / 1024,
             static_cast<double>(after.ru_maxrss - before.ru_maxrss) / static_cast<double>(std::min(options.window, results.size())));
  return good == results.size() ? 0 : 1;
}

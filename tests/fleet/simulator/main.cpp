// Plays the nodes of a site: sshd on every address of 127.0.0.0/8, by one process. Each address does what the script
// says of it. Says where it listens, answers "stats" on its standard input, and ends with it.
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "base/file.hpp"
#include "fleet/simulator/listener.hpp"
#include "fleet/simulator/net.hpp"

using namespace kfab;
using namespace kfab::sim;

namespace {

constexpr const char* usage = R"(usage: node_simulator [OPTION VALUE]...
  --port N               listen here (a free port)
  --threads N            that many loops (1)
  --seed TEXT            of all keys
  --host-keys one|each   one host key for all nodes, or one for each address
  --node "ADDRESSES FAULT"   what these play; ADDRESSES is A, A-B or A+COUNT within 127.0.0.0/8; may be repeated
  --script FILE          the same, one a line
  --identity FILE        write a private key that gets in here
  --authorized-key TEXT  let only this key in ("ssh-ed25519 AAAA...")
  --known-hosts FILE     write the host keys of --nodes here
  --nodes ADDRESSES
  --output TEXT          what commands on healthy nodes print
  --exit-status N        and how they end
  --list                 print the faults
)";

struct Options {
  std::uint16_t port = 0;
  unsigned threads = 1;
  std::string seed = "site", identity{}, known_hosts{};
  bool one_key = true;
  std::optional<AddressRange> nodes{};
};

template <class Number>
bool parse_number(std::string_view text, Number& number) {
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  return failed == std::errc{} && end == text.data() + text.size();
}

// Empty when the option was understood.
std::string take(std::string_view name, const std::string& value, Options& options, Site& site) {
  const auto need = [&](bool good) { return good ? std::string{} : std::string(name) + ": '" + value + "' will not do"; };
  if (name == "--port") return need(parse_number(value, options.port));
  if (name == "--threads") return need(parse_number(value, options.threads) && options.threads > 0 && options.threads <= 64);
  if (name == "--seed") return options.seed = value, std::string{};
  if (name == "--host-keys") return options.one_key = value == "one", need(value == "one" || value == "each");
  if (name == "--node") return site.script.add(value);
  if (name == "--script") return site.script.add_file(value);
  if (name == "--identity") return options.identity = value, std::string{};
  if (name == "--authorized-key") return site.server.authorized_key = value, std::string{};
  if (name == "--known-hosts") return options.known_hosts = value, std::string{};
  if (name == "--nodes") return options.nodes = parse_addresses(value), need(options.nodes.has_value());
  if (name == "--output") return site.server.output = value, std::string{};
  if (name == "--exit-status") return need(parse_number(value, site.server.exit_status));
  return "no such option: " + std::string(name);
}

void list_faults() {
  for (const FaultRow& row : fault_table()) std::printf("%-20s %s\n", std::string(row.name).c_str(), std::string(row.meaning).c_str());
  std::printf("and ACTION@POINT[:BYTE], where it can be played:\n");
  for (const std::string_view action : action_names().subspan(1)) {
    for (const std::string_view point : point_names()) {
      const std::string name = std::string(action) + "@" + std::string(point);
      if (parse_fault(name)) std::printf("%s\n", name.c_str());
    }
  }
}

bool write_known_hosts(const Options& options, const HostKeyRing& keys, std::uint16_t port) {
  if (!options.nodes) return false;
  std::string text;
  const std::string common = keys.of(0).public_line;
  for (std::uint32_t address = options.nodes->first; address <= options.nodes->last; ++address) {
    text += "[" + to_text(address) + "]:" + std::to_string(port) + " " + (keys.one_for_all() ? common : keys.of(address).public_line) + "\n";
  }
  return write_file_atomically(options.known_hosts, text).has_value();
}

std::string memory_line(const char* name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name)) return line.substr(line.find_first_of("0123456789"));
  }
  return "?";
}

void print_stats(const Stats& stats) {
  std::printf("stats accepted=%llu logins=%llu commands=%llu open=%lld most_open=%lld rss=%s peak=%s\n",
              static_cast<unsigned long long>(stats.accepted), static_cast<unsigned long long>(stats.logins),
              static_cast<unsigned long long>(stats.commands), static_cast<long long>(stats.open), static_cast<long long>(stats.most_open),
              memory_line("VmRSS").c_str(), memory_line("VmHWM").c_str());
  std::fflush(stdout);
}

int fail(const std::string& why) {
  std::fprintf(stderr, "simulator: %s\n", why.c_str());
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  Site site;
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i];
    if (name == "--list") return list_faults(), 0;
    if (i + 1 == argc) return std::fputs(usage, stderr), 2;
    if (const std::string why = take(name, argv[i + 1], options, site); !why.empty()) return fail(why);
  }
  ::signal(SIGPIPE, SIG_IGN);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);   // whoever started it may crash
  raise_descriptor_limit();
  site.host_keys = HostKeyRing(options.seed, options.one_key);
  if (!options.identity.empty() && !write_file_atomically(options.identity, make_key(options.seed + " user").private_file, 0600)) return fail("cannot write the identity");

  std::vector<int> sockets{open_socket(0, options.port, 4096)};
  const std::uint16_t port = port_of(sockets.front());
  while (sockets.size() < options.threads) sockets.push_back(open_socket(0, port, 4096));
  const int closed = open_socket(0, 0, -1);   // bound, so that nobody else gets the port, and never listening
  dig_black_holes(site.script.black_holes(), port);
  if (!options.known_hosts.empty() && !write_known_hosts(options, site.host_keys, port)) return fail("cannot write the known hosts of --nodes");

  std::vector<std::unique_ptr<Loop>> loops;
  std::vector<std::thread> threads;
  for (const int socket : sockets) {
    loops.push_back(std::make_unique<Loop>());
    loops.back()->adopt(std::make_unique<Listener>(*loops.back(), site, socket));
    threads.emplace_back([loop = loops.back().get()] { loop->run(); });
  }
  std::printf("ready port=%u closed_port=%u host_key=%s\n", port, port_of(closed), site.host_keys.of(0).public_line.c_str());
  std::fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) {
    if (line == "stats") print_stats(site.stats);
  }
  for (const auto& loop : loops) loop->stop();
  for (std::thread& thread : threads) thread.join();
  return 0;
}

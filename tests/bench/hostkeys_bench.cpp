// What it costs to know the hosts of a whole site: known_hosts files of LINES lines, hashed as HashKnownHosts writes
// them and plain, each host of the site checked once; then one host that nobody knows.
//   bench_hostkeys [LINES]
#include <sys/resource.h>

#include <cstdlib>
#include <filesystem>
#include <fmt/core.h>
#include <vector>

#include "base/file.hpp"
#include "base/ids.hpp"
#include "ssh/codec.hpp"
#include "ssh/host_keys.hpp"

using namespace kfab;
using namespace kfab::ssh;

namespace {

double cpu_s() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) { return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6; };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

std::string key_of(std::size_t i) {
  std::string blob, bytes;
  put_string(blob, "ssh-ed25519");
  for (std::uint32_t j = 0; j < 8; ++j) put_u32(bytes, static_cast<std::uint32_t>(i) * 2654435761u + j);
  put_string(blob, bytes);
  return blob;
}
std::string address_of(std::size_t i) { return fmt::format("10.{}.{}.{}", i / 65536, i / 256 % 256, i % 256); }

std::string file_text(std::size_t lines, bool hashed) {
  std::string text;
  for (std::size_t i = 0; i < lines; ++i) {
    std::string name = address_of(i);
    if (hashed) {
      std::string salt;
      for (std::uint32_t j = 0; j < 5; ++j) put_u32(salt, static_cast<std::uint32_t>(i) * 40503u + j);
      name = "|1|" + base64_encode(salt) + "|" + base64_encode(hmac_sha1(salt, name));
    }
    text += name + " ssh-ed25519 " + base64_encode(key_of(i)) + "\n";
  }
  return text;
}

// CPU seconds from before the first file is read until all hosts are known; -1 when one was not.
double whole_site(const std::string& file, std::size_t hosts, double& unknown_ms) {
  const std::vector<std::string> checkable{"ssh-ed25519"};
  Target target;
  target.known_hosts = {file};
  const double before = cpu_s();
  HostKeys keys("");
  bool all = true;
  const auto trusted = [&](std::size_t i, const std::string& key) {
    target.node = fmt::format("n{}", i);
    target.address = address_of(i);
    auto inquiry = keys.prepare(target);
    if (!inquiry) return false;
    auto answer = keys.judge(target, *inquiry, key, checkable);
    return answer && *answer == HostKeyAnswer::trusted;
  };
  // A host that is not there is met first, while the lines are all untried.
  unknown_ms = -1e3;
  (void)trusted(0, key_of(0));
  const double unknown_before = cpu_s();
  all = all && !trusted(hosts + 7, key_of(hosts + 7));
  unknown_ms = (cpu_s() - unknown_before) * 1e3;
  for (std::size_t i = 0; i < hosts; ++i) all = trusted(i, key_of(i)) && all;
  return all ? cpu_s() - before : -1;
}

// CPU seconds to list the lines of all hosts, none of whom has shown a key; -1 when one is not found.
double list_site(const std::string& file, std::size_t hosts) {
  std::vector<Target> targets(hosts);
  for (std::size_t i = 0; i < hosts; ++i) {
    targets[i].node = fmt::format("n{}", i);
    targets[i].address = address_of(i);
    targets[i].known_hosts = {file};
  }
  const double before = cpu_s();
  HostKeys keys("");
  if (!keys.sweep(targets)) return -1;
  for (const Target& target : targets) {
    const auto lines = keys.lines_of(target);
    if (!lines || lines->size() != 1) return -1;
  }
  return cpu_s() - before;
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t lines = argc > 1 ? static_cast<std::size_t>(std::atoi(argv[1])) : 32'500;
  const std::string file = std::filesystem::temp_directory_path() / ("kfab-bench-hosts-" + random_hex(6));
  bool good = true;
  for (const bool hashed : {true, false}) {
    if (!write_file_atomically(file, file_text(lines, hashed))) return 2;
    double unknown_ms = 0;
    const double seconds = whole_site(file, lines, unknown_ms);
    good = good && seconds >= 0 && (!hashed || seconds <= 1);
    fmt::print("{} {} lines, {} hosts: {:.3f} s CPU with reading the file ({:.1f} us a host); one host that is not there: {:.2f} ms\n", lines,
               hashed ? "hashed" : "plain", lines, seconds, seconds * 1e6 / static_cast<double>(lines), unknown_ms);
    const double listed = list_site(file, lines);
    constexpr double longest_list_s = 2;
    good = good && listed >= 0 && listed <= longest_list_s;
    fmt::print("{} {} lines listed for all hosts: {:.3f} s CPU\n", lines, hashed ? "hashed" : "plain", listed);
  }
  std::filesystem::remove(file);
  fmt::print("{}\n", good ? "met: the whole site in at most 1 s, and listed in at most 2 s" : "NOT met: the whole site in at most 1 s, and listed in at most 2 s");
  return good ? 0 : 1;
}

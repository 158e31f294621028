#include "agent/devices/cpu_host.hpp"

#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <thread>

#include <fmt/format.h>

#include "agent/cpu_model.hpp"
#include "agent/devices/host_memory.hpp"
#include "base/codes/validation.hpp"
#include "base/text.hpp"

namespace kfab::agent::devices::cpu {
namespace {

std::string first_line_of(const char* path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return one_line(line, 100);
}

std::uint64_t meminfo_bytes(const std::string& line) {   // "MemTotal:       24617680 kB"
  std::uint64_t kib = 0;
  const auto digit = line.find_first_of("0123456789");
  if (digit != std::string::npos) std::from_chars(line.data() + digit, line.data() + line.size(), kib);
  return kib * 1024;
}

}  // namespace

std::vector<int> usable_processors() {
  std::vector<int> out;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (int i = 0; i < CPU_SETSIZE; ++i)
      if (CPU_ISSET(std::size_t(i), &set)) out.push_back(i);
  if (out.empty())   // more processors than a cpu_set_t has room for
    for (int i = 0; i < int(std::max(1u, std::thread::hardware_concurrency())); ++i) out.push_back(i);
  return out;
}

std::optional<int> withheld_processors(const std::string& root) {
  std::ifstream in(root + "/sys/devices/system/cpu/online");
  std::string list;
  std::getline(in, list);
  const auto online = parse_processor_list(list);
  if (online.empty()) return std::nullopt;
  const auto usable = usable_processors();
  return int(std::count_if(online.begin(), online.end(), [&](int one) { return !std::binary_search(usable.begin(), usable.end(), one); }));
}

void in_parallel(int threads, const std::function<void(int)>& work) {
  static const std::vector<int> processors = usable_processors();
  const auto run = [&](int worker) {
    cpu_set_t set;
    CPU_ZERO(&set);
    const int processor = processors[std::size_t(worker) % processors.size()];
    if (processor < CPU_SETSIZE) {
      CPU_SET(std::size_t(processor), &set);
      sched_setaffinity(0, sizeof set, &set);   // a preference: without it only locality suffers
    }
    work(worker);
  };
  std::vector<std::thread> others;
  for (int worker = 0; worker < threads; ++worker) others.emplace_back(run, worker);
  for (auto& thread : others) thread.join();
}

MemoryFacts memory_facts() {
  MemoryFacts out;
  std::ifstream in("/proc/meminfo");
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("MemTotal:", 0) == 0) out.total_bytes = meminfo_bytes(line);
    if (line.rfind("MemAvailable:", 0) == 0) out.available_bytes = meminfo_bytes(line);
  }
  // A cgroup may allow less than the machine has.
  std::ifstream limit("/sys/fs/cgroup/memory.max"), used("/sys/fs/cgroup/memory.current");
  std::uint64_t most = 0, now = 0;
  if (limit >> most && used >> now && most > now) {
    out.total_bytes = std::min(out.total_bytes, most);
    out.available_bytes = std::min(out.available_bytes, most - now);
  }
  return out;
}

std::uint64_t last_level_cache_bytes(const std::string& root) {
  constexpr int most_caches = 16;   // of one processor
  std::uint64_t largest = 0;
  for (int i = 0; i < most_caches; ++i) {
    std::ifstream in(fmt::format("{}/sys/devices/system/cpu/cpu0/cache/index{}/size", root, i));
    std::uint64_t size = 0;
    char unit = 0;
    if (in >> size) in >> unit;
    if (size < (std::uint64_t{1} << 40)) largest = std::max(largest, size << (unit == 'K' ? 10 : unit == 'M' ? 20 : 0));
  }
  if (largest > 0 || !root.empty()) return largest;
  for (const int name : {_SC_LEVEL2_CACHE_SIZE, _SC_LEVEL3_CACHE_SIZE, _SC_LEVEL4_CACHE_SIZE}) largest = std::max(largest, std::uint64_t(std::max(0l, sysconf(name))));
  return largest;
}

std::string model_name() {
  std::ifstream in("/proc/cpuinfo");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  return cpu_model(text).value_or("unknown processor");
}

std::string machine_serial() {
  for (const char* path : {"/sys/class/dmi/id/board_serial", "/sys/class/dmi/id/product_serial", "/sys/class/dmi/id/product_uuid", "/etc/machine-id"}) {
    std::string found(trim(first_line_of(path)));
    // What makers leave in when they have nothing to say.
    const std::string lower = to_lower(found);
    if (found.empty() || lower == "none" || lower == "not specified" || lower == "to be filled by o.e.m." || lower == "default string" ||
        found.find_first_not_of("0-. ") == std::string::npos)
      continue;
    for (auto& c : found)
      if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_' && c != '.') c = '-';
    return found;
  }
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  return one_line(name, 100);
}

Result<Pages> Pages::take(std::uint64_t bytes) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED)
    return error(code::device_memory_short, fmt::format("{} MiB of memory could not be had: {}", bytes >> 20, std::strerror(errno)));
  madvise(data, bytes, MADV_HUGEPAGE);
  return Pages(data, bytes);
}

Pages::~Pages() {
  if (data_) munmap(data_, bytes_);
}

}  // namespace kfab::agent::devices::cpu

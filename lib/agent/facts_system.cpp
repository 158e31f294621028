#include <gnu/libc-version.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <set>
#include <sstream>

#include "agent/cpu_model.hpp"
#include "agent/facts_sections.hpp"
#include "base/file.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

// What board makers write where a serial should be.
bool is_placeholder(std::string_view text) {
  static constexpr std::array placeholders{"to be filled by o.e.m.", "not specified", "default string", "none", "n/a",
                                           "not applicable", "system serial number", "base board serial number",
                                           "chassis serial number", "0123456789", "123456789", "unknown", "empty", "."};
  const std::string lower = to_lower(trim(text));
  return lower.empty() || lower.find_first_not_of("0 -") == std::string::npos ||
         std::find(placeholders.begin(), placeholders.end(), lower) != placeholders.end();
}

// "key : value" lines, the first of each key.
std::optional<std::string> colon_value(std::string_view text, std::string_view key) {
  for (const auto line : split_lines(text)) {
    const auto colon = line.find(':');
    if (colon != std::string_view::npos && trim(line.substr(0, colon)) == key)
      return std::string(trim(line.substr(colon + 1)));
  }
  return std::nullopt;
}

std::optional<std::string> processor_model(const FactTree& tree, const std::string& cpuinfo) {
  if (auto model = cpu_model(cpuinfo)) return model;
  return tree.read("/sys/firmware/devicetree/base/model");
}

json::Value flags_of_interest(const std::string& cpuinfo) {
  static constexpr std::array wanted{"sse4_2",      "avx",      "avx2",       "fma",      "avx512f", "avx512_bf16",
                                     "avx512_vnni", "amx_tile", "amx_bf16",   "amx_int8", "aes",     "sha_ni",
                                     "vmx",         "svm",      "hypervisor", "asimd",    "sve",     "sve2",
                                     "bf16",        "i8mm",     "sha2"};
  auto text = colon_value(cpuinfo, "flags");
  if (!text) text = colon_value(cpuinfo, "Features");
  json::Array flags;
  if (!text) return flags;
  const auto present = split(*text, ' ');
  for (const auto* flag : wanted)
    if (std::find(present.begin(), present.end(), flag) != present.end()) flags.emplace_back(flag);
  return flags;
}

// One value of all CPUs, or all that occur.
std::optional<std::string> governor(const FactTree& tree) {
  std::set<std::string> found;
  for (const auto& name : tree.list("/sys/devices/system/cpu"))
    if (name.starts_with("cpu"))
      if (auto text = tree.read("/sys/devices/system/cpu/" + name + "/cpufreq/scaling_governor")) found.insert(*text);
  if (found.empty()) return std::nullopt;
  return join({found.begin(), found.end()}, ",");
}

std::optional<long long> meminfo_bytes(const std::string& meminfo, std::string_view key) {
  const auto text = colon_value(meminfo, key);
  if (!text) return std::nullopt;
  long long value = 0;
  const auto [end, fault] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (fault != std::errc{}) return std::nullopt;
  return text->ends_with("kB") ? value * 1024 : value;
}

std::string unquoted(std::string_view text) {
  if (text.size() >= 2 && (text.front() == '"' || text.front() == '\'') && text.back() == text.front())
    text = text.substr(1, text.size() - 2);
  return std::string(text);
}

json::Value os_release(const std::string& text, std::string_view key) {
  for (const auto line : split_lines(text)) {
    const auto equals = line.find('=');
    if (equals != std::string_view::npos && line.substr(0, equals) == key) return unquoted(line.substr(equals + 1));
  }
  return {};
}

json::Value timezone(const FactTree& tree) {
  if (auto text = tree.read("/etc/timezone"); text && !text->empty()) return *text;
  std::error_code fault;
  const std::string target = std::filesystem::read_symlink(tree.at("/etc/localtime"), fault).string();
  const auto at = target.find("zoneinfo/");
  if (fault || at == std::string::npos) return {};
  return target.substr(at + 9);
}

}  // namespace

int count_of_list(std::string_view list) {
  int count = 0;
  for (const auto& part : split(trim(list), ',')) {
    int first = 0;
    const auto [end, fault] = std::from_chars(part.data(), part.data() + part.size(), first);
    if (fault != std::errc{}) continue;
    int last = first;
    if (end != part.data() + part.size() && *end == '-') std::from_chars(end + 1, part.data() + part.size(), last);
    count += std::max(0, last - first + 1);
  }
  return count;
}

std::string board_serial() {
  const json::Value identity = identity_facts(FactTree(""), {}).value;
  const std::string board = identity.string_or("board_serial");
  return board.empty() ? identity.string_or("product_serial") : board;
}

SectionFacts identity_facts(const FactTree& tree, const FactsOptions& options) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 6> fields{
      {{"vendor", "sys_vendor"}, {"product_name", "product_name"}, {"product_serial", "product_serial"},
       {"board_name", "board_name"}, {"board_serial", "board_serial"}, {"bios_version", "bios_version"}}};
  SectionFacts facts;
  json::Object identity;
  for (const auto& [fact, file] : fields) {
    const std::string path = "/sys/class/dmi/id/" + std::string(file);
    const auto text = tree.read(path);
    const bool usable = text && !is_placeholder(*text);
    identity.set(std::string(fact), usable ? json::Value(*text) : json::Value());
    if (!usable)
      facts.problem("identity." + std::string(fact), text && !text->empty()
                                                         ? "the board tells only the placeholder '" + *text + "'"
                                                         : tree.why_not(path));
  }
  json::Value hostname = json::Value(tree.read("/proc/sys/kernel/hostname"));
  if (hostname.is_null() && options.live) {
    utsname names{};
    if (::uname(&names) == 0) hostname = std::string(names.nodename);
  }
  identity.set("hostname", std::move(hostname));
  identity.set("boot_id", json::Value(tree.read("/proc/sys/kernel/random/boot_id")));
  facts.value = std::move(identity);
  return facts;
}

SectionFacts cpu_facts(const FactTree& tree, const FactsOptions& options) {
  SectionFacts facts;
  const std::string cpuinfo = tree.read("/proc/cpuinfo").value_or("");
  if (cpuinfo.empty()) facts.problem("cpu.model", tree.why_not("/proc/cpuinfo"));
  const std::string root = "/sys/devices/system/cpu/";
  std::set<std::string> sockets, cores;
  int seen = 0;
  for (const auto& name : tree.list("/sys/devices/system/cpu")) {
    if (!name.starts_with("cpu") || name.find_first_not_of("0123456789", 3) != std::string::npos) continue;
    const auto package = tree.read(root + name + "/topology/physical_package_id");
    if (!package) continue;   // offline
    ++seen;
    sockets.insert(*package);
    const auto siblings = tree.read(root + name + "/topology/thread_siblings_list");
    const auto core = tree.read(root + name + "/topology/core_id").value_or(name);
    cores.insert(siblings ? *siblings : *package + ":" + core);
  }
  int threads = seen;
  if (const auto online = tree.read(root + "online")) threads = count_of_list(*online);
  int nodes = 0;
  for (const auto& name : tree.list("/sys/devices/system/node"))
    if (name.starts_with("node") && name.size() > 4 && name.find_first_not_of("0123456789", 4) == std::string::npos)
      ++nodes;

  json::Value max_mhz;
  if (const auto khz = tree.read_int(root + "cpu0/cpufreq/cpuinfo_max_freq"))
    max_mhz = static_cast<double>(*khz) / 1000.0;
  else facts.problem("cpu.max_mhz", "the kernel tells no frequency limits (no cpufreq; usual in virtual machines)");
  json::Value architecture;
  if (options.live) {
    utsname names{};
    if (::uname(&names) == 0) architecture = std::string(names.machine);
  }
  json::Value smt;
  if (const auto active = tree.read_int(root + "smt/active")) smt = *active != 0;
  const auto count = [](std::size_t n) { return n > 0 ? json::Value(n) : json::Value(); };
  facts.value = json::Object{{"model", json::Value(processor_model(tree, cpuinfo))},
                             {"architecture", architecture},
                             {"sockets", count(sockets.size())},
                             {"cores", count(cores.size())},
                             {"threads", count(static_cast<std::size_t>(threads))},
                             {"numa_nodes", count(static_cast<std::size_t>(nodes))},
                             {"max_mhz", max_mhz},
                             {"governor", json::Value(governor(tree))},
                             {"smt", smt},
                             {"flags", flags_of_interest(cpuinfo)}};
  return facts;
}

SectionFacts memory_facts(const FactTree& tree, const FactsOptions&) {
  SectionFacts facts;
  const auto meminfo = tree.read("/proc/meminfo");
  if (!meminfo) {
    facts.problem("memory", tree.why_not("/proc/meminfo"));
    return facts;
  }
  const auto bytes = [&](std::string_view key) { return json::Value(meminfo_bytes(*meminfo, key)); };
  json::Value total_gib;
  if (const auto total = meminfo_bytes(*meminfo, "MemTotal"))
    total_gib = static_cast<double>(*total) / (1024.0 * 1024.0 * 1024.0);
  facts.value = json::Object{{"total_bytes", bytes("MemTotal")},
                             {"total_gib", total_gib},
                             {"available_bytes", bytes("MemAvailable")},
                             {"swap_total_bytes", bytes("SwapTotal")},
                             {"swap_free_bytes", bytes("SwapFree")},
                             {"hugepages", json::Object{{"total", bytes("HugePages_Total")},
                                                        {"free", bytes("HugePages_Free")},
                                                        {"size_bytes", bytes("Hugepagesize")}}}};
  return facts;
}

namespace {

// What dpkg has installed, as "name version" in sorted lines: equal digests are equal packages.
struct Packages {
  json::Value count, sha256;
};
Packages installed_packages(const FactTree& tree) {
  constexpr std::size_t largest = std::size_t{64} << 20;
  const auto status = read_file(tree.at("/var/lib/dpkg/status"), largest);
  if (!status) return {};
  std::set<std::string> lines;
  std::string name, architecture, version;
  bool installed = false;
  const auto end_of_package = [&] {
    if (installed && !name.empty()) lines.insert(name + ":" + architecture + " " + version + "\n");
    name.clear(), architecture.clear(), version.clear();
    installed = false;
  };
  for (const auto line : split_lines(*status)) {
    const auto value_of = [&](std::string_view key) { return line.starts_with(key) ? std::string(trim(line.substr(key.size()))) : std::string(); };
    if (line.empty()) end_of_package();
    else if (line.starts_with("Package: ")) name = value_of("Package: ");
    else if (line.starts_with("Architecture: ")) architecture = value_of("Architecture: ");
    else if (line.starts_with("Version: ")) version = value_of("Version: ");
    else if (line.starts_with("Status: ")) installed = line.ends_with(" installed");
  }
  end_of_package();
  Sha256 hash;
  for (const auto& line : lines) hash.update(line);
  return {static_cast<long long>(lines.size()), hash.hex()};
}

}  // namespace

SectionFacts os_facts(const FactTree& tree, const FactsOptions& options) {
  SectionFacts facts;
  auto release = tree.read("/etc/os-release");
  if (!release) release = tree.read("/usr/lib/os-release");
  if (!release) facts.problem("os.id", tree.why_not("/etc/os-release"));
  const std::string text = release.value_or("");
  json::Value uptime, clock, libc;
  if (const auto raw = tree.read("/proc/uptime")) {
    std::istringstream words(*raw);
    double seconds = 0;
    if (words >> seconds) uptime = seconds;
  }
  if (options.live) {
    using Milliseconds = std::chrono::duration<double, std::milli>;
    clock =
        std::chrono::duration_cast<Milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count() / 1000.0;
    libc = std::string("glibc ") + ::gnu_get_libc_version();
  }
  const auto read = [&](std::string_view path) { return json::Value(tree.read(path)); };
  Packages packages = installed_packages(tree);
  facts.value = json::Object{{"id", os_release(text, "ID")},
                             {"version_id", os_release(text, "VERSION_ID")},
                             {"pretty_name", os_release(text, "PRETTY_NAME")},
                             {"kernel_name", read("/proc/sys/kernel/ostype")},
                             {"kernel", read("/proc/sys/kernel/osrelease")},
                             {"cmdline", read("/proc/cmdline")},
                             {"uptime_s", uptime},
                             {"timezone", timezone(tree)},
                             {"clock_unix_s", clock},
                             {"libc", libc},
                             {"systemd", tree.exists("/run/systemd/system")},
                             {"apt", tree.exists("/usr/bin/apt-get")},
                             {"packages", std::move(packages.count)},
                             {"packages_sha256", std::move(packages.sha256)}};
  return facts;
}

}  // namespace kfab::agent

#include "validation/catalogue.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/codes/validation.hpp"
#include "base/text.hpp"

namespace kfab::validation {
namespace {

// Metric ids as the agent writes them; <p> stands for a precision, <pattern> for a memory pattern, <counter> for a counter.
constexpr Metric common[] = {
    {"counters.ecc_<volatile|aggregate>_<corrected|uncorrected>", "count", "ECC errors that arose during a family's tests; the detail names them"},
    {"counters.remapped_rows_<correctable|uncorrectable>", "count", "rows of memory remapped meanwhile"},
    {"counters.pcie_replays", "count", "packets that PCIe had to send again"},
    {"counters.aer_<correctable|nonfatal|fatal>", "count", "errors by PCIe's advanced error reporting"},
    {"counters.nvlink_<replay|recovery|crc_flit|crc_data>", "count", "errors of all NVLinks, before NVLink 5"},
    {"counters.nvlink_<receive_errors|recovery_failed|effective_errors>", "count", "the same of NVLink 5"},
    {"counters.edac_<corrected|uncorrected>", "count", "memory errors of the node that the kernel counted"},
    {"counters.thermal_throttles", "count", "times that a processor was too hot for its clock"},
    {"counters.machine_checks", "count", "machine checks in the kernel's log"},
    {"<memory|bandwidth|burnin>.processors_withheld", "count", "processors of the machine that a cpuset or an affinity keeps from the agent (cpu)"},
    {"counters.xids", "count", "XIDs of the accelerator meanwhile; nothing where nobody may read the kernel's log"},
    {"xid.<number>", "count", "how often one XID came; judged by the table of XIDs unless a criterion names it"},
    {"sxid.<number>", "count", "the same of NVSwitches"},
    {"device.<multiprocessors|sm_clock_mhz|memory_clock_mhz|memory_bus_bits|capability|pcie_generation|pcie_width>", "count", "what the GPU was built as"},
    {"pcie.<generation|width>", "count", "of the PCIe link under load"},
    {"pcie.<generation|width>_missing", "count", "what lacks to the accelerator's own maximum"},
};
constexpr Metric cpu_health[] = {
    {"health.<counter>", "count", "every counter as it stands"},
    {"health.processors_offline", "count", "processors that are there and not in use"},
    {"health.machine_checks", "count", "machine checks in the kernel's log since boot"},
    {"health.kernel_log", "count", "1 where the kernel's log could be read; nothing where records were overwritten while it was read"},
    {"health.kernel_log_whole", "count", "1 where the kernel's log, or the journal, reaches back to the boot: else older XIDs are not known (KF4160)"},
};
constexpr Metric cuda_health[] = {
    {"health.<counter>", "count", "every counter as it stands"},
    {"health.kernel_log", "count", "1 where the kernel's log could be read; nothing where records were overwritten while it was read"},
    {"health.kernel_log_whole", "count", "1 where the kernel's log, or the journal, reaches back to the boot: else older XIDs are not known (KF4160)"},
    {"health.ecc_mode", "count", "1: ECC is on"},
    {"health.remapped_rows_pending", "count", "1: a remapping waits for a reset"},
    {"health.remapped_rows_failed", "count", "1: a row could not be remapped"},
    {"health.sram_threshold_exceeded", "count", "1: too many uncorrectable errors in SRAM"},
    {"health.repair_pending", "count", "1: a channel or TPC waits to be repaired"},
    {"health.inforom_invalid", "count", "1: the InfoROM is damaged"},
    {"health.recovery_action", "count", "what the driver asks for: 0 none, 1 reset, 2 reboot, 3 drain, 4 drain and reset, 5 recover IMEX"},
    {"health.fabric_incomplete", "count", "1: the NVLink fabric is not completed"},
    {"health.fabric_unhealthy", "count", "1: the fabric manager finds this GPU's part of it ill"},
    {"health.nvlinks_active", "count", "NVLinks that are up"},
    {"health.nvlinks_down", "count", "NVLinks that are there and down"},
    {"health.mig_mode", "count", "1: the GPU is split"},
    {"health.persistence_mode", "count", "1: the driver stays loaded"},
    {"health.confidential_computing", "count", "1: on"},
    {"health.foreign_processes", "count", "compute and graphics processes that are not kfab's (KF4161); a display server is named and not counted"},
    {"health.memory_gib", "gib", "memory that the driver shows"},
};
constexpr Metric cpu_burnin[] = {
    {"burnin.gemm_<p>.tflops", "tflops", "products in fp32 and fp64, median of the samples"},
    {"burnin.gemm_int8.tops", "tops", "the same in int8"},
    {"burnin.gemm_<p>.mismatches", "count", "results whose bits differ from the known answer"},
    {"burnin.gemm_<p>.iterations", "count", "products done; without one nothing is judged"},
    {"burnin.gemm_<p>.coverage", "percent", "slices of results that were written and compared"},
    {"burnin.load.asked_pct", "percent", "the part of the time that the load asks for; 100: a steady one"},
    {"burnin.load.worked_pct", "percent", "the part of the time in which it worked"},
    {"burnin.load.off_pct", "percent", "by how much the two differ over the same time"},
    {"burnin.load.start_late_s", "s", "how late it began after a common start"},
};
constexpr Metric cuda_burnin[] = {
    {"burnin.gemm_<p>.tflops", "tflops", "products in fp4, fp8, fp8_e5m2, bf16, fp16, tf32, fp32, fp64 by kfab's own kernels"},
    {"burnin.gemm_int8.tops", "tops", "the same in int8"},
    {"burnin.gemm_<p>.mismatches", "count", "results whose bits differ from the known answer"},
    {"burnin.gemm_<p>.iterations", "count", "products done; without one nothing is judged"},
    {"burnin.gemm_<p>.coverage", "percent", "free memory that results filled and in which they were compared"},
    {"burnin.gemm_<p>.digest", "digest", "equal on all GPUs of a model with the same link; one of each slice in the samples"},
    {"burnin.gemm_<p>.cublaslt_tflops", "tflops", "the same product by cuBLASLt where the node has it, compared as well"},
    {"burnin.gemm_<p>.own_to_cublaslt", "ratio", "kfab's kernel beside cuBLASLt, in turn over the same time"},
    {"burnin.gemm_<p>.kernels_refused", "count", "kernels for this chip that could not prove themselves on it"},
    {"burnin.gemm_<p>.kernels_wrong", "count", "those of them that computed wrong bits; a fail where most GPUs of the model compute right ones by them"},
    {"burnin.gemm_<p>.cublaslt_inexact_pct", "percent", "results of cuBLASLt that are not those of exact sums, where that is its algorithm's; it is then not compared with"},
    {"burnin.gemm_<p>.energy_j_per_tflop", "j", "energy for a tera-operation, comparisons included"},
    {"burnin.gemm_<p>.random_<figure>", "", "all of these with full mantissas: wrong is what the other slices outvote"},
    {"burnin.load.asked_pct", "percent", "the part of the time that the load asks for; 100: a steady one"},
    {"burnin.load.worked_pct", "percent", "the part of the time in which it worked"},
    {"burnin.load.off_pct", "percent", "by how much the two differ over the same time"},
    {"burnin.load.<interval>.<figure>", "", "power, temperature, clock and throttling in each step, pulse and pause of a load"},
    {"burnin.load.start_late_s", "s", "how late a GPU began after a common start"},
    {"burnin.power_w", "w", "mean power during the burn-in"},
    {"burnin.power_of_limit_pct", "percent", "mean power by the enforced limit; below 95 the detail says what held it back"},
    {"burnin.temperature_c", "c", "highest temperature"},
    {"burnin.sm_clock_mhz", "mhz", "median clock"},
    {"burnin.throttle.<reason>_pct", "percent", "samples held back by hw_slowdown, hw_thermal, sw_thermal, power_brake, power_cap"},
    {"burnin.ecc_uncorrected", "count", "uncorrected ECC errors that arose"},
};
constexpr Metric memory_metrics[] = {
    {"memory.<pattern>.errors", "count", "wrong words under one pattern"},
    {"memory.errors", "count", "wrong words under all patterns"},
    {"memory.patterns", "count", "patterns that covered everything at least once"},
    {"memory.patterns_left_out", "count", "0: all of them did; nothing where the time was over before"},
    {"memory.coverage_pct", "percent", "installed memory that was tested"},
    {"memory.gbps", "gbps", "bytes read and written by the test"},
};
constexpr Metric cpu_bandwidth[] = {
    {"bandwidth.stream_copy_gbps", "gbps", "STREAM copy, two arrays counted"},
    {"bandwidth.stream_scale_gbps", "gbps", "STREAM scale, two arrays counted"},
    {"bandwidth.stream_add_gbps", "gbps", "STREAM add, three arrays counted"},
    {"bandwidth.stream_triad_gbps", "gbps", "STREAM triad, three arrays counted"},
    {"bandwidth.stream.mismatches", "count", "elements with wrong bits"},
};
constexpr Metric cuda_bandwidth[] = {
    {"bandwidth.host_to_device_memcpy_ce_gbps", "gbps", "pinned host memory to the GPU, copy engine"},
    {"bandwidth.device_to_host_memcpy_ce_gbps", "gbps", "the GPU to pinned host memory, copy engine"},
    {"bandwidth.host_to_device_bidirectional_memcpy_ce_gbps", "gbps", "to the GPU while copies run the other way"},
    {"bandwidth.device_to_host_bidirectional_memcpy_ce_gbps", "gbps", "to the host while copies run the other way"},
    {"bandwidth.device_local_copy_gbps", "gbps", "within the GPU, each byte counted once"},
    {"bandwidth.hbm_copy_rw_gbps", "gbps", "within the GPU, each byte counted as read and as written"},
    {"bandwidth.device_to_device_memcpy_read_ce_gbps", "gbps", "from a peer, one figure for each link"},
    {"bandwidth.device_to_device_memcpy_write_ce_gbps", "gbps", "to a peer, one figure for each link"},
    {"bandwidth.device_to_device_bidirectional_memcpy_read_<ce|sm>_<read1|read2|total>_gbps", "gbps", "each of two GPUs reads from the other: this one, that one, and both together"},
    {"bandwidth.device_to_device_bidirectional_memcpy_write_<ce|sm>_<write1|write2|total>_gbps", "gbps", "each of two GPUs writes to the other, likewise"},
    {"bandwidth.peer_reachable", "count", "1: the driver lets this GPU reach that one directly; one figure for each link"},
    {"bandwidth.tests_left_out", "count", "copies that the time of the level was too short for; never those between GPU and host by copy engines, and within it; of peers only when links are so slow that the time is used up three times"},
    {"bandwidth.stream_triad_gbps", "gbps", "STREAM triad on the GPU; copy, scale and add likewise"},
    {"bandwidth.<test>_gbps", "gbps", "the other copies of nvbandwidth under their names, with the link"},
    {"bandwidth.<test>.variation_pct", "percent", "coefficient of variation of a test's samples"},
    {"bandwidth.host_device_latency_sm_ns", "ns", "a read of pinned host memory by the GPU"},
    {"bandwidth.device_to_device_latency_sm_ns", "ns", "a read of a peer's memory by the GPU"},
    {"bandwidth.host_memory_local_pct", "percent", "pinned memory that lies on the GPU's NUMA node"},
    {"bandwidth.<test>.mismatches", "count", "words with wrong bits in what was copied"},
};

constexpr Metric vendor_health[] = {
    {"health.alive", "count", "1: its maker's tool finds it well"},
    {"health.hung", "count", "1: its power state says that it hangs (Rebellions P12)"},
    {"health.thermal", "count", "1: its power state says that it is too hot (Rebellions P10)"},
    {"health.temperature_c", "c", "by its maker's tool"},
    {"health.power_w", "w", "by its maker's tool"},
    {"health.memory_gib", "gib", "memory that it shows"},
    {"health.memory_used_bytes", "bytes", "memory in use"},
    {"health.pcie_<gen|width|replays>", "count", "of its PCIe link"},
    {"health.ecc_<corrected|uncorrected>", "count", "ECC errors (AMD)"},
    {"health.foreign_processes", "count", "what uses it"},
};
constexpr Metric vendor_bandwidth[] = {
    {"bandwidth.host_to_device_gbps", "gbps", "by its maker's tool; device_to_host and device_to_device likewise"},
    {"bandwidth.<way>_gbps", "gbps", "by its maker's tool"},
};
constexpr Metric vendor_memory[] = {{"memory.errors", "count", "not run: kfab drives no memory test of any maker"}};
constexpr Metric vendor_burnin[] = {{"burnin.vendor_passed", "count", "1: its maker's stress tool passed it, 0: failed it; nothing where that is not said in words that kfab knows"},
                                    {"burnin.vendor_tflops", "tflops", "the best rate that its maker's stress tool told"},
                                    {"burnin.power_w", "w", "not measured: kfab asks nobody while a maker's tool is at work"},
                                    {"burnin.temperature_c", "c", "not measured, likewise"}};

// Why a device as a whole may not be tested.
constexpr std::string_view cuda_as_a_whole =
    "no driver, one that is too old or whose device files the user may not open; no GPU; a system that is not initialised; a GPU that is split by MIG, that another program holds, "
    "or that has less free memory than one block; a kfab that was built without kernels";

constexpr Check checks[] = {
    {"health", "vendor", "what the maker's tool says: rbln-smi, furiosa-smi, amd-smi, hl-smi", 0, 0, 0, vendor_health, 10,
     "the tool is not there or prints what kfab cannot read; what one of them does not tell is missing"},
    {"memory", "vendor", "not run, and said so", 0, 0, 0, vendor_memory, 0, "always: kfab drives no memory test of any maker"},
    {"bandwidth", "vendor", "the maker's own copies, where kfab drives its tool", 20, 60, 0.1, vendor_bandwidth, 0,
     "the maker has no tool that kfab drives, the tool is not there, prints what kfab cannot read, or measures another accelerator"},
    {"burnin", "vendor", "the maker's own stress tool, where kfab drives it (rvs, hl_qual), one accelerator after the other", 0, 240, 0.7, vendor_burnin, 0,
     "the level quick; a maker without a tool that kfab drives (FuriosaAI, Rebellions); a tool that is not there, does not know the model, or says what kfab does not know word for word"},
    {"health", "cpu", "error counters and processors, before and after every test", 0, 0, 0, cpu_health, 0.3,
     "nothing as a whole; a counter that the machine does not have is missing, and so is the kernel's log where the user may not read it"},
    {"health", "cuda", "error counters, links, firmware and XIDs, before and after every test", 0, 0, 0, cuda_health, 4,
     "no driver, or one whose device files the user may not open; what an older driver does not tell is missing; where the kernel's log cannot be read, XIDs are not known"},
    {"memory", "cpu", "memory patterns in all threads", 1.8, 60, 0.2, memory_metrics, 0.5, "less memory is to be had than one block"},
    {"bandwidth", "cpu", "STREAM-like bandwidth of the memory, all results compared", 2.7, 40, 0.1, cpu_bandwidth, 0.8, "less memory is to be had than the arrays need"},
    {"burnin", "cpu", "matrix products in fp32, fp64 and int8, every bit compared", 4.5, 200, 0.7, cpu_burnin, 1.4, "less memory is to be had than the matrices need"},
    {"memory", "cuda", "memory patterns over the GPU's free memory", 6, 60, 0.2, memory_metrics, 0, cuda_as_a_whole},
    {"bandwidth", "cuda", "copies by nvbandwidth's method, all bytes compared", 3, 40, 0.1, cuda_bandwidth, 0, cuda_as_a_whole},
    {"burnin", "cuda", "matrix products in every precision, every bit compared", 15, 200, 0.7, cuda_burnin, 0, cuda_as_a_whole},
};

// Ten samples of 512 MiB in five directions take so long on one of several GPUs whatever is asked for: 20 copies a sample at 25 to
// 55 GB/s, a quarter of them in a quick look, and the peers.
constexpr double copy_floor_s(Level level) { return level == Level::quick ? 6 : 20; }
// And so long one sample of all copies of a level on one GPU, at most: the time that is asked for beyond that takes more samples where
// nothing but copies is to be done, and else is the burn-in's, or the memory test's.
constexpr double copy_s_of_sample(Level level, bool peers) { return level == Level::quick ? (peers ? 0.6 : 0.3) : peers ? 20 : 5; }
constexpr int most_copy_samples = 1000;
// What an accelerator that hangs costs the node: a watchdog's silence, and the reading of its counters. It hangs once, for no later test
// touches it.
constexpr double hang_s = 150;
constexpr std::string_view stress_vendors[] = {"amd", "intel"};   // whose stress tool kfab drives
constexpr double least_burnin_share = 0.25;          // of a burn-in's usual time is left to it when copies of many GPUs in turn take the rest

struct LevelRow { Level level; std::string_view word; int samples; };
constexpr LevelRow levels[] = {{Level::quick, "quick", 10}, {Level::standard, "standard", 20}, {Level::soak, "soak", 50}};

// What a test may take of the node's memory. Quick on a cpu is small: it also runs on laptops, and four at a time in the
// demonstration.
struct MemoryRow { std::string_view device; Level level; double fraction; int cap_mib; };
constexpr MemoryRow memory_rows[] = {
    {"cpu", Level::quick, 0.25, 768},   {"cpu", Level::standard, 0.5, 0},   {"cpu", Level::soak, 0.8, 0},
    {"cuda", Level::quick, 0, 0},       {"cuda", Level::standard, 0, 0},    {"cuda", Level::soak, 0, 0},   // the device's own
    {"vendor", Level::quick, 0, 0},     {"vendor", Level::standard, 0, 0},  {"vendor", Level::soak, 0, 0},
};

// Whether an id is of a pattern: <a|b> stands for one of the words, <name> for any word of letters, digits and "_".
bool is_of(std::string_view pattern, std::string_view id) {
  const auto open = pattern.find('<');
  if (open == std::string_view::npos) return pattern == id;
  const auto close = pattern.find('>', open);
  if (id.substr(0, open) != pattern.substr(0, open)) return false;
  const std::string_view inside = pattern.substr(open + 1, close - open - 1), rest = pattern.substr(close + 1), text = id.substr(open);
  if (inside.find('|') != std::string_view::npos) {
    for (const auto& word : split(inside, '|'))
      if (text.substr(0, word.size()) == word && is_of(rest, text.substr(word.size()))) return true;
    return false;
  }
  const auto is_word = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
  for (std::size_t n = 1; n <= text.size() && is_word(text[n - 1]); ++n)
    if (is_of(rest, text.substr(n))) return true;
  return false;
}

std::size_t literal_chars(std::string_view pattern) {
  std::size_t count = 0;
  bool open = false;
  for (const char c : pattern) {
    open = open || c == '<';
    count += !open;
    if (c == '>') open = false;
  }
  return count;
}

}  // namespace

std::string_view to_string(Level level) {
  for (const auto& row : levels)
    if (row.level == level) return row.word;
  return "";
}

std::optional<Level> parse_level(std::string_view word) {
  for (const auto& row : levels)
    if (row.word == word) return row.level;
  return std::nullopt;
}

std::span<const Check> all_checks() { return checks; }

double seconds_of(const Check& check, Level level, double soak_s) {
  return level == Level::quick ? check.quick_s : level == Level::standard ? check.standard_s : soak_s * check.soak_share;
}

int samples_of(Level level) {
  return std::find_if(std::begin(levels), std::end(levels), [&](const auto& row) { return row.level == level; })->samples;
}

const Metric* find_metric(std::string_view id, std::string_view device) {
  const auto in = [&](std::span<const Metric> metrics) -> const Metric* {
    const Metric* best = nullptr;   // of several patterns the one that leaves least open
    for (const Metric& one : metrics)
      if (is_of(one.id, id) && (!best || literal_chars(one.id) > literal_chars(best->id))) best = &one;
    return best;
  };
  const Metric* best = in(common);
  for (const Check& check : checks)
    if (device == "any" || check.device == device)
      if (const Metric* found = in(check.metrics); found && (!best || literal_chars(found->id) > literal_chars(best->id))) best = found;
  return best;
}

std::span<const Metric> common_metrics() { return common; }

std::vector<std::string> all_families() { return {"health", "memory", "bandwidth", "burnin"}; }

std::string_view family_of(std::string_view metric) {
  const auto first = metric.substr(0, metric.find('.'));
  for (const auto& check : checks)
    if (check.family == first) return check.family;
  return {};
}

std::string device_of(const manifest::Profile& profile) {
  if (!profile.device.empty()) return profile.device;
  if (profile.vendor == "nvidia") return "cuda";
  return profile.vendor == "cpu" ? "cpu" : "vendor";
}

Result<TestPlan> plan_tests(const manifest::Profile& profile, const RequestOptions& options) {
  TestPlan plan;
  plan.device = device_of(profile);
  plan.level = options.level;
  plan.load = options.load;
  if (plan.device != "cpu" && plan.device != "cuda" && plan.device != "vendor")
    return error(code::no_tests_for_device, "profile " + profile.name + ": kfab has no test of its own for " +
                                                (profile.accelerator.empty() ? profile.vendor : profile.accelerator));
  const auto known = all_families();
  for (const auto& family : options.families.empty() ? known : options.families) {
    if (std::find(known.begin(), known.end(), family) == known.end()) {
      auto diagnostic = error(code::unknown_test_family, "there is no family of tests '" + one_line(family, 40) + "'");
      diagnostic.suggestions = nearest(family, known);
      return diagnostic;
    }
    if (std::find(plan.families.begin(), plan.families.end(), family) == plan.families.end()) plan.families.push_back(family);
  }

  if (options.duration_s && *options.duration_s <= 0) return error(code::no_time_to_test, "--duration leaves no time for any test");
  double duration = 0, bandwidth = 0, shares = 0;
  const double soak = options.duration_s.value_or(soak_default_s);
  for (const auto& check : checks) {
    if (check.device != plan.device) continue;
    const bool chosen = std::find(plan.families.begin(), plan.families.end(), check.family) != plan.families.end();
    if (!chosen) continue;
    const double one = seconds_of(check, options.level, soak);
    duration += one;
    shares += one;
    if (check.family == "bandwidth") bandwidth = one;
  }
  if (options.duration_s && shares > 0) {
    bandwidth *= *options.duration_s / shares;
    duration = *options.duration_s;
  }

  const auto& memory = *std::find_if(std::begin(memory_rows), std::end(memory_rows),
                                     [&](const auto& row) { return row.device == plan.device && row.level == options.level; });
  const int share = std::max(1, options.share);
  const double fraction = options.memory_fraction.value_or(memory.fraction) / (plan.device == "cpu" ? share : 1);
  const int usual_cap = memory.cap_mib / share;   // 0: none
  const int cap = !options.memory_cap_mib ? usual_cap : usual_cap > 0 ? std::min(*options.memory_cap_mib, usual_cap) : *options.memory_cap_mib;
  const auto list = [](const std::vector<std::string>& words) { return json::Array(words.begin(), words.end()); };
  // Accelerators run side by side, but take turns at copying, and makers' stress tools load one at a time. What a node of many GPUs
  // copies longer it burns shorter, so that standard lasts about as long on any node: the results of a product are compared whole
  // however short, and the copies that criteria rest on are never left out.
  const int accelerators = plan.device == "cpu" ? 1 : std::max(1, profile.per_node.get().value_or(1));
  const bool standard = options.level == Level::standard;
  int samples = plan.device == "cuda" && standard && accelerators >= many_gpus ? samples_of_many : samples_of(options.level);
  const double stretch_to = options.duration_s && shares > 0 ? *options.duration_s / shares : 1;
  const bool only_copies = std::none_of(plan.families.begin(), plan.families.end(), [](const auto& family) { return family == "memory" || family == "burnin"; });
  std::vector<std::pair<std::string, double>> of_node, of_one;   // seconds of each family: on the node, and of one accelerator
  for (const auto& family : known) {
    if (std::find(plan.families.begin(), plan.families.end(), family) == plan.families.end()) continue;
    for (const auto& check : checks) {
      if (check.device != plan.device || check.family != family) continue;
      double node = seconds_of(check, options.level, soak) * stretch_to, one = node;
      if (family == "bandwidth" && plan.device == "cuda") {
        one = std::max(node / accelerators, accelerators > 1 ? copy_floor_s(options.level) * samples / 10.0 : 0);
        if (options.level == Level::quick && !options.duration_s) one = std::max(node, accelerators > 1 ? copy_floor_s(options.level) * samples / 10.0 : 0);
        const double of_sample = copy_s_of_sample(options.level, accelerators > 1);
        if (only_copies) samples = std::clamp(static_cast<int>(one / of_sample), samples, most_copy_samples);
        one = std::min(one, of_sample * (only_copies ? most_copy_samples : samples));
        node = one * accelerators;
      }
      if (family == "burnin" && plan.device == "vendor") {
        if (std::find(std::begin(stress_vendors), std::end(stress_vendors), profile.vendor) == std::end(stress_vendors)) node = 0;   // said at once
        one = node / accelerators;
      }
      of_node.emplace_back(family, node);
      of_one.emplace_back(family, one);
    }
  }
  const auto seconds_in = [](std::vector<std::pair<std::string, double>>& parts_of, std::string_view family) -> double* {
    const auto found = std::find_if(parts_of.begin(), parts_of.end(), [&](const auto& part) { return part.first == family; });
    return found == parts_of.end() ? nullptr : &found->second;
  };
  const std::string_view takes_rest = seconds_in(of_node, "burnin") ? "burnin" : "memory";
  double* const rest = seconds_in(of_node, takes_rest);
  if (const double* copied = seconds_in(of_node, "bandwidth"); plan.device == "cuda" && copied && rest) {
    const double less = *copied - bandwidth;   // copies take so much more than their share, or less
    if (less < 0) *seconds_in(of_one, takes_rest) = *rest -= less;
    else if (takes_rest == "burnin" && options.level != Level::quick) *seconds_in(of_one, takes_rest) = *rest = std::max(*rest * least_burnin_share, *rest - less);
  }
  json::Object family_s;
  for (const auto& [family, seconds] : of_one)
    if (seconds > 0) family_s.set(family, seconds);
  plan.members = json::Object{{"device", plan.device},
                              {"level", to_string(options.level)},
                              {"families", list(plan.families)},
                              {"duration_s", duration},
                              {"family_s", std::move(family_s)},
                              {"fill_time", options.level != Level::quick || options.duration_s.has_value()},   // a quick look is over when all is seen
                              {"threads", options.threads},
                              {"memory_fraction", fraction},
                              {"memory_cap_mib", cap},
                              {"precisions", list(options.precisions)},
                              {"accelerators", list(options.accelerators)},
                              {"samples", samples},
                              {"load", options.load.kind},
                              {"period_s", options.load.period_s},
                              {"duty", options.load.duty}};

  // The parts, so that they add up to the whole: the time that each is given, and what it takes whatever that is.
  double parts = 0;
  for (const auto& [family, seconds] : of_node) {
    const auto check = std::find_if(std::begin(checks), std::end(checks), [&](const auto& one) { return one.device == plan.device && one.family == family; });
    plan.family_s.emplace_back(family, seconds + check->fixed_s);
    parts += plan.family_s.back().second;
  }
  plan.predicted_s = parts + (plan.device == "cpu" ? 2 : 5);
  if (!plan.family_s.empty() && plan.predicted_s > parts) plan.family_s.front().second += plan.predicted_s - parts;   // the start
  plan.deadline_s = plan.predicted_s * 2 + 120 + hang_s;
  const auto burnin = std::find_if(plan.family_s.begin(), plan.family_s.end(), [](const auto& part) { return part.first == "burnin"; });
  if (burnin != plan.family_s.end() && plan.device != "vendor" && plan.load.shaped() && 2 * plan.load.period_s > burnin->second)
    return error(code::load_too_long, fmt::format("profile {}: a burn-in of about {} holds no two periods of {}", profile.name, format_duration_s(burnin->second),
                                                  format_duration_s(plan.load.period_s)));
  return plan;
}

}  // namespace kfab::validation

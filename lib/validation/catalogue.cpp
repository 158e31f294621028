#include "validation/catalogue.hpp"

#include <algorithm>

#include "base/text.hpp"

namespace kfab::validation {
namespace {

// Metric ids as the agent writes them; <p> stands for a precision, <pattern> for a memory pattern, <counter> for a counter.
constexpr Metric common[] = {
    {"counters.ecc_<volatile|aggregate>_<corrected|uncorrected>", "count", "ECC errors that arose during a family's tests; the detail names them"},
    {"counters.remapped_rows_<correctable|uncorrectable>", "count", "rows of memory remapped meanwhile"},
    {"counters.retired_pages_<single_bit|double_bit>", "count", "pages of memory retired meanwhile, where the chip remaps no rows (before 8.0)"},
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
    {"health.retired_pages", "count", "pages that were retired, where the chip remaps no rows (before 8.0)"},
    {"health.retired_pages_pending", "count", "1: a page waits for a reset to be retired"},
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
    {"burnin.gemm_<p>.slices_digest", "digest", "the same of many slices together, each of which has answers of its own"},
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
    {"burnin.gemm_<p>.power_w", "w", "mean power while it was multiplied, both kinds of data, cuBLASLt and comparisons included; nothing below 3 s"},
    {"burnin.gemm_<p>.power_of_limit_pct", "percent", "that by the enforced limit; below 95 the detail says what held it back"},
    {"burnin.power_w", "w", "mean power during the burn-in"},
    {"burnin.power_of_limit_pct", "percent", "of the precision that draws most, by the enforced limit; below 95 the detail says what held it back"},
    {"burnin.temperature_c", "c", "highest temperature"},
    {"burnin.sm_clock_mhz", "mhz", "median clock"},
    {"burnin.throttle.<reason>_pct", "percent", "samples held back by hw_slowdown, hw_thermal, sw_thermal, power_brake, power_cap, clock_setting"},
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
    {"health.thermal", "count", "1: it is too hot: its power state says so (Rebellions P10), or heat holds its clocks back (AMD)"},
    {"health.temperature_c", "c", "by its maker's tool"},
    {"health.power_w", "w", "by its maker's tool"},
    {"health.memory_gib", "gib", "memory that it shows"},
    {"health.memory_used_bytes", "bytes", "memory in use"},
    {"health.pcie_<gen|width|replays>", "count", "of its PCIe link"},
    {"health.pcie_<gen|width>_missing", "count", "what lacks to the link's own maximum (AMD)"},
    {"health.ecc_<corrected|uncorrected|deferred>", "count", "ECC errors since the driver began (AMD; Gaudi, none deferred)"},
    {"health.xgmi_errors", "count", "errors of the links to other GPUs: 0 none, 1 one, 2 several (AMD)"},
    {"health.retired_pages", "count", "pages of memory taken out of use (AMD)"},
    {"health.retired_pages_pending", "count", "pages that wait for that (AMD)"},
    {"health.pages_unreservable", "count", "bad pages that cannot be taken out of use (AMD)"},
    {"health.ports_<up|down>", "count", "ports between the accelerators of a server (Gaudi)"},
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
    {"health", "vendor", "what the maker's tool says: rbln-smi, furiosa-smi, amd-smi, hl-smi", 0, 0, 0, vendor_health, 10, 0,
     "the tool is not there or prints what kfab cannot read; what one of them does not tell is missing"},
    {"memory", "vendor", "not run, and said so", 0, 0, 0, vendor_memory, 0, 0, "always: kfab drives no memory test of any maker"},
    {"bandwidth", "vendor", "the maker's own copies, where kfab drives its tool", 20, 60, 0.1, vendor_bandwidth, 0, 0,
     "the maker has no tool that kfab drives, the tool is not there, prints what kfab cannot read, or measures another accelerator"},
    {"burnin", "vendor", "the maker's own stress tool, where kfab drives it (rvs or agfhc, rngd-diag, hl_qual), one accelerator after the other", 0, 240, 0.7, vendor_burnin, 0, 0,
     "the level quick; a maker without a tool that kfab drives (Rebellions); agfhc for more than the first GPU of a node, or in less than six minutes; a tool that is not there, does not know the model, or says what kfab does not know word for word"},
    {"health", "cpu", "error counters and processors, before and after every test", 0, 0, 0, cpu_health, 0.1, 0,
     "nothing as a whole; a counter that the machine does not have is missing, and so is the kernel's log where the user may not read it"},
    {"health", "cuda", "error counters, links, firmware and XIDs, before and after every test", 0, 0, 0, cuda_health, 4, 0,
     "no driver, or one whose device files the user may not open; what an older driver does not tell is missing; where the kernel's log cannot be read, XIDs are not known"},
    {"memory", "cpu", "memory patterns in all threads", 1.8, 60, 0.2, memory_metrics, 0.5, 0.2, "less memory is to be had than one block"},
    {"bandwidth", "cpu", "STREAM-like bandwidth of the memory, all results compared", 2.7, 40, 0.1, cpu_bandwidth, 0.2, 0.1, "less memory is to be had than the arrays need"},
    {"burnin", "cpu", "matrix products in fp32, fp64 and int8, every bit compared", 4.5, 200, 0.7, cpu_burnin, 0.2, 0.5, "less memory is to be had than the matrices need"},
    {"memory", "cuda", "memory patterns over the GPU's free memory", 6, 60, 0.2, memory_metrics, 0, 1, cuda_as_a_whole},
    {"bandwidth", "cuda", "copies by nvbandwidth's method, all bytes compared", 3, 40, 0.1, cuda_bandwidth, 0, 0.5, cuda_as_a_whole},
    {"burnin", "cuda", "matrix products in every precision, every bit compared", 15, 200, 0.7, cuda_burnin, 0, 5, cuda_as_a_whole},
};

struct LevelRow { Level level; std::string_view word; int samples; };
constexpr LevelRow levels[] = {{Level::quick, "quick", 10}, {Level::standard, "standard", 20}, {Level::soak, "soak", 50}};

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

}  // namespace kfab::validation

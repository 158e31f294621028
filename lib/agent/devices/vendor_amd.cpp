#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "agent/devices/vendor_read.hpp"
#include "base/text.hpp"

namespace kfab::agent::devices::vendor {
namespace {

using namespace reading;

// Lanes as 16, "16" or "x16"; nothing beyond what PCIe has.
std::optional<double> pcie_lanes(const json::Value& raw) {
  std::string text = text_of(raw, 10);
  if (!text.empty() && (text.front() == 'x' || text.front() == 'X')) text.erase(0, 1);
  const auto lanes = read_quantity(std::string_view(text));
  return lanes && lanes->unit.empty() && lanes->value >= 1 && lanes->value <= 32 ? std::optional(lanes->value) : std::nullopt;
}

// What the links to other GPUs have seen: a number, or the name that the library gives it.
std::optional<double> xgmi_errors(const json::Value& raw) {
  struct Row { std::string_view word; double value; };
  static constexpr std::array rows{Row{"AMDSMI_XGMI_STATUS_NO_ERRORS", 0}, Row{"AMDSMI_XGMI_STATUS_ERROR", 1}, Row{"AMDSMI_XGMI_STATUS_MULTIPLE_ERRORS", 2},
                                   Row{"0", 0}, Row{"1", 1}, Row{"2", 2}};
  const std::string word = text_of(raw, 60);
  const auto row = std::find_if(rows.begin(), rows.end(), [&](const Row& one) { return one.word == word; });
  return row == rows.end() ? std::nullopt : std::optional(row->value);
}

// Whether any leaf of what stands there says that it is active: a word, or words by partition. Nothing where no leaf says either.
std::optional<bool> any_active(const json::Value& value, int depth = 0) {
  if (depth > 4) return std::nullopt;
  if (const auto* text = value.as_string()) {
    const std::string word = to_lower(std::string(trim(*text)));
    return word == "active" ? std::optional(true) : word == "not active" ? std::optional(false) : std::nullopt;
  }
  std::optional<bool> found;
  const auto take = [&](const json::Value& part) {
    if (const auto active = any_active(part, depth + 1)) found = *active || found.value_or(false);
  };
  if (const auto* list = value.as_array())
    for (const auto& part : *list) take(part);
  if (const auto* object = value.as_object())
    for (const auto& [name, part] : object->members()) take(part);
  return found;
}

// Held back by heat, by any of the sensors that have a say in that; what power alone holds back is no fault.
void read_throttling(const json::Value& metric, VendorAccelerator& one) {
  static constexpr std::array hot{"prochot", "socket_thermal", "vr_thermal", "hbm_thermal"};
  std::optional<double> thermal;
  std::string detail;
  for (const char* const name : hot)
    if (const auto active = any_active(metric["throttle"][fmt::format("{}_violation_status", name)])) {
      thermal = std::max(thermal.value_or(0), *active ? 1.0 : 0.0);
      if (*active) detail += (detail.empty() ? "" : ", ") + std::string(name);
    }
  add(one, "health.thermal", thermal, "count", thermal ? detail : "the tool does not tell it");
}

void read_pcie(const json::Value& bus, const json::Value& pcie, VendorAccelerator& one) {
  const auto width = pcie_lanes(pcie["width"]), most_width = pcie_lanes(bus["max_pcie_width"]);
  const auto generation = pcie_generation(read_quantity(pcie["speed"])), most_generation = pcie_generation(read_quantity(bus["max_pcie_speed"]));
  const auto tell = [&](std::string_view metric, std::optional<double> value) { add(one, metric, value, "count", value ? "" : "the tool does not tell it"); };
  const auto lacks = [](std::optional<double> now, std::optional<double> most) { return now && most ? std::optional(std::max(0.0, *most - *now)) : std::nullopt; };
  tell("health.pcie_width", width);
  tell("health.pcie_gen", generation);
  tell("health.pcie_width_missing", lacks(width, most_width));
  tell("health.pcie_gen_missing", lacks(generation, most_generation));
  add(one, "health.pcie_replays", pcie["replay_count"], "", 1, "count");
}

// The tool has either a list of pages, or words: only those that say that there are none are a zero.
std::optional<double> page_count(const json::Value& pages) {
  if (const auto* list = pages.as_array()) return static_cast<double>(list->size());
  const auto* words = pages.as_string();
  return words && to_lower(one_line(*words, 60)).starts_with("no bad pages found") ? std::optional(0.0) : std::nullopt;
}

// The record of one GPU in a document of many.
const json::Value* record_of(const json::Value& document, int index) {
  if (const auto* list = list_of(document, {"gpu_data", "gpus"}))
    for (const auto& candidate : *list)
      if (candidate.is_object() && index_of(candidate["gpu"], -1) == index) return &candidate;
  return nullptr;
}

}  // namespace

ToolAnswer read_amd(std::string_view facts, std::string_view metrics) {
  ToolAnswer answer;
  const json::Value statics = parsed(facts, "the answer of amd-smi static", answer), figures = parsed(metrics, "the answer of amd-smi metric", answer), none;
  const auto* list = list_of(statics, {"gpu_data", "gpus"});
  if (!list) {
    if (!statics.is_null()) answer.problems.push_back("the answer of amd-smi has no list of GPUs");
    return answer;
  }
  for (const auto& gpu : *list) {
    if (answer.found.size() >= most_accelerators) break;
    if (!gpu.is_object()) continue;
    VendorAccelerator one;
    one.accelerator.index = index_of(gpu["gpu"], static_cast<int>(answer.found.size()));
    one.accelerator.model = text_of(gpu["asic"]["market_name"]);
    one.accelerator.pci_bus_id = text_of(gpu["bus"]["bdf"], 32);
    identify(one, "amd", text_of(gpu["asic"]["asic_serial"]), {});
    const auto vram = read_quantity(gpu["vram"]["size"]);
    // Without a unit it is megabytes, as the tool's older versions print it.
    const double bytes = !vram ? 0 : vram->unit == "bytes" ? vram->value : vram->unit.empty() ? vram->value * 1048576.0 : 0;
    const bool known = bytes > 0 && bytes < 1e15;
    if (known) one.accelerator.memory_bytes = static_cast<std::uint64_t>(bytes);
    add(one, "health.memory_gib", known ? std::optional(bytes / double(1ULL << 30)) : std::nullopt, "gib", known ? "" : "the tool does not tell it");
    if (const auto driver = text_of(gpu["driver"]["version"]); !says_nothing(driver)) one.versions.set("driver", driver);
    const json::Value* const record = record_of(figures, one.accelerator.index);
    const json::Value& metric = record ? *record : none;
    // A sensor that the board does not have is "N/A", and another one stands for it.
    const auto either = [](const json::Value& first, const json::Value& second) -> const json::Value& { return read_quantity(first) ? first : second; };
    add(one, "health.temperature_c", either(metric["temperature"]["hotspot"], metric["temperature"]["edge"]), "c");
    add(one, "health.power_w", either(metric["power"]["socket_power"], metric["power"]["current_socket_power"]), "w");
    add(one, "health.ecc_uncorrected", metric["ecc"]["total_uncorrectable_count"], "", 1, "count");
    add(one, "health.ecc_corrected", metric["ecc"]["total_correctable_count"], "", 1, "count");
    add(one, "health.ecc_deferred", metric["ecc"]["total_deferred_count"], "", 1, "count");
    read_pcie(gpu["bus"], metric["pcie"], one);
    const auto xgmi = xgmi_errors(metric["xgmi_err"]);
    add(one, "health.xgmi_errors", xgmi, "count", xgmi ? "" : "the tool does not tell it");
    read_throttling(metric, one);
    answer.found.push_back(std::move(one));
  }
  settle_identities(answer);
  return answer;
}

void read_amd_pages(std::string_view text, VendorAccelerator& one) {
  ToolAnswer answer;
  const json::Value document = parsed(text, "the answer of amd-smi bad-pages", answer), none;
  const json::Value* const record = record_of(document, one.accelerator.index);
  struct Row { const char *metric, *key; };
  for (const Row& row : {Row{"health.retired_pages", "retired"}, Row{"health.retired_pages_pending", "pending"}, Row{"health.pages_unreservable", "un_res"}}) {
    const auto count = page_count(record ? (*record)[row.key] : none);
    add(one, row.metric, count, "count", count ? "" : answer.problems.empty() ? "the tool does not tell it, or tells root alone" : answer.problems.front());
  }
}

}  // namespace kfab::agent::devices::vendor

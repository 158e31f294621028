#include "agent/devices/vendor_tools.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "agent/devices/vendor_read.hpp"
#include "agent/health/kernel_log.hpp"
#include "base/statistics.hpp"
#include "base/text.hpp"

namespace kfab::agent::devices::vendor {
namespace {

constexpr double most_value = 1e18;

// Suffixes as the tools write them, lower case; "°" is dropped before.
struct UnitRow { std::string_view suffix, unit; double factor; };
constexpr std::array unit_rows{
    UnitRow{"uw", "w", 1e-6},  UnitRow{"mw", "w", 1e-3},   UnitRow{"w", "w", 1},          UnitRow{"c", "c", 1},
    UnitRow{"kib", "bytes", 1024.0}, UnitRow{"mib", "bytes", 1048576.0}, UnitRow{"gib", "bytes", 1073741824.0},
    UnitRow{"kb", "bytes", 1e3},     UnitRow{"mb", "bytes", 1048576.0},  UnitRow{"gb", "bytes", 1073741824.0},   // amd-smi says MB and counts in MiB
    UnitRow{"b", "bytes", 1},  UnitRow{"bytes", "bytes", 1}, UnitRow{"%", "percent", 1},   UnitRow{"mhz", "mhz", 1},
    UnitRow{"ghz", "mhz", 1e3}, UnitRow{"gt/s", "gt/s", 1}, UnitRow{"mt/s", "gt/s", 1e-3},
};

std::optional<double> whole_number(std::string_view text, std::string_view& rest) {
  text = trim(text);
  double value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc{} || end == text.data() || !std::isfinite(value) || std::abs(value) > most_value) return std::nullopt;
  rest = trim(text.substr(static_cast<std::size_t>(end - text.data())));
  return value;
}

}  // namespace

namespace reading {

std::string text_of(const json::Value& value, std::size_t chars) {
  if (const auto* text = value.as_string()) return one_line(*text, chars);
  if (const auto whole = value.as_int()) return std::to_string(*whole);
  return {};
}

bool says_nothing(std::string_view text) {
  const std::string lower = to_lower(std::string(trim(text)));
  return lower.empty() || lower == "n/a" || lower == "[n/a]" || lower == "na" || lower == "none" || lower == "unknown" || lower == "-" || lower == "null";
}

void add(VendorAccelerator& to, std::string_view metric, std::optional<double> value, std::string_view unit, std::string detail) {
  to.figures.push_back({std::string(metric), value, std::string(unit), std::move(detail)});
}

void add(VendorAccelerator& to, std::string_view metric, const json::Value& raw, std::string_view unit, double scale, std::string_view shown) {
  const auto quantity = read_quantity(raw);
  const bool fits = quantity && (quantity->unit == unit || quantity->unit.empty());
  add(to, metric, fits ? std::optional(quantity->value * scale) : std::nullopt, shown.empty() ? unit : shown,
      fits ? std::string() : raw.is_null() ? std::string("the tool does not tell it") : fmt::format("the tool says '{}'", one_line(json::dump(raw), 60)));
}

void identify(VendorAccelerator& one, std::string_view vendor, const std::string& serial, const std::string& uuid) {
  const std::string id = !says_nothing(serial) ? serial : !says_nothing(uuid) ? uuid : one.accelerator.pci_bus_id;
  one.accelerator.id = id.empty() ? fmt::format("{}-{}", vendor, one.accelerator.index) : id;
  one.accelerator.device = "vendor";
}

int index_of(const json::Value& value, int fallback) {
  if (const auto number = value.as_int()) return static_cast<int>(std::clamp<std::int64_t>(*number, 0, 1'000'000));
  if (const auto* text = value.as_string()) {   // "0", "npu0"
    const auto digit = text->find_first_of("0123456789");
    int number = 0;
    if (digit != std::string::npos && std::from_chars(text->data() + digit, text->data() + text->size(), number).ec == std::errc{}) return std::clamp(number, 0, 1'000'000);
  }
  return fallback;
}

const json::Array* list_of(const json::Value& document, std::initializer_list<std::string_view> names) {
  if (const auto* list = document.as_array()) return list;
  for (const auto name : names)
    if (const auto* list = document[name].as_array()) return list;
  return nullptr;
}

json::Value parsed(std::string_view text, std::string_view what, ToolAnswer& answer) {
  if (trim(text).empty()) return {};
  auto document = json::parse(text, std::size_t{8} << 20);
  if (document) return std::move(*document);
  answer.problems.push_back(fmt::format("{} is no JSON: {}", what, one_line(text, 80)));
  return {};
}

std::optional<double> pcie_generation(const std::optional<Quantity>& speed) {
  static constexpr std::array rates{2.5, 5.0, 8.0, 16.0, 32.0, 64.0};
  for (std::size_t i = 0; speed && i < rates.size(); ++i)
    if ((speed->unit == "gt/s" || speed->unit.empty()) && (speed->value == rates[i] || speed->value == rates[i] * 1000)) return static_cast<double>(i + 1);
  return std::nullopt;
}

void settle_identities(ToolAnswer& answer) {
  auto& found = answer.found;
  std::vector<VendorAccelerator> kept;
  std::map<std::string, int> bearers;
  for (auto& one : found) {
    const bool again = std::any_of(kept.begin(), kept.end(), [&](const VendorAccelerator& other) {
      return other.accelerator.id == one.accelerator.id && other.accelerator.pci_bus_id == one.accelerator.pci_bus_id;
    });
    if (again) {
      answer.problems.push_back(fmt::format("{} is listed twice; the second time it was passed over", one.accelerator.id));
      continue;
    }
    ++bearers[one.accelerator.id];
    kept.push_back(std::move(one));
  }
  for (auto& one : kept)
    if (bearers[one.accelerator.id] > 1 && !one.accelerator.pci_bus_id.empty()) {
      answer.problems.push_back(fmt::format("{} devices tell the serial {}; each goes by its place on the PCI bus", bearers[one.accelerator.id], one.accelerator.id));
      one.accelerator.id = one.accelerator.pci_bus_id;
    }
  found = std::move(kept);
}

}  // namespace reading

using namespace reading;

namespace {

// -1, as a number or as text: the board does not say.
int vendor_numa_node(const json::Value& value) {
  const auto number = read_quantity(value);
  return number && number->unit.empty() && number->value >= 0 ? static_cast<int>(std::min(number->value, 1e6)) : -1;
}

}  // namespace

std::optional<Quantity> read_quantity(std::string_view text) {
  if (says_nothing(text)) return std::nullopt;
  std::string_view rest;
  const auto value = whole_number(text, rest);
  if (!value) return std::nullopt;
  std::string suffix = to_lower(std::string(rest));
  if (suffix.rfind("\xc2\xb0", 0) == 0) suffix.erase(0, 2);   // the degree sign
  if (suffix.empty()) return Quantity{*value, {}};
  const auto row = std::find_if(unit_rows.begin(), unit_rows.end(), [&](const UnitRow& r) { return r.suffix == suffix; });
  if (row == unit_rows.end()) return std::nullopt;
  return Quantity{*value * row->factor, std::string(row->unit)};
}

std::optional<Quantity> read_quantity(const json::Value& value) {
  if (const auto* text = value.as_string()) return read_quantity(std::string_view(*text));
  if (value.is_object()) {
    const auto number = read_quantity(value["value"]);
    const auto* unit = value["unit"].as_string();
    if (!number || !number->unit.empty()) return number;
    if (!unit || trim(*unit).empty()) return number;
    const std::string text = fmt::format("{:.17g} {}", number->value, one_line(*unit, 20));
    return read_quantity(std::string_view(text));
  }
  const auto number = value.is_number() ? value.as_double() : std::nullopt;
  if (!number || !std::isfinite(*number) || std::abs(*number) > most_value) return std::nullopt;
  return Quantity{*number, {}};
}

ToolAnswer read_rebellions(std::string_view text) {
  ToolAnswer answer;
  const json::Value document = parsed(text, "the answer of Rebellions' tool", answer);
  const auto* devices = list_of(document, {"devices"});
  if (!devices) {
    if (!document.is_null()) answer.problems.push_back("the answer of Rebellions' tool has no devices");
    return answer;
  }
  // Contexts are what uses the devices; a context names its device by number or by name.
  std::map<std::string, int> contexts;
  for (const auto& context : document.array_at("contexts")) ++contexts[text_of(context["npu"], 20)];
  const std::string driver = !document.string_or("KMD_version").empty() ? document.string_or("KMD_version") : document.string_or("driver_version");
  for (const auto& device : *devices) {
    if (answer.found.size() >= most_accelerators) break;
    if (!device.is_object()) continue;
    const auto& pci = device["pci"];
    if (text_of(pci["dev"], 12) == "0x1221") continue;   // a virtual function of a card that is there already
    VendorAccelerator one;
    one.accelerator.model = text_of(device["name"]);
    one.accelerator.index = index_of(device["npu"], static_cast<int>(answer.found.size()));
    one.accelerator.pci_bus_id = text_of(pci["bus_id"], 32);
    one.accelerator.numa_node = vendor_numa_node(pci["numa_node"]);
    identify(one, "rebellions", text_of(device["sid"]), text_of(device["uuid"]));
    const auto total = read_quantity(device["memory"]["total"]);
    if (total && total->value > 0) one.accelerator.memory_bytes = static_cast<std::uint64_t>(total->value);
    const std::string status = text_of(device["status"], 40), pstate = text_of(device["pstate"], 10);
    add(one, "health.alive", status.empty() ? std::nullopt : std::optional(status == "normal" ? 1.0 : 0.0), "count", status.empty() ? "the tool tells no status" : "status " + status);
    // The maker's power states: P12 says that the device hangs, P10 that it is too hot.
    add(one, "health.hung", pstate.empty() ? std::nullopt : std::optional(pstate == "P12" ? 1.0 : 0.0), "count", pstate.empty() ? "the tool tells no pstate" : pstate);
    add(one, "health.thermal", pstate.empty() ? std::nullopt : std::optional(pstate == "P10" ? 1.0 : 0.0), "count", pstate);
    add(one, "health.temperature_c", device["temperature"], "c");
    add(one, "health.power_w", device["card_power"], "w");
    add(one, "health.memory_gib", device["memory"]["total"], "bytes", 1.0 / (1ULL << 30), "gib");
    add(one, "health.memory_used_bytes", device["memory"]["used"], "bytes");
    add(one, "health.pcie_width", pci["link_width"], "", 1, "count");
    const auto generation = pcie_generation(read_quantity(pci["link_speed"]));
    add(one, "health.pcie_gen", generation, "count", generation ? "" : "the tool does not tell it");
    const int own = (contexts.contains(std::to_string(one.accelerator.index)) ? contexts[std::to_string(one.accelerator.index)] : 0) + (contexts.contains(text_of(device["device"], 20)) ? contexts[text_of(device["device"], 20)] : 0);
    add(one, "health.foreign_processes", document["contexts"].is_array() ? std::optional<double>(own) : std::nullopt, "count", document["contexts"].is_array() ? "" : "the tool lists no contexts");
    if (const auto firmware = text_of(device["fw_ver"]); !firmware.empty()) one.versions.set("firmware", firmware);
    if (!driver.empty()) one.versions.set("driver", one_line(driver, 60));
    answer.found.push_back(std::move(one));
  }
  settle_identities(answer);
  return answer;
}

namespace {

// "| RNGD | npu0 | 1.7.0, 4dfed1852e7b | 40.98°C | 38 W | 0000:03:00.0 |", or furiosactl's "| npu1 | warboy | 1.6.0, 3c10fd3 | ...":
// cells are told by what they look like, because the columns differ.
void read_furiosa_table(std::string_view text, ToolAnswer& answer) {
  for (const std::string_view line : split_lines(text.substr(0, std::size_t{1} << 20))) {
    if (answer.found.size() >= most_accelerators) return;
    if (line.find('|') == std::string_view::npos) continue;
    VendorAccelerator one;
    std::optional<double> temperature, power;
    std::string name;
    for (const auto& cell : split(line, '|')) {
      const std::string_view word = trim(cell);
      if (word.empty()) continue;
      const auto quantity = read_quantity(word);
      if (!health::pci_slot(word).empty()) one.accelerator.pci_bus_id = one_line(word, 32);
      else if (quantity && quantity->unit == "c") temperature = quantity->value;
      else if (quantity && quantity->unit == "w") power = quantity->value;
      else if (word.rfind("npu", 0) == 0) name = one_line(word, 20);
      else if (const std::string lower = to_lower(std::string(word)); lower == "rngd" || lower == "warboy") one.accelerator.model = lower;
      else if (one.versions.empty() && word.find('.') != std::string_view::npos) one.versions.set("firmware", one_line(word, 60));
    }
    if (name.empty() || one.accelerator.pci_bus_id.empty()) continue;   // a heading, a rule
    one.accelerator.index = index_of(json::Value(name), static_cast<int>(answer.found.size()));
    identify(one, "furiosa", {}, {});
    add(one, "health.temperature_c", temperature, "c", temperature ? "" : "not in the table");
    add(one, "health.power_w", power, "w", power ? "" : "not in the table");
    add(one, "health.alive", std::nullopt, "count", "the table tells no liveness");
    answer.found.push_back(std::move(one));
  }
}

}  // namespace

ToolAnswer read_furiosa(std::string_view info, std::string_view status) {
  ToolAnswer answer;
  if (const auto first = trim(info); !first.empty() && first.front() != '[' && first.front() != '{') {
    read_furiosa_table(info, answer);
    if (answer.found.empty()) answer.problems.push_back(fmt::format("the answer of furiosa-smi is neither JSON nor its table: {}", one_line(info, 80)));
    settle_identities(answer);
    return answer;
  }
  const json::Value facts = parsed(info, "the answer of furiosa-smi info", answer), states = parsed(status, "the answer of furiosa-smi status", answer);
  const auto* devices = list_of(facts, {"devices"});
  if (!devices) return answer;
  for (const auto& device : *devices) {
    if (answer.found.size() >= most_accelerators) break;
    if (!device.is_object()) continue;
    VendorAccelerator one;
    const std::string name = !text_of(device["dev_name"], 20).empty() ? text_of(device["dev_name"], 20) : text_of(device["index"], 20);
    one.accelerator.model = text_of(device["arch"]);
    one.accelerator.index = index_of(json::Value(name), static_cast<int>(answer.found.size()));
    one.accelerator.pci_bus_id = text_of(device["pci_bdf"], 32);
    identify(one, "furiosa", text_of(device["device_sn"]), text_of(device["device_uuid"]));
    add(one, "health.temperature_c", device["temperature"], "c");
    add(one, "health.power_w", device["power"], "w");
    if (const auto firmware = text_of(device["firmware"]); !firmware.empty()) one.versions.set("firmware", firmware);

    const json::Value* state = nullptr;
    if (const auto* list = list_of(states, {"devices"}))
      for (const auto& candidate : *list) {
        const std::string of = !text_of(candidate["device"], 20).empty() ? text_of(candidate["device"], 20) : text_of(candidate["index"], 20);
        if (of == name || (of.find_first_not_of("0123456789") == std::string::npos && !of.empty() && index_of(json::Value(of), -1) == one.accelerator.index)) state = &candidate;
      }
    const std::string liveness = state ? text_of((*state)["liveness"], 20) : std::string();
    std::optional<double> alive;
    if (!liveness.empty()) alive = liveness == "alive" ? 1 : 0;
    if (state && !alive && (*state)["cores"].is_array() && !(*state)["cores"].as_array()->empty()) {   // Warboy: of each core
      alive = 1;
      for (const auto& core : *(*state)["cores"].as_array()) {
        const std::string word = to_lower(text_of(core["status"], 30));
        if (word != "available" && word != "occupied" && word != "idle") alive = 0;
      }
    }
    add(one, "health.alive", alive, "count", !liveness.empty() ? "liveness " + liveness : alive ? "by its cores" : "the tool tells no liveness");
    if (state) {
      std::uint64_t bytes = 0;
      std::optional<double> used;
      if (const auto* memories = (*state)["memory"].as_object())
        for (const auto& [kind, memory] : memories->members()) {
          if (kind != "DRAM") continue;
          if (const auto total = read_quantity(memory["total_size"]); total && total->value > 0) bytes = static_cast<std::uint64_t>(total->value);
          if (const auto now = read_quantity(memory["used_size"])) used = now->value;
        }
      one.accelerator.memory_bytes = bytes;
      add(one, "health.memory_gib", bytes ? std::optional(double(bytes) / double(1ULL << 30)) : std::nullopt, "gib", bytes ? "" : "the tool does not tell it");
      add(one, "health.memory_used_bytes", used, "bytes");
      bool occupied = false;
      for (const auto& core : (*state).array_at("pe_utilizations")) occupied = occupied || core.bool_or("pe_occupancy", false);
      if ((*state)["pe_utilizations"].is_array()) add(one, "health.foreign_processes", occupied ? 1.0 : 0.0, "count", occupied ? "a processing element is occupied" : "");
    }
    answer.found.push_back(std::move(one));
  }
  settle_identities(answer);
  return answer;
}

std::vector<Figure> read_bandwidth(std::string_view text) {
  struct Way { std::string_view word, metric; };
  static constexpr std::array ways{Way{"h2d", "host_to_device"}, Way{"host to device", "host_to_device"}, Way{"d2h", "device_to_host"}, Way{"device to host", "device_to_host"},
                                   Way{"d2d", "device_to_device"}, Way{"device to device", "device_to_device"}, Way{"thrpt", "device_to_device"}};
  static constexpr std::array units{std::pair<std::string_view, double>{"gib/s", 1.073741824}, std::pair<std::string_view, double>{"mib/s", 1.048576e-3},
                                    std::pair<std::string_view, double>{"gb/s", 1.0}, std::pair<std::string_view, double>{"mb/s", 1e-3}};
  std::vector<Figure> out;
  std::size_t lines = 0;
  for (const std::string_view line : split_lines(text)) {
    if (++lines > most_lines || out.size() > 64) break;
    const std::string lower = to_lower(std::string(line.substr(0, 500)));
    const auto way = std::find_if(ways.begin(), ways.end(), [&](const Way& w) { return lower.find(w.word) != std::string::npos; });
    if (way == ways.end()) continue;
    // Every number that a unit follows; of several (least, middle, most) the middle one.
    std::vector<double> found;
    for (std::size_t at = lower.find_first_of("0123456789"); at != std::string::npos && found.size() < 16;) {
      std::string_view rest;
      const auto value = whole_number(std::string_view(lower).substr(at), rest);
      if (value && *value >= 0)
        for (const auto& [suffix, factor] : units)
          if (rest.rfind(suffix, 0) == 0) {
            // "Gb/s" beside "GB/s" is bits: a link of 8 GB/s must not look like one of 64.
            const auto place = static_cast<std::size_t>(rest.data() - lower.data());
            const bool bits = suffix.size() == 4 && line[place] != lower[place] && line[place + 1] == 'b';
            found.push_back(*value * factor / (bits ? 8 : 1));
            break;
          }
      at = lower.find_first_not_of("0123456789.e+-", at);
      if (at != std::string::npos) at = lower.find_first_of("0123456789", at);
    }
    if (found.empty()) continue;
    out.push_back({fmt::format("bandwidth.{}_gbps", way->metric), median_of(found), "gbps", one_line(line, 100)});
  }
  return out;
}

}  // namespace kfab::agent::devices::vendor

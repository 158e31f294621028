#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "agent/devices/vendor_read.hpp"
#include "agent/health/kernel_log.hpp"
#include "base/text.hpp"

namespace kfab::agent::devices::vendor {

using namespace reading;

ToolAnswer read_gaudi(std::string_view csv) {
  ToolAnswer answer;
  const auto columns = split(gaudi_columns, ',');
  std::size_t lines = 0;
  for (const std::string_view line : split_lines(csv)) {
    if (++lines > most_lines || answer.found.size() >= most_accelerators) break;
    if (trim(line).empty()) continue;
    const auto cells = split(line, ',');
    if (cells.size() != columns.size()) {
      answer.problems.push_back(fmt::format("a line of hl-smi has {} cells, {} were asked for: {}", cells.size(), columns.size(), one_line(line, 60)));
      continue;
    }
    const auto cell = [&](std::string_view column) {
      const auto at = std::find(columns.begin(), columns.end(), column) - columns.begin();
      return one_line(trim(cells[static_cast<std::size_t>(at)]), 80);
    };
    VendorAccelerator one;
    one.accelerator.index = index_of(json::Value(cell("index")), static_cast<int>(answer.found.size()));
    one.accelerator.model = cell("name");
    one.accelerator.pci_bus_id = cell("bus_id");
    identify(one, "intel", cell("serial"), cell("uuid"));
    const auto memory = read_quantity(std::string_view(cell("memory.total")));
    const bool known = memory && memory->unit == "bytes" && memory->value > 0;
    if (known) one.accelerator.memory_bytes = static_cast<std::uint64_t>(memory->value);
    add(one, "health.memory_gib", known ? std::optional(memory->value / double(1ULL << 30)) : std::nullopt, "gib", known ? "" : "the tool says '" + cell("memory.total") + "'");
    add(one, "health.memory_used_bytes", json::Value(cell("memory.used")), "bytes");
    add(one, "health.temperature_c", json::Value(cell("temperature.aip")), "c");
    add(one, "health.power_w", json::Value(cell("power.draw")), "w");
    if (const auto driver = cell("driver_version"); !says_nothing(driver)) one.versions.set("driver", driver);
    answer.found.push_back(std::move(one));
  }
  settle_identities(answer);
  return answer;
}

void read_gaudi_errors(std::string_view csv, VendorAccelerator& one) {
  const std::size_t columns = split(gaudi_error_columns, ',').size();
  const std::string slot = health::pci_slot(one.accelerator.pci_bus_id);
  std::vector<std::string> own(columns);
  std::size_t lines = 0;
  for (const std::string_view line : split_lines(csv)) {
    if (++lines > most_lines) break;
    const auto cells = split(line, ',');
    if (cells.size() != columns || slot.empty() || health::pci_slot(trim(cells[0])) != slot) continue;
    std::transform(cells.begin(), cells.end(), own.begin(), [](const auto& cell) { return one_line(trim(cell), 40); });
  }
  struct Row { const char* metric; std::size_t cell; };
  for (const Row& row : {Row{"health.ecc_uncorrected", 1}, Row{"health.ecc_corrected", 2}})
    add(one, row.metric, own[row.cell].empty() ? json::Value() : json::Value(own[row.cell]), "", 1, "count");
}

void read_gaudi_ports(std::string_view text, VendorAccelerator& one) {
  int up = 0, down = 0, other = 0;
  std::string names;
  std::size_t lines = 0;
  for (const std::string_view line : split_lines(text)) {
    if (++lines > most_lines) break;
    const auto colon = line.find(':');
    const std::string name = to_lower(std::string(trim(line.substr(0, colon))));
    if (colon == std::string_view::npos || !name.starts_with("port") || name.find_first_of("0123456789") == std::string::npos) continue;
    const std::string_view state = trim(line.substr(colon + 1));
    up += state == "UP";
    down += state == "DOWN";
    other += state != "UP" && state != "DOWN";
    if (state != "UP" && names.size() < 120) names += (names.empty() ? "" : ", ") + one_line(name, 20) + " " + one_line(state, 20);
  }
  // A state that is neither of the two known words is not taken for one of them.
  const bool known = up + down > 0 && other == 0;
  const std::string why = known || !names.empty() ? names : "the tool lists no ports";
  add(one, "health.ports_up", known ? std::optional<double>(up) : std::nullopt, "count", known ? "" : why);
  add(one, "health.ports_down", known ? std::optional<double>(down) : std::nullopt, "count", why);
}

}  // namespace kfab::agent::devices::vendor

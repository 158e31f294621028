#include <array>
#include <charconv>

#include <fmt/format.h>

#include "agent/facts_sections.hpp"
#include "agent/health/kernel_log.hpp"
#include "agent/health/source.hpp"
#include "base/text.hpp"

namespace kfab::agent::health {
namespace {

struct AerFile { std::string_view name, file, total; };
constexpr std::array aer_files{AerFile{"aer_correctable", "aer_dev_correctable", "TOTAL_ERR_COR"},
                               AerFile{"aer_nonfatal", "aer_dev_nonfatal", "TOTAL_ERR_NONFATAL"},
                               AerFile{"aer_fatal", "aer_dev_fatal", "TOTAL_ERR_FATAL"}};
constexpr std::size_t most_kinds = 64;

std::optional<std::uint64_t> number_in(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// "RxErr 0\nBadTLP 3\nTOTAL_ERR_COR 3": kinds with their counts, and the sum that the kernel makes.
Reading read_aer(const FactTree& tree, const AerFile& row, const std::string& directory) {
  Reading out{std::string(row.name), std::nullopt, {}};
  const std::string path = directory + "/" + std::string(row.file);
  const auto text = tree.read(path);
  if (!text) {
    out.detail = fmt::format("{}: {}", row.file, tree.why_not(path));
    return out;
  }
  std::uint64_t sum = 0;
  std::size_t kinds = 0;
  std::vector<std::string> moved;
  for (const std::string_view line : split_lines(*text)) {
    const auto blank = line.rfind(' ');
    const auto count = blank == std::string_view::npos ? std::nullopt : number_in(trim(line.substr(blank)));
    if (!count || ++kinds > most_kinds) continue;
    const std::string_view kind = trim(line.substr(0, blank));
    if (kind == row.total) out.value = *count;
    else {
      sum += *count;
      if (*count > 0) moved.push_back(fmt::format("{} {}", one_line(kind, 40), *count));
    }
  }
  if (!out.value && kinds > 0) out.value = sum;   // kernels before 5.4 write no total
  out.detail = out.value ? one_line(join(moved, ", "), 300) : fmt::format("{} holds no count", row.file);
  return out;
}

// "32.0 GT/s PCIe" -> 5.
std::optional<unsigned> generation_of(const std::optional<std::string>& speed) {
  static constexpr std::array<std::string_view, 7> rates{"", "2.5", "5.0", "8.0", "16.0", "32.0", "64.0"};
  if (!speed) return std::nullopt;
  const std::string rate = split(*speed, ' ').front();
  for (unsigned generation = 1; generation < rates.size(); ++generation)
    if (rate == rates[generation] || rate + ".0" == rates[generation]) return generation;
  return std::nullopt;
}

std::optional<unsigned> width_of(std::optional<long long> width) {
  if (!width || *width <= 0 || *width > 32) return std::nullopt;   // 255: the kernel does not know
  return static_cast<unsigned>(*width);
}

// The folder of a device whatever way its address is written.
std::string folder_of(std::string_view address) {
  const std::string slot = pci_slot(address);
  if (slot.empty()) return {};
  const auto dot = address.rfind('.');
  return "/sys/bus/pci/devices/" + slot + "." + (dot == std::string_view::npos ? std::string("0") : std::string(address.substr(dot + 1, 1)));
}

}  // namespace

Readings aer_counters(const Sources& sources, std::string_view address) {
  const FactTree tree(sources.root);
  const std::string folder = folder_of(address);
  Readings out;
  for (const auto& row : aer_files) {
    if (folder.empty()) out.push_back({std::string(row.name), std::nullopt, "the accelerator tells no PCI address"});
    else out.push_back(read_aer(tree, row, folder));
  }
  return out;
}

PcieLink sysfs_link(const Sources& sources, std::string_view address) {
  PcieLink link;
  const std::string folder = folder_of(address);
  if (folder.empty()) return link;
  const FactTree tree(sources.root);
  link.generation = generation_of(tree.read(folder + "/current_link_speed"));
  link.most_generation = generation_of(tree.read(folder + "/max_link_speed"));
  link.width = width_of(tree.read_int(folder + "/current_link_width"));
  link.most_width = width_of(tree.read_int(folder + "/max_link_width"));
  return link;
}

}  // namespace kfab::agent::health

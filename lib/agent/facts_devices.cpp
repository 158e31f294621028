#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>

#include <fmt/format.h>

#include "agent/facts_sections.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

std::string padded_hex(long long number) { return fmt::format("{:04x}", number); }

bool is_disk(const FactTree& tree, const std::string& name) {
  static constexpr std::array not_disks{"loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd", "nvme-subsys"};
  for (const auto* prefix : not_disks)
    if (name.starts_with(prefix)) return false;
  return tree.exists("/sys/block/" + name + "/size");
}

// The device numbers of a disk, its partitions, and what is built on them (LVM, RAID), two storeys up.
void add_device_numbers(const FactTree& tree, const std::string& directory, std::vector<std::string>& numbers,
                        int depth) {
  if (auto number = tree.read(directory + "/dev")) numbers.push_back(*number);
  if (depth == 0) return;
  for (const auto& holder : tree.list(directory + "/holders"))
    add_device_numbers(tree, "/sys/block/" + holder, numbers, depth - 1);
  for (const auto& child : tree.list(directory))
    if (tree.exists(directory + "/" + child + "/partition"))
      add_device_numbers(tree, directory + "/" + child, numbers, depth - 1);
}

// Addresses as the running system has them, by interface.
std::multimap<std::string, std::string> live_addresses() {
  std::multimap<std::string, std::string> result;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return result;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || entry->ifa_name == nullptr) continue;
    std::array<char, INET6_ADDRSTRLEN> text{};
    const void* address = nullptr;
    if (entry->ifa_addr->sa_family == AF_INET) {
      address = &reinterpret_cast<const sockaddr_in*>(entry->ifa_addr)->sin_addr;
    } else if (entry->ifa_addr->sa_family == AF_INET6) {
      const auto& six = reinterpret_cast<const sockaddr_in6*>(entry->ifa_addr)->sin6_addr;
      if (IN6_IS_ADDR_LINKLOCAL(&six)) continue;
      address = &six;
    }
    if (address != nullptr && ::inet_ntop(entry->ifa_addr->sa_family, address, text.data(), text.size()) != nullptr)
      result.emplace(entry->ifa_name, text.data());
  }
  ::freeifaddrs(list);
  return result;
}

// A PCI vendor whose accelerators kfab knows, and which of its functions are such. Class is the upper 16 bits of the
// class code: 0300 VGA, 0302 3D controller, 0380 display, 1200 processing accelerator.
struct AcceleratorVendor {
  std::string_view vendor;
  long long vendor_id;
  std::array<long long, 4> classes;       // 0 ends the list; none: any class
  std::array<long long, 2> not_devices;   // virtual functions and the like
};
constexpr std::array accelerator_vendors{
    AcceleratorVendor{"nvidia", 0x10de, {0x0300, 0x0302, 0, 0}, {0, 0}},
    AcceleratorVendor{"amd", 0x1002, {0x1200, 0x0302, 0x0380, 0}, {0, 0}},
    AcceleratorVendor{"furiosa", 0x1ed2, {0, 0, 0, 0}, {0, 0}},            // the id is not confirmed on hardware
    AcceleratorVendor{"rebellions", 0x1eff, {0, 0, 0, 0}, {0x1221, 0}},    // 1220 physical, 1221 virtual function
    AcceleratorVendor{"intel", 0x1da3, {0, 0, 0, 0}, {0, 0}},
};

const AcceleratorVendor* accelerator_vendor(long long vendor, long long device, long long pci_class) {
  for (const auto& row : accelerator_vendors) {
    if (row.vendor_id != vendor) continue;
    if (device != 0 && std::find(row.not_devices.begin(), row.not_devices.end(), device) != row.not_devices.end())
      return nullptr;
    if (row.classes.front() == 0) return &row;
    return std::find(row.classes.begin(), row.classes.end(), pci_class) != row.classes.end() ? &row : nullptr;
  }
  return nullptr;
}

// "32.0 GT/s PCIe" -> 5.
json::Value pcie_generation(const std::optional<std::string>& speed) {
  static constexpr std::array<std::pair<std::string_view, int>, 6> rates{
      {{"2.5", 1}, {"5.0", 2}, {"8.0", 3}, {"16.0", 4}, {"32.0", 5}, {"64.0", 6}}};
  if (!speed) return {};
  const std::string rate = split(*speed, ' ').front();
  for (const auto& [text, generation] : rates)
    if (rate == text || rate + ".0" == text) return generation;
  return {};
}

json::Value positive(std::optional<long long> number) {
  return number && *number > 0 ? json::Value(*number) : json::Value();
}

}  // namespace

SectionFacts disk_facts(const FactTree& tree, const FactsOptions&) {
  SectionFacts facts;
  json::Array disks;
  const auto mounts = read_mounts(tree);
  for (const auto& name : tree.list("/sys/block")) {
    if (!is_disk(tree, name)) continue;
    const std::string directory = "/sys/block/" + name;
    json::Value size, rotational;
    if (const auto sectors = tree.read_int(directory + "/size")) size = *sectors * 512;   // always units of 512 bytes
    if (const auto flag = tree.read_int(directory + "/queue/rotational")) rotational = *flag != 0;
    auto serial = tree.read(directory + "/device/serial");
    if (!serial) serial = tree.read(directory + "/serial");   // virtio
    if (!serial) serial = tree.read(directory + "/device/wwid");
    std::vector<std::string> numbers;
    add_device_numbers(tree, directory, numbers, 3);
    json::Array mounted;
    for (const auto& mount : mounts)
      if (std::find(numbers.begin(), numbers.end(), mount.device_number) != numbers.end())
        mounted.emplace_back(json::Object{{"path", mount.path}, {"fs_type", mount.fs_type}});
    disks.emplace_back(json::Object{{"name", name},
                                    {"size_bytes", size},
                                    {"model", json::Value(tree.read(directory + "/device/model"))},
                                    {"serial", json::Value(serial)},
                                    {"rotational", rotational},
                                    {"mounts", std::move(mounted)}});
  }
  facts.value = std::move(disks);
  return facts;
}

SectionFacts network_facts(const FactTree& tree, const FactsOptions& options) {
  SectionFacts facts;
  json::Array interfaces;
  const auto addresses = options.live ? live_addresses() : std::multimap<std::string, std::string>{};
  for (const auto& name : tree.list("/sys/class/net")) {
    const std::string directory = "/sys/class/net/" + name;
    const auto type = tree.read_int(directory + "/type");
    if (!type || name == "lo") continue;
    json::Array own;
    for (auto [entry, last] = addresses.equal_range(name); entry != last; ++entry) own.emplace_back(entry->second);
    // ARPHRD_ETHER is 1, ARPHRD_INFINIBAND 32. A link that is down tells no speed, a virtual one -1.
    interfaces.emplace_back(json::Object{{"name", name},
                                         {"mac", json::Value(tree.read(directory + "/address"))},
                                         {"speed_mbps", positive(tree.read_int(directory + "/speed"))},
                                         {"mtu", json::Value(tree.read_int(directory + "/mtu"))},
                                         {"state", json::Value(tree.read(directory + "/operstate"))},
                                         {"kind", *type == 1 ? "ethernet" : *type == 32 ? "infiniband" : "other"},
                                         {"physical", tree.exists(directory + "/device")},
                                         {"addresses", std::move(own)}});
  }
  facts.value = std::move(interfaces);
  return facts;
}

SectionFacts accelerator_facts(const FactTree& tree, const FactsOptions&) {
  SectionFacts facts;
  json::Array found;
  for (const auto& address : tree.list("/sys/bus/pci/devices")) {
    const std::string directory = "/sys/bus/pci/devices/" + address;
    const auto vendor = tree.read_int(directory + "/vendor"), device = tree.read_int(directory + "/device"),
               pci_class = tree.read_int(directory + "/class");
    if (!vendor || !device || !pci_class || tree.exists(directory + "/physfn"))
      continue;   // physfn: a virtual function
    const auto* row = accelerator_vendor(*vendor, *device, *pci_class >> 8);
    if (row == nullptr) continue;
    const auto numa = tree.read_int(directory + "/numa_node");
    found.emplace_back(json::Object{{"vendor", row->vendor},
                                    {"vendor_id", padded_hex(*vendor)},
                                    {"device_id", padded_hex(*device)},
                                    {"address", address},
                                    {"driver", json::Value(tree.link_name(directory + "/driver"))},
                                    {"numa_node", numa && *numa >= 0 ? json::Value(*numa) : json::Value()},
                                    {"pcie_gen", pcie_generation(tree.read(directory + "/current_link_speed"))},
                                    {"pcie_width", positive(tree.read_int(directory + "/current_link_width"))},
                                    {"max_pcie_gen", pcie_generation(tree.read(directory + "/max_link_speed"))},
                                    {"max_pcie_width", positive(tree.read_int(directory + "/max_link_width"))}});
  }
  facts.value = std::move(found);
  return facts;
}

}  // namespace kfab::agent

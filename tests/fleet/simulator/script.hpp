#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fleet/simulator/faults.hpp"

namespace kfab::sim {

// IPv4 addresses in host order, within 127.0.0.0/8.
struct AddressRange {
  std::uint32_t first = 0, last = 0;
};
// "127.1.0.5", "127.1.0.5-127.1.0.9" or "127.1.0.5+1000" (that many from there on).
std::optional<AddressRange> parse_addresses(std::string_view);
std::string to_text(std::uint32_t address);

// Which node plays what. All addresses that nobody named are healthy.
class Script {
 public:
  // One line "ADDRESSES FAULT"; an address may be given once. Returns what is wrong with it; empty when nothing is.
  std::string add(std::string_view line);
  std::string add_file(const std::string& path);   // of such lines; '#' begins a comment
  const Fault& of(std::uint32_t address) const;
  std::vector<std::uint32_t> black_holes() const;

 private:
  struct Part { std::uint32_t last; Fault fault; };
  std::map<std::uint32_t, Part> parts_;   // by their first address
};

}  // namespace kfab::sim

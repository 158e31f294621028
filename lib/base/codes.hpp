#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace kfab {

enum class Severity : std::uint8_t { note, warning, error };
std::string_view to_string(Severity);

// Every finding kfab can make has a stable number, never used again for something else: 10xx manifests, 11xx node
// sets, 12xx command line, 20xx SSH, 21xx agent and fleet, 30xx provisioning, 40xx accelerators and tests,
// 50xx readiness, 60xx store and files of kfab's own, 90xx faults of kfab itself. The rows are in codes/AREA.inc, and
// the names, code::NAME, in codes/AREA.hpp: a new one concerns only the sources that speak of its area.
enum class Code : std::uint16_t {};

// What `kfab explain` prints and every diagnostic ends with.
struct CodeInfo {
  Code code;
  Severity severity;
  std::string_view name;
  std::string_view cause;
  std::string_view next_step;
};

std::span<const CodeInfo> all_codes();            // ascending by number
const CodeInfo& info(Code);
std::string to_string(Code);                      // "KF1003"
std::optional<Code> parse_code(std::string_view);  // "KF1003", "kf1003" or "1003"

}  // namespace kfab

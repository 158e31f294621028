#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace kfab::agent {

// The name of the processors, from the text of /proc/cpuinfo; nothing where it tells none. Arm's kernels tell numbers instead of a name
// (implementer and part of the register MIDR_EL1): "Arm Neoverse V2", or "Arm processor 0x41/0xfff" for one that is not known here.
std::optional<std::string> cpu_model(std::string_view cpuinfo);

}  // namespace kfab::agent

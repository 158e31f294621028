#pragma once

#include <string>

#include "agent/facts_sections.hpp"

namespace kfab::agent {

// What NVML tells, by dlopen of `library`: {"driver":{version, cuda_version}, "gpus":[{index, name, uuid, serial,
// vbios, pci_address, memory_total_bytes, power_limit_w, default_power_limit_w, persistence, ecc, mig, pcie_gen,
// pcie_width, max_pcie_gen, max_pcie_width, remapped_rows{correctable, uncorrectable, pending, failed},
// fabric{state, status}}]}. ecc, mig and persistence are booleans. What this driver or GPU does not support is null.
// Without the library the value is null and no problem is told: most nodes have no GPU; a library that is there and
// fails is a problem. Calls made by the versioned names of header API version 13.
SectionFacts nvml_facts(const std::string& library);

}  // namespace kfab::agent

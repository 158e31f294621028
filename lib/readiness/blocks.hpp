#pragma once

#include <cstdint>
#include <vector>

namespace kfab::readiness {

enum class Packing : std::uint8_t { fits, does_not_fit, undecided };

// Whether blocks of these sizes find room, side by side and without sharing a node, in runs of neighbouring nodes of
// these lengths. `undecided` when the search was given up (it is a packing problem; the sizes of real sites are few).
Packing pack(std::vector<std::int64_t> blocks, std::vector<std::int64_t> runs);

}  // namespace kfab::readiness

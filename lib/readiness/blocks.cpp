#include "readiness/blocks.hpp"

#include <algorithm>
#include <functional>
#include <numeric>

namespace kfab::readiness {
namespace {

constexpr int max_tries = 200'000;

// Largest block first, into every run of a different length: equal runs are the same choice.
Packing search(const std::vector<std::int64_t>& blocks, std::size_t next, std::vector<std::int64_t>& runs, int& tries) {
  if (next == blocks.size()) return Packing::fits;
  if (++tries > max_tries) return Packing::undecided;
  std::vector<std::int64_t> tried;
  for (auto& run : runs) {
    if (run < blocks[next] || std::find(tried.begin(), tried.end(), run) != tried.end()) continue;
    tried.push_back(run);
    run -= blocks[next];
    const Packing found = search(blocks, next + 1, runs, tries);
    run += blocks[next];
    if (found != Packing::does_not_fit) return found;
  }
  return Packing::does_not_fit;
}

}  // namespace

Packing pack(std::vector<std::int64_t> blocks, std::vector<std::int64_t> runs) {
  std::erase_if(blocks, [](std::int64_t size) { return size <= 0; });
  if (blocks.empty()) return Packing::fits;
  std::sort(blocks.begin(), blocks.end(), std::greater<>());
  std::erase_if(runs, [&](std::int64_t length) { return length < blocks.back(); });
  std::sort(runs.begin(), runs.end());   // the tightest run first
  const auto room = std::accumulate(runs.begin(), runs.end(), std::int64_t{0});
  if (room < std::accumulate(blocks.begin(), blocks.end(), std::int64_t{0})) return Packing::does_not_fit;
  int tries = 0;
  return search(blocks, 0, runs, tries);
}

}  // namespace kfab::readiness

#include "fleet/cost.hpp"

#include <fmt/format.h>

#include "base/text.hpp"

namespace kfab::fleet {
namespace {

std::string memory_text(std::uint64_t bytes) {
  const double mib = static_cast<double>(bytes) / (1024.0 * 1024.0);
  if (mib >= 10'000) return fmt::format("{:.1f} GiB", mib / 1024);
  return fmt::format("{} MiB", with_thousands(static_cast<long long>(mib + 0.5)));
}

}  // namespace

std::string to_text(const RunCost& cost) {
  return fmt::format("{}, {} CPU, {}, {}", plural(static_cast<long long>(cost.nodes), "node"), brief_duration_s(cost.cpu_s),
                     memory_text(cost.peak_rss_bytes), brief_duration_s(cost.wall_s));
}

}  // namespace kfab::fleet

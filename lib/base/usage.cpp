#include "base/usage.hpp"

#include <sys/resource.h>

namespace kfab {

ProcessUsage own_usage() {
  rusage used{};
  if (getrusage(RUSAGE_SELF, &used) != 0) return {};
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  constexpr std::uint64_t kib = 1024;   // ru_maxrss is in KiB on Linux
  return {seconds(used.ru_utime) + seconds(used.ru_stime), static_cast<std::uint64_t>(used.ru_maxrss) * kib};
}

}  // namespace kfab

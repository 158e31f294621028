#include "base/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace kfab {

double median_of(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + std::ptrdiff_t(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

double variation_of(const std::vector<double>& values) {
  if (values.size() < 2) return 0;
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / double(values.size());
  double squares = 0;
  for (const double one : values) squares += (one - mean) * (one - mean);
  return mean > 0 ? std::sqrt(squares / double(values.size() - 1)) / mean : 0;
}

}  // namespace kfab

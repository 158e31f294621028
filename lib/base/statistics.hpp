#pragma once

#include <vector>

namespace kfab {

// The middle of the sorted values, the mean of the two middle ones of an even number; 0 for none. No value may be NaN.
double median_of(std::vector<double> values);
// Standard deviation of a sample by its mean; 0 for fewer than two values.
double variation_of(const std::vector<double>& values);

}  // namespace kfab

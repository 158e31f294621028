#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/diagnostic.hpp"
#include "manifest/model.hpp"
#include "validation/catalogue.hpp"

namespace kfab::validation {

// The metric of the catalogue that an id names, where `<a|b>` and `<name>` in the catalogue stand for a part of a name;
// null when no test of kfab yields such a figure.
const Metric* known_metric(std::string_view id);

// Ids of the catalogue that look like this one, best first.
std::vector<std::string> similar_metrics(std::string_view id);

// Criteria on figures that no test yields, or in a unit that the figure does not have: they can never be met nor missed.
// An error where the criterion would be skipped without a figure, because then it would seem to be met.
Diagnostics check_metrics(const manifest::CriteriaSet&);

}  // namespace kfab::validation

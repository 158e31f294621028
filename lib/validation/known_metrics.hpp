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
// Floors that no figure lies below are told as well.
// The first are errors, whatever the criterion does without a figure: it would be skipped as if it were met, or hold up every verdict.
Diagnostics check_metrics(const manifest::CriteriaSet&);

// Criteria of which none can pass or fail an accelerator of the profile, or any at all where there is no profile: an empty
// set, one that only records, or one for other devices. Whatever is measured, such an accelerator is not judged.
Diagnostics check_judges(const manifest::CriteriaSet&, const manifest::Profile*);

}  // namespace kfab::validation

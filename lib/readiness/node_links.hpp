#pragma once

#include <string>

#include "manifest/model.hpp"
#include "readiness/evidence_index.hpp"
#include "readiness/readiness.hpp"

namespace kfab::readiness {

// The links of one accelerator of a node, by its newest evidence: as many up as the profile declares, none down, the fabric complete and
// well, and copies to its peers judged and found at rate. Where a node has a single accelerator nobody is there to copy to.
// not_asked where the profile declares no links.
NodeLinks judge_links(const manifest::Profile&, const NodeEvidence&, const std::string& accelerator);

}  // namespace kfab::readiness

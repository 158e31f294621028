#pragma once

#include "json/value.hpp"
#include "readiness/readiness.hpp"

namespace kfab::readiness {

// What `kfab readiness -o json` puts under `data` (schema kfab.readiness/1.0). Every key is always there; nothing is null.
json::Object to_json(const Readiness&);
json::Object to_json(const TrancheStatus&);

}  // namespace kfab::readiness

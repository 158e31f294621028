#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "commands/command.hpp"
#include "commands/env.hpp"
#include "manifest/load.hpp"
#include "readiness/readiness.hpp"
#include "store/store.hpp"

namespace kfab::commands {

// What readiness is derived from: the manifest, the newest evidence about each of its sites, and today.
struct StatusInput {
  std::shared_ptr<const manifest::Loaded> loaded;
  readiness::EvidenceBySite evidence;
  readiness::Context context;
};

// Reads the manifest and the store. A store that is not there yet is no evidence, and none is made. The desired state of
// every node with provisioning evidence is worked out again, so that what was applied for another state does not count.
// The output of a command that could not start: errors in the manifest, a store that cannot be read.
std::variant<StatusInput, CommandOutput> read_status(const std::string& manifest, Env&, store::EvidenceScope);

}  // namespace kfab::commands

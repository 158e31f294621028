#pragma once

#include <map>
#include <string>
#include <variant>

#include "commands/command.hpp"
#include "commands/env.hpp"
#include "manifest/load.hpp"
#include "readiness/readiness.hpp"
#include "store/store.hpp"

namespace kfab::commands {

// What readiness is derived from, read once: the manifest, the newest evidence of each of its sites, and the states
// that the manifest asks for today.
struct Grounds {
  manifest::Loaded loaded;
  readiness::EvidenceBySite evidence;
  readiness::Context context;
};

// Reads the grounds from the manifest at `path` ("-" is standard input) and the store in Env::state_dir. A store that
// does not exist is no evidence, and is not made. The output of a command that could not start: a manifest with
// errors, one that is neither Site nor Program, or a store that cannot be read (kept_records.hpp).
std::variant<Grounds, CommandOutput> read_grounds(const std::string& path, Env&, store::EvidenceScope);

// What each node last told of itself, by name; the evidence must hold full details.
std::map<std::string, json::Value> facts_of(store::Evidence);

}  // namespace kfab::commands

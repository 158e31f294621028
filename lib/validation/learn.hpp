#pragma once

#include <string>

#include "json/value.hpp"
#include "manifest/model.hpp"

namespace kfab::validation {

struct LearnChoices {
  std::string name;      // of the new profile
  std::string node;      // from which it is learned
  std::string as_of;     // the day of its facts
};

// A profile as YAML whose expectations are the facts of one good node: processor, memory (at least 99 %), board, firmware,
// system, driver, and each accelerator, disk and network link in its place. What tells one node from another is left out:
// serials, addresses, names; and so is what changes by itself. What the node's present profile states of its kind is kept, its
// variables too, but for secrets. Held against the same facts the profile passes.
std::string learn_profile(const manifest::Profile& present, const json::Value& facts, const LearnChoices&);

}  // namespace kfab::validation

#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "store/records.hpp"

namespace kfab::commands {

// What is to be done to go on with a run of provision, undo or reboot, or with tests that were watched.
struct Resumable {
  std::string run_id;                     // that was asked for
  std::vector<std::string> chain;         // of runs that go on with each other, this one among them: the first to the newest
  std::string command;                    // provision, undo, reboot, validate, ...: of the first that kept its work, as all that follows
  std::vector<std::string> argv;          // as it was typed then
  std::string directory;                  // in which it was typed
  std::string plan;                       // the plan that it applied, kept beside the store; empty: none
  std::string site;
  std::size_t nodes = 0;
  std::map<std::string, std::string> left;             // nodes and the digests of what they are to become, or to be tested by
  std::map<std::string, store::NodeRecord> records;    // of nodes, what the chain kept of them last: of those that are done, too
  std::map<std::string, store::NodeRecord> reboots{};  // of provision: of nodes that were told to reboot on the way, what was kept of that
};

// The runs that one which goes on with that belongs to, and the one that it follows; none for a run of its own.
inline std::vector<std::string> chain_of(const std::optional<Resumable>& resumed) { return resumed ? resumed->chain : std::vector<std::string>(); }
inline std::string newest_of(const std::optional<Resumable>& resumed) { return resumed ? resumed->chain.back() : std::string(); }

}  // namespace kfab::commands

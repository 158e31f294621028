#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "commands/command.hpp"

namespace kfab::commands {

struct LibraryVersion {
  std::string name;
  std::string version;    // the one in use where the library can tell, else the one it was built with
};

// What was decided when this kfab was built.
struct BuildFacts {
  std::string version;                     // "0.1.0"
  std::string build_type;                  // "Release"
  std::string compiler;
  bool cuda = false;
  std::string cuda_toolkit;                // "13.0"; empty without
  std::string cuda_least_driver;           // "CUDA 13.0 or R580"; empty without
  std::vector<std::string> cuda_archs;     // "sm_90a"
  std::vector<LibraryVersion> libraries;
};

struct DeviceFact {
  std::string name;                        // cpu cuda
  bool built_in = false;
  std::string detail;                      // what it can do, or why it is not there
};

// An agent that this kfab carries.
struct AgentFact {
  std::string machine;                     // as `uname -m` names it: x86_64 aarch64
  std::string sha256;
  std::uint64_t size_bytes = 0;            // unpacked, as it lies on a node
};

struct VersionResult {
  BuildFacts build;
  std::vector<DeviceFact> devices;
  std::vector<AgentFact> agents;           // the first for machines like this kfab's
  std::vector<std::string> limits;         // what this build cannot do, and what to do instead
};

// Completes the facts of the build with what only the running program knows.
VersionResult run_version(BuildFacts);
// Schema kfab.version/1.1.
CommandOutput to_output(const VersionResult&);

}  // namespace kfab::commands

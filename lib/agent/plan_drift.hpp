#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/resources/resource.hpp"
#include "base/diagnostic.hpp"
#include "json/value.hpp"

// What a plan recorded of a node, and whether the node is still as it was planned for.
namespace kfab::agent::provisioning {

enum class ResourceStatus { in_sync, would_change, changed, failed, skipped, cancelled, waiting };

inline constexpr std::string_view reboot_type = "reboot";

// A resource of the request.
struct Declared {
  std::string id, type;
  json::Value attributes;
  std::vector<std::string> after, restart_on, turns;
  bool is_reboot() const { return type == reboot_type; }
};

// What became of one, or would.
struct Outcome {
  ResourceStatus status = ResourceStatus::in_sync;
  std::vector<Change> changes;
  std::string diff;
  std::optional<Diagnostic> problem;
  std::string note;
  std::string found;
  std::string reboot;   // why a reboot is needed before it is also what runs; empty: no need
};

// What a change says to be there `before`, where that is known only once earlier resources are applied.
inline constexpr std::string_view not_known_yet = "not known yet";

// One word for each thing that was found, by which a plan knows it again.
std::vector<std::string> digests_of(const Outcome&);

// What a plan recorded of one resource.
struct Planned {
  bool failed = false, open = false;   // open: what it does was to be known only once earlier ones are applied
  std::vector<std::string> digests;
};

struct Expectation {
  json::Value board_serial, machine_id;
  std::map<std::string, Planned> resources;
  std::string stopped_boot_id;   // the boot in which a run by this plan stopped for a reboot; empty: none did
};

Expectation read_expectation(const json::Value& said);   // "expect" of the request

// `rebooted`: the plan was followed until it asked for a reboot, and another boot runs now. Then what a boot makes, and what only a
// boot could tell, is no drift; what is on the disk is held against the plan as before. Without a Planned the plan knows nothing of the resource.
bool has_drifted(const Declared&, Outcome found, const Planned*, bool rebooted);

struct Identity {
  json::Value board_serial, machine_id;
};

// By the board, which stays when the system is installed again, and by the system, which is there without root's rights.
Identity identity_of(const NodeEnvironment&);

}  // namespace kfab::agent::provisioning

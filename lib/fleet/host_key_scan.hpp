#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fleet/fleet.hpp"

namespace kfab::fleet {

// The host keys of one node, as it showed and proved them: blobs of keys and certificates, each type once. Unless `ok`
// they may be some of those that it has.
struct ScannedNode {
  std::string node;
  NodeOutcome outcome = NodeOutcome::unreachable;
  ssh::Phase phase = ssh::Phase::resolve;
  std::vector<std::string> key_blobs{};
  double duration_s = 0;
  std::optional<Diagnostic> why{};   // present unless ok; names the node
};

// Asks every target for its host keys through one window; nobody logs in. One result per target, in their order, always.
// Emits node_started, tick and node_done.
std::vector<ScannedNode> scan_host_keys(ssh::Transport&, const std::vector<ssh::Target>&, const FleetOptions&, const Clock&,
                                        EventSink&, const CancelToken&);

}  // namespace kfab::fleet

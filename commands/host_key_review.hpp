#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/diagnostic.hpp"
#include "fleet/host_key_scan.hpp"
#include "json/value.hpp"
#include "ssh/host_keys.hpp"
#include "term/writer.hpp"

// What the host keys of many nodes look like beside what is known of them: pure functions, but for reading known_hosts.
namespace kfab::commands {

// How one shown key stands. `further`: the node is known by another key that it showed as well, so this one is news
// without being a doubt.
enum class KeyState : std::uint8_t { known, certified, further, fresh, changed, revoked };
std::string_view to_string(KeyState);   // "new" for fresh

struct ReviewedKey {
  std::string type, blob, fingerprint;
  KeyState state = KeyState::fresh;
  std::string where{};                  // "known_hosts:3", of the line that knows or revokes it
  std::vector<std::string> known_by{};  // changed: by which keys the node was known
  bool stored = false;                  // trust put it into the store
};

// How one node stands; the words are those of the JSON.
enum class NodeKeys : std::uint8_t { known, fresh, changed, revoked, not_asked };
std::string_view to_string(NodeKeys);   // "new" for fresh

// What trust did, or why it did nothing.
enum class Decision : std::uint8_t { nothing_to_do, stored, replaced, left_changed, left_revoked, left_duplicate, left_unlisted, left_mismatch, not_asked };
std::string_view to_string(Decision);

struct ReviewedNode {
  fleet::ScannedNode scan;
  std::string address;
  unsigned port = 22;
  NodeKeys state = NodeKeys::not_asked;
  std::vector<ReviewedKey> keys{};
  std::string certificate{};            // what came of its certificates, in words; empty when it showed none
  bool duplicated = false;
  std::optional<Decision> decision{};   // of trust
};

// Nodes that show the same keys, or a node that shows a key which the store has under another name.
struct Duplicate {
  std::vector<std::string> nodes;
  std::vector<std::string> types, fingerprints;
  bool one_address = false;      // the nodes have one address and port: one machine under several names
  std::string stored_as{};       // "n3 (known_hosts:7)"; empty: all are nodes of this review
};

struct HostKeyReview {
  std::vector<ReviewedNode> nodes;   // in the order of the targets
  std::vector<Duplicate> duplicates;
  std::vector<std::string> authority_trouble;   // files of authorities that are of no use
};

// Holds what was scanned against what is known. Targets and scans correspond. Errors: known_hosts_unreadable.
Result<HostKeyReview> review(const std::vector<ssh::Target>&, std::vector<fleet::ScannedNode>, ssh::HostKeys&, std::uint64_t now_s);

// Every finding once, with the nodes folded.
Diagnostics findings(const HostKeyReview&);

// types[], nodes[], duplicates[] of the JSON.
json::Array types_json(const HostKeyReview&);
json::Array nodes_json(const HostKeyReview&);
json::Array duplicates_json(const std::vector<Duplicate>&);

// For people: counts per type, then every group of nodes once. Fingerprints of more keys than a person reads are left
// out unless `all`.
void render(const HostKeyReview&, bool all, term::Writer&);
void render(const std::vector<Duplicate>&, term::Writer&);

// "gpu[1-3] (3)".
std::string folded(const std::vector<std::string>& nodes);

}  // namespace kfab::commands

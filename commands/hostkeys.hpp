#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "commands/host_key_review.hpp"
#include "commands/site_session.hpp"

namespace kfab::commands {

// `kfab hostkeys scan|trust|list [MANIFEST]`: the host keys of all selected nodes in one review, instead of a question for
// each. Without a manifest the node set is of addresses, as for exec.
enum class HostKeysAction { scan, trust, list };
std::optional<HostKeysAction> parse_hostkeys_action(std::string_view);

struct HostKeysOptions {
  SiteOptions site;
  HostKeysAction action = HostKeysAction::scan;
  std::string replace;             // trust: node set whose changed keys are expected
  bool allow_duplicates = false;   // trust: keys that several nodes show
  std::string fingerprints_file;   // trust: only what is listed there, "NODE SHA256:..."; empty: whatever is new
  bool all = false;                // show every fingerprint, however many there are
  bool show_first = true;          // a person reads along: the review is shown before the question
};

// One line of a file of fingerprints. Words past the fingerprint are not looked at.
struct ListedFingerprint { std::string node, fingerprint; };
// Errors: bad_fingerprint_line, with its number; also when there is none at all.
Result<std::vector<ListedFingerprint>> parse_fingerprints(std::string_view text);

// What trust would store of each node, and why not the rest: sets `decision`, and `stored` of the keys that are to be.
// Pure. `listed` is null when there is no file; `replace` are names of nodes.
void decide(HostKeyReview&, const std::vector<std::string>& replace, bool allow_duplicates, const std::vector<ListedFingerprint>* listed);

CommandOutput run_hostkeys(const HostKeysOptions&, Env&);

}  // namespace kfab::commands

#pragma once

#include <optional>
#include <string>

#include "ssh/transport.hpp"

namespace kfab::ssh {

// What is known when a command is over. Each is set only on evidence.
struct EndEvidence {
  bool end_of_output = false;          // both streams were read to an end that the other side declared
  bool closed = false;                 // the other side closed the channel, or the local process was reaped
  std::optional<int> exit_status{};    // it arrived; not: a library says 0
  std::string signal{};
  std::optional<std::string> transport_error{};
};

// The outcome of a command that reached its command phase, by the rules in transport.hpp: never ok without proof.
// `who` is the node, for the message.
CommandEnd judge(const EndEvidence&, const std::string& who);

// An end for a reason that the diagnostic tells.
CommandEnd ended(NodeOutcome, Phase, Diagnostic why);
// The end of a command that was not through `phase` after `limit`.
CommandEnd timed_out(Phase, std::chrono::milliseconds limit, const std::string& who);

}  // namespace kfab::ssh

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "commands/site_session.hpp"
#include "validation/proof.hpp"

// `kfab selftest`: can every check fail? Faults are planted into the checkers on this machine, or on the nodes of a manifest,
// and into what judges; each must be found.
namespace kfab::commands {

struct SelftestOptions {
  SiteOptions site;                    // without a manifest: this machine
  std::optional<std::uint64_t> seed;   // of the places; absent: from the clock, and printed
};

struct SelftestFault {
  std::string node;                    // empty: in kfab itself
  validation::Planted planted;
};
struct NotTried {
  std::string node, where, reason;
  bool nothing_planted = false;        // an accelerator is there and none of its tests planted a fault: the answer is incomplete
};

struct SelftestResult {
  std::uint64_t seed = 0;
  std::vector<SelftestFault> faults;
  std::vector<NotTried> not_tried;
  std::size_t found() const;
};

// seed, counts{planted, found, missed, not_tried}, planted[]{node|null, where, fault, found, detail}, not_tried[]{node|null,
// where, reason}.
json::Value to_json(const SelftestResult&);
void render(const SelftestResult&, term::Writer&);

CommandOutput run_selftest(const SelftestOptions&, Env&);

}  // namespace kfab::commands

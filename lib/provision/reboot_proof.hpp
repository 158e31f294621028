#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/diagnostic.hpp"
#include "json/value.hpp"

namespace kfab::provision {

// Which boot of which machine answered: what the agent's tasks "boot" and "reboot" tell. Texts are cleaned when read;
// what the node did not tell is empty.
struct Boot {
  std::string boot_id;
  std::string machine_id;                  // of the installed system
  std::string board_serial;                // of the machine, from the agent's hello
  std::optional<double> init_age_s{};      // how long process 1 has been running
  std::string state;                       // of systemd: starting, running, degraded, ...; "unknown" without it
  std::vector<std::string> failed_units{};
};

// The boot among the agent's messages; nothing when it is not there.
std::optional<Boot> read_boot(const json::Value& hello, const std::vector<json::Value>& messages);
// Whether the agent said that the reboot was ordered.
bool reboot_was_ordered(const std::vector<json::Value>& messages);

// What a node that answers after the order is: still the boot from before; another one that is not done starting; or
// proven to be the same machine in a boot of its own; or something that waiting will not mend.
enum class RebootStage : std::uint8_t { same_boot, starting, proven, wrong };
struct RebootProof {
  RebootStage stage = RebootStage::same_boot;
  std::optional<Diagnostic> why{};         // for same_boot, starting and wrong: what to say when it stays so
  bool boot_id_changed = false;
  bool started_after_order = false;        // process 1 is younger than the order
  bool same_machine = false;               // board serial and machine id are those from before, where both were told
};

// `since_order_s` is the time since the node was told to reboot, on the control host's clock. A boot that does not tell
// its id or its age proves nothing: wrong.
RebootProof judge_reboot(const std::string& node, const Boot& before, const Boot& after, double since_order_s);

}  // namespace kfab::provision

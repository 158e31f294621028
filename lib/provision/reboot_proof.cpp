#include "provision/reboot_proof.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/codes/reboot.hpp"
#include "base/text.hpp"

namespace kfab::provision {
namespace {

// The order is timed before it is sent and the age is rounded to ticks, so the age is the smaller one by itself; this is
// for clocks that run a little differently.
constexpr double clock_slack_s = 2;
constexpr std::size_t most_units = 20;

Diagnostic finding(Code code, const std::string& node, const std::string& what) {
  Diagnostic found = make_diagnostic(code, one_line(node) + ": " + what);
  found.node = node;
  return found;
}

// Only what both told can differ: a board without a serial has none before and after.
bool told_apart(const std::string& before, const std::string& after) { return !before.empty() && !after.empty() && before != after; }

}  // namespace

std::optional<Boot> read_boot(const json::Value& hello, const std::vector<json::Value>& messages) {
  const auto found = std::find_if(messages.begin(), messages.end(), [](const json::Value& message) { return message.string_or("type") == "boot"; });
  if (found == messages.end()) return std::nullopt;
  Boot boot{one_line(found->string_or("boot_id"), 80), one_line(found->string_or("machine_id"), 80), one_line(hello.string_or("board_serial"), 80),
            (*found)["init_age_s"].as_double(), one_line(found->string_or("state", "unknown"), 40), {}};
  for (const json::Value& unit : found->array_at("failed_units"))
    if (unit.is_string() && boot.failed_units.size() < most_units) boot.failed_units.push_back(one_line(*unit.as_string(), 200));
  return boot;
}

bool reboot_was_ordered(const std::vector<json::Value>& messages) {
  return std::any_of(messages.begin(), messages.end(), [](const json::Value& message) { return message.string_or("type") == "reboot_ordered"; });
}

RebootProof judge_reboot(const std::string& node, const Boot& before, const Boot& after, double since_order_s) {
  RebootProof proof;
  proof.same_machine = !told_apart(before.board_serial, after.board_serial) && !told_apart(before.machine_id, after.machine_id);
  proof.boot_id_changed = told_apart(before.boot_id, after.boot_id);
  proof.started_after_order = after.init_age_s && *after.init_age_s <= since_order_s + clock_slack_s;
  if (before.boot_id.empty() || after.boot_id.empty() || !after.init_age_s) {
    proof.stage = RebootStage::wrong;
    proof.why = finding(code::reboot_not_proven, node, "it does not tell which boot this is, or how long it has been running");
  } else if (!proof.same_machine) {
    proof.stage = RebootStage::wrong;
    proof.why = finding(code::reboot_other_machine, node, told_apart(before.board_serial, after.board_serial)
        ? fmt::format("board serial {} was told to reboot, {} answers", before.board_serial, after.board_serial)
        : fmt::format("machine id {} was told to reboot, {} answers", before.machine_id, after.machine_id));
  } else if (!proof.boot_id_changed) {
    proof.why = finding(code::reboot_not_happened, node, fmt::format("{:.0f} s after the order it still runs boot {}", since_order_s, after.boot_id));
  } else if (!proof.started_after_order) {
    proof.stage = RebootStage::wrong;
    proof.why = finding(code::reboot_not_proven, node, fmt::format("the system that answers has been running for {:.0f} s, and the reboot was ordered {:.0f} s ago",
                                                                   *after.init_age_s, since_order_s));
  } else if (after.state == "starting" || after.state == "initializing") {
    proof.stage = RebootStage::starting;
    proof.why = finding(code::reboot_not_settled, node, fmt::format("{:.0f} s after the order its system is still {}", since_order_s, after.state));
  } else {
    proof.stage = RebootStage::proven;
  }
  return proof;
}

}  // namespace kfab::provision

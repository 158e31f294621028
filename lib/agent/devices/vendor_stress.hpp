#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "agent/devices/vendor_tools.hpp"

// Makers' own stress tools: how one accelerator is loaded by them, and what their words mean. Pure, but for looking where a
// program lies. Only what is known word for word is a pass; everything else is not judged, with the reason.
namespace kfab::agent::devices::vendor {

// How the tool is started for one accelerator.
struct StressRun {
  std::vector<std::string> argv, environment;
  std::string directory;             // to run in; empty: anywhere
  std::string device;                // what the tool calls this accelerator in its answer
};

struct StressVerdict {
  enum class Word : std::uint8_t { passed, failed, unclear };
  Word word = Word::unclear;
  std::string why;                   // unless passed
  std::optional<double> tflops;      // the best that it told, where it tells any
};

// A program in PATH or else in `usual`, as a path; empty when it is in neither.
std::string find_tool(std::string_view name, const std::vector<std::string>& usual);

// AMD's validation suite: the stress configuration that it ships for the model ("MI300X" of "AMD Instinct MI300X OAM"), on the one
// GPU whose PCI address `listing` (of `rvs -g`) names. Or why not, in words.
std::variant<StressRun, std::string> plan_rvs(const std::string& rvs, const Accelerator&, std::string_view listing);
// Every action that it began must have told this GPU's result, "met :TRUE" or "pass: TRUE"; one FALSE is a failure.
StressVerdict read_rvs(std::string_view text, std::string_view device, int exit_status);

// Intel's hl_qual: the power stress of one Gaudi 2 or 3 for `seconds`.
std::variant<StressRun, std::string> plan_hl_qual(const std::string& hl_qual, const Accelerator&, double seconds);
// The heading "hl qual report" must be there and PASSED stand below it, alone on its line but for a frame; nothing may be told to have
// FAILED, and it must have ended with 0. FAILED below the heading and another status is a failure. The rest is unclear.
StressVerdict read_hl_qual(std::string_view text, int exit_status);

}  // namespace kfab::agent::devices::vendor

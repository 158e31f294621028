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
  std::string report_option;         // where not empty: it takes a file by this option and writes into that what is to be read
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

// AMD's field health check, by the shortest of its recipes that tests all of a GPU. It loads all GPUs of a node at once and cannot be
// told one, so that the GPU with the lowest number stands for all `gpus` of them; or why not, in words.
std::variant<StressRun, std::string> plan_agfhc(const std::string& agfhc, const Accelerator&, int first_index, std::size_t gpus, double seconds);
// `device` is how many GPUs the node has. All tests of the recipe must have been executed and passed, on so many GPUs, and the last
// line must say AGFHC_SUCCESS [0]. A failure is the one GPU's where there is but one; of several it does not say whose it is.
StressVerdict read_agfhc(std::string_view text, std::string_view device, int exit_status);

// FuriosaAI's rngd-diag of one card, its stress test included.
std::variant<StressRun, std::string> plan_rngd_diag(const std::string& rngd_diag, const Accelerator&);
// The YAML that it writes, by the limits of FuriosaAI's own validator of servers: the card's stress test ended with 0, its link is
// 32 GT/s x16, no fatal error of PCIe, auxiliary power is sensed, and what sensors of temperature it tells are within 10 to 80 degrees. What
// is beyond is a failure; what of the first three it does not tell is unclear.
StressVerdict read_rngd_diag(std::string_view report, std::string_view device, int exit_status);

}  // namespace kfab::agent::devices::vendor

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/words.hpp"

// What is made of the errors that NVIDIA's driver writes into the kernel's log. The table is data (xid_table.inc) and has a
// version of its own; tools disagree about it, so a criterion on the metric `xid.<number>` takes its place.
namespace kfab::validation {

enum class XidSeverity : std::uint8_t {
  fatal,         // the accelerator cannot be trusted as it is: reset, power-cycle or return it
  fail,          // the run is spoilt, and the cause may be elsewhere (driver, link)
  finding,       // to be watched: does not spoil the run
  application,   // a program's own doing as a rule; under kfab's own tests suspicious
  record         // told for the record
};
std::string_view to_string(XidSeverity);
inline constexpr XidSeverity all_xid_severities[] = {XidSeverity::fatal, XidSeverity::fail, XidSeverity::finding, XidSeverity::application, XidSeverity::record};
// What an XID of that severity makes of the accelerator, when it came during kfab's own test or before.
Verdict verdict_of(XidSeverity, bool during_test);

struct XidRow {
  int first, last;                 // numbers, both included
  XidSeverity severity;
  std::string_view meaning, action;
};
std::string_view xid_table_version();   // "2025-10-29.2": the day of NVIDIA's catalogue, and kfab's revision
std::span<const XidRow> xid_table();
const XidRow* find_xid(int number);

// What an event in the kernel's log makes of the accelerator. `metric` is "xid.79" or "sxid.12028"; `during_test`: it came while
// kfab's own test ran, else it is older; `says_fatal`: the line itself says Fatal. Nothing for another metric.
struct KernelEventVerdict {
  Verdict verdict = Verdict::not_judged;
  std::string words, action;       // "XID 79: fallen off the bus", "power-cycle ..."
};
std::optional<KernelEventVerdict> judge_kernel_event(std::string_view metric, bool during_test, bool says_fatal);

}  // namespace kfab::validation

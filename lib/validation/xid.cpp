#include "validation/xid.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

namespace kfab::validation {
namespace {

#define KF_XID(first, last, severity, meaning, action) {first, last, XidSeverity::severity, meaning, action},
constexpr XidRow rows[] = {
#include "validation/xid_table.inc"
};
#undef KF_XID

struct SeverityRow { XidSeverity severity; std::string_view word; Verdict during_test, before; };
// What a program did to itself before kfab came is no finding about the accelerator; under kfab's own tests nothing of the
// kind may come.
constexpr SeverityRow severities[] = {
    {XidSeverity::fatal, "fatal", Verdict::fail, Verdict::fail},
    {XidSeverity::fail, "fail", Verdict::fail, Verdict::fail},
    {XidSeverity::finding, "finding", Verdict::degraded, Verdict::degraded},
    {XidSeverity::application, "application", Verdict::degraded, Verdict::pass},
    {XidSeverity::record, "record", Verdict::pass, Verdict::pass},
};
const SeverityRow& row_of(XidSeverity severity) {
  return *std::find_if(std::begin(severities), std::end(severities), [&](const auto& row) { return row.severity == severity; });
}

// The number after a prefix, when that is all there is.
std::optional<int> number_after(std::string_view metric, std::string_view prefix) {
  if (metric.substr(0, prefix.size()) != prefix) return std::nullopt;
  metric.remove_prefix(prefix.size());
  int number = 0;
  const auto [end, problem] = std::from_chars(metric.data(), metric.data() + metric.size(), number);
  return problem == std::errc{} && end == metric.data() + metric.size() && number >= 0 ? std::optional(number) : std::nullopt;
}

}  // namespace

std::string_view to_string(XidSeverity severity) { return row_of(severity).word; }
Verdict verdict_of(XidSeverity severity, bool during_test) { return during_test ? row_of(severity).during_test : row_of(severity).before; }
std::string_view xid_table_version() { return "2025-10-29.2"; }
std::span<const XidRow> xid_table() { return rows; }

const XidRow* find_xid(int number) {
  const auto found = std::find_if(std::begin(rows), std::end(rows), [&](const auto& row) { return number >= row.first && number <= row.last; });
  return found == std::end(rows) ? nullptr : found;
}

std::optional<KernelEventVerdict> judge_kernel_event(std::string_view metric, bool during_test, bool says_fatal) {
  if (const auto number = number_after(metric, "xid.")) {
    const XidRow* row = find_xid(*number);
    if (!row)
      return KernelEventVerdict{Verdict::degraded, fmt::format("XID {}, which the table of {} does not know", *number, xid_table_version()), "read NVIDIA's catalogue for it"};
    const Verdict verdict = says_fatal ? Verdict::fail : verdict_of(row->severity, during_test);
    return KernelEventVerdict{verdict, fmt::format("XID {}: {}", *number, row->meaning), std::string(row->action)};
  }
  if (const auto number = number_after(metric, "sxid.")) {
    return KernelEventVerdict{says_fatal ? Verdict::fail : Verdict::degraded, fmt::format("SXid {}: {} error of an NVSwitch", *number, says_fatal ? "fatal" : "non-fatal"),
                              says_fatal ? "reset the GPUs and the switch; return the board if it happens again" : "look at the link that the line names; watch it"};
  }
  return std::nullopt;
}

}  // namespace kfab::validation

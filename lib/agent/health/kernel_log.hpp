#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/health/sources.hpp"

namespace kfab::agent::health {

// What the kernel's log says about an accelerator, a switch between them, or the processor.
struct KernelEvent {
  enum class Kind : std::uint8_t { xid, sxid, machine_check };
  Kind kind = Kind::xid;
  int number = 0;               // of the XID or SXid; a GPU that fell off the bus without a number counts as 79
  std::string slot;             // "0000:3b:00": domain, bus and device, lower case; empty when the line names none
  bool fatal = false;           // the line itself says Fatal: NVLink 5 units and switches do
  double at_s = -1;             // since boot, as the log has it; below zero: it does not say
  std::string line;             // one line, bounded, printable
};

// One line of the log without its prefix; nothing when it is of no interest.
std::optional<KernelEvent> parse_kernel_line(std::string_view text);
// "PCI:0000:3B:00", "00000000:3B:00.0" and the like as "0000:3b:00"; empty when it is no PCI address.
std::string pci_slot(std::string_view address);

// Reads the log from /dev/kmsg or, where that may not be opened, from the journal. Never waits for new lines.
class KernelLog {
 public:
  enum class Way : std::uint8_t { either, journal };
  // `journal`: that alone, also where /dev/kmsg may be opened.
  explicit KernelLog(const Sources&, Way = Way::either);
  ~KernelLog();
  KernelLog(const KernelLog&) = delete;
  KernelLog& operator=(const KernelLog&) = delete;

  bool readable() const { return why_not_.empty(); }
  // Both ways and why neither was to be had, in words.
  const std::string& why_not() const { return why_not_; }
  // What was read: "/dev/kmsg" or "the journal".
  std::string_view from() const { return fd_ >= 0 ? "/dev/kmsg" : "the journal"; }
  // Looking again costs next to nothing (/dev/kmsg), or a process (the journal).
  bool cheap() const { return fd_ >= 0; }
  // Records older than the first that is still there are gone: what was before is not known. Known after the first next().
  bool begins_late() const { return begins_late_; }
  // The time of that first record; below zero before it was read.
  double first_at_s() const { return first_at_s_; }

  // To go on where another reader of /dev/kmsg ended: what it had read is left out, and what was overwritten between its last record
  // and the oldest that is still there is a gap as any other. Before the first next(); nothing where the journal is read.
  void go_on_after(std::uint64_t record) { go_on_after_ = record; }
  // The number of the last record of /dev/kmsg that was read, of interest or not.
  std::optional<std::uint64_t> last_record() const { return fd_ < 0 || first_ ? std::nullopt : std::optional(next_record_ - 1); }

  // What came since the last call; the first one gives all since boot that the log still has. At most 4,096 events and 64 MiB.
  std::vector<KernelEvent> next();
  // Whether that call left something out: there was more, the kernel overwrote records before they were read, the journal was
  // shortened. Then what is not among the events may have been there all the same.
  bool cut() const { return cut_; }
  // What that was, in words, with the number of records that the kernel is known to have overwritten; empty when nothing was.
  std::string lost() const;
  // The time of the last record that was read, of interest or not; below zero before the first.
  double last_at_s() const { return last_at_s_; }

 private:
  std::vector<KernelEvent> read_device();
  std::vector<KernelEvent> read_journal();
  void take(std::string_view text, double at_s, std::vector<KernelEvent>& out);
  void take_record(std::string_view line, std::vector<KernelEvent>& out);
  void overwritten();

  const Sources& sources_;
  int fd_ = -1;
  std::string why_not_, rest_, journal_first_;
  bool begins_late_ = false, cut_ = false, first_ = true;
  bool gap_ = false, gap_on_opening_ = false;   // overwritten while it was read: how much the next record's number tells
  std::uint64_t next_record_ = 0, overwritten_ = 0;
  std::optional<std::uint64_t> go_on_after_;
  double first_at_s_ = -1, last_at_s_ = -1;
  std::uint64_t journal_lines_ = 0;
};

}  // namespace kfab::agent::health

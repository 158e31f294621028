#include "agent/health/kernel_log.hpp"

#include <doctest/doctest.h>

#include <cerrno>
#include <deque>
#include <fstream>
#include <random>

#include "unit/agent/support.hpp"

using namespace kfab;
using namespace kfab::agent;
using namespace kfab::agent::health;
using Kind = KernelEvent::Kind;

TEST_CASE("lines of the kernel's log as they are found in the field") {
  struct Row { const char* text; Kind kind; int number; const char* slot; bool fatal; };
  for (const auto& row : {
           Row{"NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.", Kind::xid, 79, "0000:3b:00", false},
           Row{"NVRM: Xid (PCI:0000:C1:00): 48, pid=1234, name=python, An uncorrectable double bit error (DBE) has been detected", Kind::xid, 48, "0000:c1:00", false},
           Row{"NVRM: Xid (0000:05:00): 13, Graphics SM Warp Exception on (GPC 2, TPC 1)", Kind::xid, 13, "0000:05:00", false},
           Row{"NVRM: Xid (PCI:0019:01:00): 145, RLW Nonfatal XC0 i0 Link 05 (0x00000004 0x00000000)", Kind::xid, 145, "0019:01:00", false},
           Row{"NVRM: Xid (PCI:0019:01:00): 149, NETIR Fatal   XC0 i0 Link 05 (0x00000004 0x00000000)", Kind::xid, 149, "0019:01:00", true},
           Row{"NVRM: Xid (PCI:0000:3b:00): 63, Row Remapper: New row marked for remapping, reset gpu to activate.", Kind::xid, 63, "0000:3b:00", false},
           Row{"NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus.", Kind::xid, 79, "0000:3b:00", false},
           Row{"NVRM: GPU at PCI:0000:3b:00: GPU-1f2 has fallen off the bus", Kind::xid, 79, "0000:3b:00", false},
           Row{"NVRM: installed in this system has fallen off the bus and is not responding to commands.", Kind::xid, 79, "", false},
           Row{"nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 12028, Non-fatal, Link 32 egress non-posted PRIV error (First)", Kind::sxid, 12028, "0000:c1:00", false},
           Row{"nvidia-nvswitch0: SXid (PCI:0000:c2:00.0): 20009, Fatal, Link 07 LTSSM Fault Up", Kind::sxid, 20009, "0000:c2:00", true},
           Row{"mce: [Hardware Error]: Machine check events logged", Kind::machine_check, 0, "", false},
       }) {
    CAPTURE(row.text);
    const auto event = parse_kernel_line(row.text);
    REQUIRE(event);
    CHECK(event->kind == row.kind);
    CHECK(event->number == row.number);
    CHECK(event->slot == row.slot);
    CHECK(event->fatal == row.fatal);
  }
  for (const char* text : {"", "usb 1-1: new device", "NVRM: Xid (PCI:0000:3b:00", "NVRM: Xid (PCI:0000:3b:00): fatal", "NVRM: loading NVIDIA UNIX x86_64 Kernel Module",
                           "nvidia-nvswitch3: using MSI", "user said: fallen off the bus"})
    CHECK_FALSE(parse_kernel_line(text));
  // What is hostile in a line does not reach a terminal, and a place that is none is none.
  const auto odd = parse_kernel_line("NVRM: Xid (../../etc/passwd): 79, \x1b[31m" + std::string(5000, 'x'));
  REQUIRE(odd);
  CHECK(odd->slot.empty());
  CHECK(odd->line.find('\x1b') == std::string::npos);
  CHECK(odd->line.size() < 400);
}

TEST_CASE("PCI addresses however they are written") {
  CHECK(pci_slot("00000000:3B:00.0") == "0000:3b:00");
  CHECK(pci_slot("PCI:0000:3b:00") == "0000:3b:00");
  CHECK(pci_slot("3b:00.0") == "0000:3b:00");
  CHECK(pci_slot("00010019:01:00.0") == "10019:01:00");
  for (const char* text : {"", ":", "0000:3b:00.0.0", "zz:00", "0000:3b:000", "1:2:3:4", "GPU-1f2"}) CHECK(pci_slot(text).empty());
}

namespace {

// Feeds the log with lines as /dev/kmsg gives them.
struct Recorded {
  test::TemporaryDirectory dir;
  Sources sources;
  explicit Recorded(const std::string& text) {
    sources.root = dir.string();
    sources.kernel_log = "/kmsg";
    sources.journal.clear();
    test::write(dir / "kmsg", text);
  }
};

}  // namespace

TEST_CASE("a recorded log is read once, in order, with its times") {
  const Recorded recorded(
      "6,0,1000,-;Linux version 6.1\n"
      "4,12,5000000,-;NVRM: Xid (PCI:0000:3b:00): 63, Row Remapper: New row\n SUBSYSTEM=pci\n DEVICE=+pci:0000:3b:00.0\n"
      "4,13,6500000,-;NVRM: Xid (PCI:0000:3c:00): 79, GPU has fallen off the bus.\n");
  KernelLog log(recorded.sources);
  REQUIRE(log.readable());
  CHECK(log.cheap());
  CHECK(log.from() == "/dev/kmsg");
  const auto events = log.next();
  REQUIRE(events.size() == 2);
  CHECK(events[0].number == 63);
  CHECK(events[0].at_s == doctest::Approx(5.0));
  CHECK(events[1].slot == "0000:3c:00");
  CHECK(log.last_at_s() == doctest::Approx(6.5));
  CHECK_FALSE(log.begins_late());
  CHECK(log.next().empty());
  std::ofstream(recorded.dir / "kmsg", std::ios::app) << "4,14,7000000,-;NVRM: Xid (PCI:0000:3b:00): 94, Contained\n";
  const auto more = log.next();
  REQUIRE(more.size() == 1);
  CHECK(more[0].number == 94);
}

TEST_CASE("a record of several lines is one event, in the kernel's log and in the journal") {
  // As NVIDIA's driver writes it: one record; the address stands before a line's end.
  Recorded recorded(
      "3,12,5000000,-;NVRM: The NVIDIA GPU 0000:3b:00.0\\x0aNVRM: (PCI ID: 10de:2330) installed in this system has\\x0aNVRM: fallen off the bus and is not responding to commands.\n"
      "6,13,5100000,-;a path\\x5cx0a that is none\n");
  const auto by_device = KernelLog(recorded.sources).next();
  REQUIRE(by_device.size() == 1);
  CHECK(by_device[0].number == 79);
  CHECK(by_device[0].slot == "0000:3b:00");
  CHECK(by_device[0].line.find("NVRM: (PCI ID: 10de:2330) installed") != std::string::npos);
  CHECK(by_device[0].line.find('\n') == std::string::npos);

  recorded.sources.kernel_log = "/none";
  test::write(recorded.dir / "journal",
              "[    5.000000] n kernel: NVRM: The NVIDIA GPU 0000:3b:00.0\n                         NVRM: (PCI ID: 10de:2330) installed in this system has\n"
              "                         NVRM: fallen off the bus and is not responding to commands.\n[    6.000000] n kernel: usb 1-1: new device\n");
  recorded.sources.journal = {"/bin/sh", "-c", "cat '" + (recorded.dir / "journal") + "'"};
  KernelLog log(recorded.sources);
  const auto by_journal = log.next();
  REQUIRE(by_journal.size() == 1);
  CHECK(by_journal[0].number == 79);
  CHECK(by_journal[0].slot == "0000:3b:00");
  CHECK(by_journal[0].at_s == doctest::Approx(5));
  CHECK(log.next().empty());
}

TEST_CASE("a log whose beginning is gone says so") {
  const Recorded recorded("6,4711,99000000,-;something\n");
  KernelLog log(recorded.sources);
  CHECK(log.next().empty());
  CHECK(log.begins_late());
}

TEST_CASE("without permission the journal is asked, and without either the reasons are told") {
  test::TemporaryDirectory dir;
  Sources sources;
  sources.root = dir.string();
  sources.kernel_log = "/none";
  sources.journal = {"/bin/sh", "-c", "echo '[    3.250000] node kernel: NVRM: Xid (PCI:0000:3b:00): 31, MMU Fault'; echo '[    4.000000] node systemd[1]: Started'"};
  KernelLog log(sources);
  REQUIRE(log.readable());
  CHECK_FALSE(log.cheap());
  const auto events = log.next();
  REQUIRE(events.size() == 1);
  CHECK(events[0].at_s == doctest::Approx(3.25));
  CHECK(log.next().empty());   // the same lines again are not new

  // Who may not see the kernel's lines gets none, and no error.
  sources.journal = {"/bin/sh", "-c", "true"};
  KernelLog empty(sources);
  CHECK_FALSE(empty.readable());
  CHECK(empty.why_not().find("No such file") != std::string::npos);
  CHECK(empty.why_not().find("no line of the kernel") != std::string::npos);
  sources.journal = {"/no/such/journalctl"};
  CHECK_FALSE(KernelLog(sources).readable());
  sources.journal.clear();
  CHECK_FALSE(KernelLog(sources).readable());
  CHECK(KernelLog(sources).next().empty());
}

TEST_CASE("random and hostile lines are read without harm") {
  std::mt19937_64 random(20261122);
  std::string text;
  for (int i = 0; i < 3000; ++i) {
    std::string line = i % 3 ? "4," + std::to_string(i) + ",1,-;NVRM: Xid (" : std::string();
    for (auto n = random() % 60; n-- > 0;) line += static_cast<char>(random() % 256);
    text += line + "\n";
  }
  text += "9,9,9,-;" + std::string(200'000, 'A');   // a line that never ends
  const Recorded recorded(text);
  KernelLog log(recorded.sources);
  for (const auto& event : log.next()) {
    CHECK(event.number >= 0);
    CHECK(event.line.size() <= 1300);
  }
}

TEST_CASE("lines of a journal that was shortened meanwhile are not taken for old ones") {
  test::TemporaryDirectory dir;
  Sources sources;
  sources.root = dir.string();
  sources.kernel_log = "/none";
  test::write(dir / "journal", "[    1.000000] n kernel: a\n[    2.000000] n kernel: b\n[    3.000000] n kernel: c\n");
  sources.journal = {"/bin/sh", "-c", "cat '" + (dir / "journal") + "'"};
  KernelLog log(sources);
  REQUIRE(log.readable());
  CHECK(log.next().empty());
  CHECK_FALSE(log.cut());
  test::write(dir / "journal", "[    3.000000] n kernel: c\n[    4.000000] n kernel: NVRM: Xid (PCI:0000:3b:00): 48, DBE\n[    5.000000] n kernel: d\n");
  const auto events = log.next();
  REQUIRE(events.size() == 1);
  CHECK(events[0].number == 48);
  CHECK(log.cut());   // what went away may have been read by nobody
  CHECK(log.next().empty());
  CHECK_FALSE(log.cut());
}

TEST_CASE("an XID of a part of a GPU is the GPU's") {
  const auto event = parse_kernel_line("NVRM: Xid (PCI:0000:3b:00 GPU-I:05): 13, pid=1, Graphics Exception");
  REQUIRE(event);
  CHECK(event->slot == "0000:3b:00");
}

namespace {

// What /dev/kmsg answers, read by read: a record; "" when records were overwritten under the reader (EPIPE); then EAGAIN.
std::deque<std::string> answers;
ssize_t scripted(int, void* to, std::size_t room) {
  if (answers.empty()) return errno = EAGAIN, -1;
  const std::string next = std::move(answers.front());
  answers.pop_front();
  if (next.empty()) return errno = EPIPE, -1;
  REQUIRE(next.size() <= room);
  next.copy(static_cast<char*>(to), next.size());
  return static_cast<ssize_t>(next.size());
}

}  // namespace

TEST_CASE("records that the kernel overwrote before they were read are counted, and no silence") {
  Recorded recorded("");
  recorded.sources.read_record = scripted;
  answers = {"6,100,1000,-;a\n"};
  KernelLog log(recorded.sources);
  CHECK(log.next().empty());
  CHECK(log.begins_late());
  CHECK_FALSE(log.cut());
  CHECK(log.lost().empty());

  // Between two looks the ring went round: 101 to 1334 are gone, and the reader is told once.
  answers = {"", "4,1335,9000000,-;NVRM: Xid (PCI:0000:3b:00): 48, DBE\n"};
  const auto events = log.next();
  REQUIRE(events.size() == 1);
  CHECK(log.cut());
  CHECK(log.lost() == "1,234 records of the kernel's log were overwritten before they could be read");
  // Of that look alone: the next one is whole again.
  answers = {"6,1336,9100000,-;b\n"};
  CHECK(log.next().empty());
  CHECK_FALSE(log.cut());
  CHECK(log.lost().empty());

  // Nothing comes after the gap: how much is not known, that it was is.
  answers = {""};
  CHECK(log.next().empty());
  CHECK(log.cut());
  CHECK(log.lost().find("lost before they could be read") != std::string::npos);

  // The very first read, on opening, counts as well.
  answers = {"", "6,7,1000,-;a\n"};
  KernelLog late(recorded.sources);
  REQUIRE(late.readable());
  CHECK(late.next().empty());
  CHECK(late.cut());
}

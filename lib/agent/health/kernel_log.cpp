#include "agent/health/kernel_log.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "agent/process.hpp"
#include "base/text.hpp"

namespace kfab::agent::health {
namespace {

constexpr std::size_t most_bytes = std::size_t{64} << 20, most_events = 4096, record_bytes = 16384, most_odd_reads = 10'000;
constexpr double journal_timeout_s = 15;

bool is_hex(std::string_view text) { return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isxdigit(c) != 0; }); }

// The number that `text` begins with.
std::optional<std::uint64_t> leading_number(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (problem != std::errc{} || end == text.data()) return std::nullopt;
  return number;
}

// What is between the parentheses after `mark`, and where the text goes on after them.
std::optional<std::pair<std::string_view, std::string_view>> after_mark(std::string_view text, std::string_view mark) {
  const auto at = text.find(mark);
  if (at == std::string_view::npos) return std::nullopt;
  const auto from = at + mark.size(), to = text.find(')', from);
  if (to == std::string_view::npos || to - from > 40) return std::nullopt;
  return std::pair{text.substr(from, to - from), text.substr(to + 1)};
}

// ": 79," or ": 145, RLW Fatal ...": the first colon and blank that digits follow and a comma or the end ends.
std::optional<std::pair<int, std::string_view>> numbered(std::string_view text) {
  for (auto at = text.find(": "); at != std::string_view::npos; at = text.find(": ", at + 1)) {
    const auto number = leading_number(text.substr(at + 2));
    if (!number || *number > 99'999'999) continue;
    auto end = at + 2;
    while (end < text.size() && std::isdigit(static_cast<unsigned char>(text[end])) != 0) ++end;
    if (end == text.size() || text[end] == ',') return std::pair{static_cast<int>(*number), text.substr(std::min(end + 1, text.size()))};
  }
  return std::nullopt;
}

// A word that looks like a PCI address, for the lines that have no parentheses.
std::string slot_in(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const auto end = std::min(text.find_first_of(" ,()[]\n", at), text.size());
    if (auto slot = pci_slot(text.substr(at, end - at)); !slot.empty()) return slot;
    at = end + 1;
  }
  return {};
}

// /dev/kmsg writes what is not printable, and the backslash itself, as "\\x0a": a record of several lines is one line there.
std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    unsigned code = 0;
    const bool escape = text[at] == '\\' && text.size() - at >= 4 && text[at + 1] == 'x' && is_hex(text.substr(at + 2, 2));
    if (escape) std::from_chars(text.data() + at + 2, text.data() + at + 4, code, 16);
    out += escape ? static_cast<char>(code) : text[at];
    if (escape) at += 3;
  }
  return out;
}

bool says_fatal(std::string_view text) {
  const std::string lower = to_lower(std::string(text));
  for (auto at = lower.find("fatal"); at != std::string::npos; at = lower.find("fatal", at + 1)) {
    const bool negated = (at >= 3 && lower.compare(at - 3, 3, "non") == 0) || (at >= 4 && lower.compare(at - 4, 4, "non-") == 0);
    const bool word_begins = at == 0 || std::isalpha(static_cast<unsigned char>(lower[at - 1])) == 0;
    if (!negated && word_begins) return true;
  }
  return false;
}

}  // namespace

std::string pci_slot(std::string_view address) {
  if (address.substr(0, 4) == "PCI:") address.remove_prefix(4);
  while (!address.empty() && (address.back() == '.' || address.back() == ':')) address.remove_suffix(1);
  if (const auto dot = address.rfind('.'); dot != std::string_view::npos) {
    if (address.size() - dot != 2 || !is_hex(address.substr(dot + 1))) return {};
    address = address.substr(0, dot);
  }
  const auto parts = split(address, ':');
  if (parts.size() != 2 && parts.size() != 3) return {};
  const bool with_domain = parts.size() == 3;
  const std::string &bus = parts[with_domain ? 1 : 0], &device = parts[with_domain ? 2 : 1];
  std::string domain = with_domain ? parts[0] : "0000";
  if (!is_hex(domain) || !is_hex(bus) || !is_hex(device) || domain.size() > 8 || bus.size() != 2 || device.size() != 2) return {};
  while (domain.size() > 4 && domain.front() == '0') domain.erase(0, 1);
  while (domain.size() < 4) domain.insert(0, 1, '0');
  return to_lower(domain + ":" + bus + ":" + device);
}

std::optional<KernelEvent> parse_kernel_line(std::string_view text) {
  KernelEvent event;
  event.line = one_line(text.substr(0, 2000), 300);
  if (const auto found = after_mark(text, "NVRM: Xid (")) {
    const auto number = numbered(found->second);
    if (!number) return std::nullopt;
    event.number = number->first;
    event.slot = pci_slot(found->first.substr(0, found->first.find(' ')));   // "0000:3b:00 GPU-I:05": a part of that GPU
    // The units of NVLink 5 say their severity in the line; so does nothing else in a way that can be relied on.
    event.fatal = event.number >= 144 && event.number <= 150 && says_fatal(number->second);
    return event;
  }
  if (text.find("nvidia-nvswitch") != std::string_view::npos) {
    const auto found = after_mark(text, "SXid (");
    const auto number = found ? numbered(found->second) : std::nullopt;
    if (!number) return std::nullopt;
    event.kind = KernelEvent::Kind::sxid;
    event.number = number->first;
    event.slot = pci_slot(found->first);
    event.fatal = says_fatal(number->second);
    return event;
  }
  if (text.find("NVRM:") != std::string_view::npos && text.find("fallen off the bus") != std::string_view::npos) {
    event.number = 79;
    event.slot = slot_in(text);
    return event;
  }
  if (text.find("mce: [Hardware Error]: Machine check events logged") != std::string_view::npos ||
      text.find("mce: [Hardware Error]: CPU ") != std::string_view::npos) {
    event.kind = KernelEvent::Kind::machine_check;
    return event;
  }
  return std::nullopt;
}

KernelLog::KernelLog(const Sources& sources, Way way) : sources_(sources) {
  if (way == Way::either) fd_ = ::open((sources.root + sources.kernel_log).c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd_ >= 0) {
    // The device can open and still refuse the first read, where reading it is restricted.
    std::array<char, record_bytes> buffer{};
    const ssize_t got = sources.read_record(fd_, buffer.data(), buffer.size());
    const int problem = got < 0 ? errno : 0;
    if (got >= 0 || problem == EAGAIN || problem == EPIPE || problem == EINVAL) {
      gap_on_opening_ = problem == EPIPE || problem == EINVAL;
      if (got > 0) rest_.assign(buffer.data(), static_cast<std::size_t>(got));
      return;
    }
    ::close(fd_);
    fd_ = -1;
    errno = problem;
  }
  why_not_ = way == Way::either ? fmt::format("{}: {}", sources.kernel_log, std::strerror(errno)) : std::string("no journal is asked");
  if (sources.journal.empty()) return;
  // Who may not read the kernel's lines gets none, without an error: an empty answer is no answer.
  ProcessSpec probe;
  probe.argv = sources.journal;
  probe.argv.push_back("--lines=1");
  probe.timeout_s = journal_timeout_s;
  const auto answer = run_process(probe);
  if (answer.success() && answer.out.find("kernel:") != std::string::npos) {
    why_not_.clear();
    return;
  }
  why_not_ += fmt::format("; {}: {}", sources.journal.front(), answer.success() ? std::string("it shows no line of the kernel to this user") : answer.how());
}

KernelLog::~KernelLog() {
  if (fd_ >= 0) ::close(fd_);
}

std::vector<KernelEvent> KernelLog::next() {
  cut_ = false;
  overwritten_ = 0;
  if (!readable()) return {};
  if (std::exchange(gap_on_opening_, false)) overwritten();
  return fd_ >= 0 ? read_device() : read_journal();
}

void KernelLog::take(std::string_view text, double at_s, std::vector<KernelEvent>& out) {
  if (at_s >= 0 && first_at_s_ < 0) first_at_s_ = at_s;
  if (at_s >= 0) last_at_s_ = at_s;
  auto event = parse_kernel_line(text);
  if (!event) return;
  if (out.size() >= most_events) {
    cut_ = true;
    return;
  }
  event->at_s = at_s;
  out.push_back(std::move(*event));
}

void KernelLog::overwritten() { cut_ = gap_ = true; }

std::string KernelLog::lost() const {
  if (!cut_) return {};
  return overwritten_ > 0 ? fmt::format("{} of the kernel's log were overwritten before they could be read", plural(static_cast<long long>(overwritten_), "record"))
                          : std::string("lines of the kernel's log were lost before they could be read");
}

// "6,1234,5678901,-;text": priority, number, microseconds since boot.
void KernelLog::take_record(std::string_view line, std::vector<KernelEvent>& out) {
  const auto semicolon = line.find(';');
  if (line.empty() || line.front() == ' ' || semicolon == std::string_view::npos || semicolon > 120) return;
  const auto head = split(line.substr(0, semicolon), ',');
  const auto sequence = head.size() > 1 ? leading_number(head[1]) : std::nullopt;
  const auto micros = head.size() > 2 ? leading_number(head[2]) : std::nullopt;
  if (first_) begins_late_ = sequence.value_or(0) > 0;
  // A reader that opens the device gets the oldest record that there is, and no error for those that went before.
  if (first_ && go_on_after_ && sequence.value_or(0) > *go_on_after_ + 1) {
    cut_ = true;
    overwritten_ += *sequence - *go_on_after_ - 1;
  }
  // Before the first record nobody knows where it would have gone on: that its beginning is gone says the same.
  if (std::exchange(gap_, false) && !first_ && sequence.value_or(0) > next_record_) overwritten_ += *sequence - next_record_;
  first_ = false;
  if (sequence) next_record_ = *sequence + 1;
  if (go_on_after_ && sequence && *sequence <= *go_on_after_) return;
  take(unescaped(line.substr(semicolon + 1)), micros ? static_cast<double>(*micros) * 1e-6 : -1, out);
}

// Records, with lines of further fields after them that begin with a blank.
std::vector<KernelEvent> KernelLog::read_device() {
  std::vector<KernelEvent> out;
  std::array<char, record_bytes> buffer{};
  std::size_t total = 0, odd = 0;
  const auto lines = [&] {
    std::size_t from = 0;
    for (;;) {
      const auto end = rest_.find('\n', from);
      if (end == std::string::npos) break;
      take_record(std::string_view(rest_).substr(from, end - from), out);
      from = end + 1;
    }
    rest_.erase(0, from);
    if (rest_.size() > 4 * record_bytes) {   // no line of a kernel is so long
      rest_.clear();
      cut_ = true;
    }
  };
  lines();
  for (;;) {
    const ssize_t got = sources_.read_record(fd_, buffer.data(), buffer.size());
    if (got < 0 && (errno == EINTR || errno == EPIPE || errno == EINVAL)) {   // overwritten while it was read; too long a record
      if (errno != EINTR) overwritten();
      if (++odd > most_odd_reads) {
        cut_ = true;
        break;
      }
      continue;
    }
    if (got <= 0) break;   // EAGAIN: all that there is has been read
    total += static_cast<std::size_t>(got);
    rest_.append(buffer.data(), static_cast<std::size_t>(got));
    lines();
    if (total > most_bytes) {
      cut_ = true;
      break;
    }
  }
  lines();
  return out;
}

// "[   12.345678] host kernel: text"; what was seen before is skipped by its number, because nothing else is exact.
std::vector<KernelEvent> KernelLog::read_journal() {
  std::vector<KernelEvent> out;
  ProcessSpec spec;
  spec.argv = sources_.journal;
  spec.timeout_s = journal_timeout_s;
  spec.max_output_bytes = most_bytes;
  const auto answer = run_process(spec);
  if (!answer.success()) {
    why_not_ = fmt::format("{}: {}", sources_.journal.front(), answer.how());
    return out;
  }
  cut_ = answer.truncated;
  const auto lines = split_lines(answer.out);
  // Once its oldest lines have gone the number of those that were seen says nothing, and the times must do.
  const std::string first(lines.empty() ? std::string_view() : lines.front().substr(0, 400));
  const bool shortened = journal_lines_ > 0 && (first != journal_first_ || lines.size() < journal_lines_);
  const double seen_until_s = last_at_s_;
  cut_ = cut_ || shortened;
  journal_first_ = first;
  std::uint64_t seen = 0;
  std::string record;
  double record_at_s = -1;
  const auto ended = [&] {
    if (!record.empty()) take(record, record_at_s, out);
    record.clear();
  };
  for (const std::string_view line : lines) {
    if (seen++ < journal_lines_ && !shortened) continue;
    // A record of several lines: the further ones are set in, and have neither a time nor a name.
    if (!line.empty() && line.front() == ' ' && !record.empty() && record.size() < record_bytes) {
      record += '\n';
      record += trim(line);
      continue;
    }
    ended();
    const auto kernel = line.find("kernel: ");
    if (line.empty() || line.front() != '[' || kernel == std::string_view::npos) continue;
    double at_s = -1;
    const auto close = line.find(']');
    if (close != std::string_view::npos) {
      const auto number = trim(line.substr(1, close - 1));
      if (std::from_chars(number.data(), number.data() + number.size(), at_s).ec != std::errc{}) at_s = -1;
    }
    if (shortened && at_s >= 0 && at_s <= seen_until_s) continue;
    record = line.substr(kernel + 8);
    record_at_s = at_s;
    // The kernel's first lines have no time yet, and name it; an older journal has the time at which it took them.
    if (std::exchange(first_, false)) begins_late_ = at_s > 1 && record.find("Linux version") == std::string::npos && record.find("Booting Linux") == std::string::npos;
  }
  ended();
  journal_lines_ = seen;
  return out;
}

}  // namespace kfab::agent::health

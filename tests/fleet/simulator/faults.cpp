#include "fleet/simulator/faults.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace kfab::sim {
namespace {

using std::chrono::milliseconds;

constexpr std::array<std::string_view, 8> actions{"none", "stall", "reset", "hang_up", "half_close", "garbage", "corrupt", "disconnect"};
constexpr std::array<std::string_view, 15> points{"accept", "banner", "kexinit", "kexreply", "newkeys", "byte", "service", "auth",
                                                  "signature", "channel", "exec", "output", "status", "eof", "close"};

constexpr std::array rows{
    FaultRow{"healthy", Behaviour::healthy, 0, "a node as it should be"},
    FaultRow{"black_hole", Behaviour::black_hole, 0, "its SYN is never answered"},
    FaultRow{"max_startups", Behaviour::max_startups, 1000000, "the first NUMBER connections are told so and dropped before the banner"},
    FaultRow{"crowded", Behaviour::crowded, 10, "drops every connection beyond NUMBER that are not logged in yet"},
    FaultRow{"banner_trickle", Behaviour::banner_trickle, 150, "a banner without end, a byte every NUMBER ms"},
    FaultRow{"garbage_banner", Behaviour::garbage_banner, 4096, "NUMBER random bytes, then silence"},
    FaultRow{"endless_lines", Behaviour::endless_lines, 20, "a line that is no banner every NUMBER ms, for ever"},
    FaultRow{"http", Behaviour::http, 0, "a web server"},
    FaultRow{"banner_too_long", Behaviour::banner_too_long, 100000, "a banner of NUMBER bytes, then silence"},
    FaultRow{"ssh1", Behaviour::ssh1, 0, "protocol 1.5 and nothing else"},
    FaultRow{"echo", Behaviour::echo, 0, "says what it is told"},
    FaultRow{"huge_packet", Behaviour::huge_packet, 0, "a banner, then a packet of 4 GiB"},
    FaultRow{"greeting", Behaviour::greeting, 3, "NUMBER lines of text before the banner, as RFC 4253 allows"},
    FaultRow{"old_version", Behaviour::old_version, 0, "calls itself OpenSSH_3.4p1"},
    FaultRow{"slow_banner", Behaviour::slow_banner, 10, "a good banner, a byte every NUMBER ms"},
    FaultRow{"laggy", Behaviour::laggy, 300, "all that either side says takes NUMBER ms"},
    FaultRow{"wrong_host_key", Behaviour::wrong_host_key, 0, "a host key that nobody knows"},
    FaultRow{"changed_host_key", Behaviour::changed_host_key, 1, "another host key after NUMBER connections"},
    FaultRow{"bad_signature", Behaviour::bad_signature, 0, "does not own the host key that it shows"},
    FaultRow{"auth_refused", Behaviour::auth_refused, 0, "takes no key"},
    FaultRow{"auth_partial", Behaviour::auth_partial, 0, "takes the key and wants something else as well"},
    FaultRow{"auth_partial_stall", Behaviour::auth_partial_stall, 0, "the same, and then says no more"},
    FaultRow{"channel_refused", Behaviour::channel_refused, 0, "opens no session"},
    FaultRow{"exec_refused", Behaviour::exec_refused, 0, "starts no command"},
    FaultRow{"exit", Behaviour::exit_status, 3, "every command ends with status NUMBER"},
    FaultRow{"no_status", Behaviour::no_status, 0, "closes without saying how the command ended"},
    FaultRow{"no_status_eof", Behaviour::no_status_eof, 0, "ends the output and says no more"},
    FaultRow{"signal", Behaviour::signal, 0, "every command is killed"},
    FaultRow{"late_status", Behaviour::late_status, 2000, "the exit status comes NUMBER ms after the output"},
    FaultRow{"flood", Behaviour::flood, std::uint64_t{64} << 20, "NUMBER bytes of output"},
    FaultRow{"stderr_flood", Behaviour::stderr_flood, std::uint64_t{64} << 20, "NUMBER bytes of error output"},
    FaultRow{"endless", Behaviour::endless, 0, "output without end"},
    FaultRow{"trickle", Behaviour::trickle, 20, "NUMBER bytes of output, 50 ms apart"},
    FaultRow{"endless_trickle", Behaviour::endless_trickle, 50, "a byte of output every NUMBER ms, for ever"},
    FaultRow{"deaf", Behaviour::deaf, 0, "never reads its input and never ends"},
    FaultRow{"deaf_exit", Behaviour::deaf_exit, 1000, "never reads its input and ends after NUMBER ms"},
    FaultRow{"cat", Behaviour::cat, 0, "prints its input"},
    FaultRow{"binary", Behaviour::binary, 0, "prints every byte value"},
    FaultRow{"invalid_utf8", Behaviour::invalid_utf8, 0, "prints what is no UTF-8"},
    FaultRow{"escapes", Behaviour::escapes, 0, "prints what a terminal would obey"},
    FaultRow{"clock_1970", Behaviour::clock_1970, 0, "its clock stands at the beginning"},
    FaultRow{"clock_2038", Behaviour::clock_2038, 0, "its clock runs ahead, past the 32 bits"},
};

// Which actions a point knows.
bool playable(Action action, Point point) {
  if (action == Action::none) return false;
  const bool below = point >= Point::kexinit && point <= Point::byte;
  if (action == Action::corrupt) return below;
  if (action == Action::disconnect) return point >= Point::service;
  return true;
}

template <class Enum, std::size_t count>
std::optional<Enum> find_name(const std::array<std::string_view, count>& names, std::string_view name) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return std::nullopt;
  return static_cast<Enum>(found - names.begin());
}

}  // namespace

std::span<const FaultRow> fault_table() { return rows; }
std::span<const std::string_view> action_names() { return actions; }
std::span<const std::string_view> point_names() { return points; }

std::optional<Fault> parse_fault(std::string_view text) {
  std::optional<std::uint64_t> number;
  if (const std::size_t colon = text.find(':'); colon != std::string_view::npos) {
    const std::string_view digits = text.substr(colon + 1);
    std::uint64_t value = 0;
    const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (failed != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
    number = value;
    text = text.substr(0, colon);
  }
  if (const std::size_t at = text.find('@'); at != std::string_view::npos) {
    const auto action = find_name<Action>(actions, text.substr(0, at));
    const auto point = find_name<Point>(points, text.substr(at + 1));
    if (!action || !point || !playable(*action, *point)) return std::nullopt;
    if (number && !(*point >= Point::kexinit && *point <= Point::byte)) return std::nullopt;
    return Fault{Behaviour::at_point, *action, *point, number.value_or(0)};
  }
  const auto row = std::find_if(rows.begin(), rows.end(), [&](const FaultRow& candidate) { return candidate.name == text; });
  if (row == rows.end()) return std::nullopt;
  return Fault{row->behaviour, Action::none, Point::accept, number.value_or(row->number)};
}

Layer layer_of(const Fault& fault) {
  switch (fault.behaviour) {
    case Behaviour::black_hole: return Layer::listener;
    case Behaviour::max_startups: return Layer::raw;
    case Behaviour::at_point:
      return fault.point <= Point::banner ? Layer::raw : fault.point <= Point::byte ? Layer::wire : Layer::session;
    case Behaviour::slow_banner:
    case Behaviour::laggy:
    case Behaviour::bad_signature: return Layer::wire;
    default: break;
  }
  return fault.behaviour >= Behaviour::banner_trickle && fault.behaviour <= Behaviour::huge_packet ? Layer::raw : Layer::session;
}

std::string_view binary_text() {
  static const std::string text = [] {
    std::string made;
    for (int i = 0; i < 1024; ++i) made += static_cast<char>(i);
    return made;
  }();
  return text;
}

std::string_view pattern_text() {
  static const std::string text = [] {
    std::string made;
    for (int line = 0; made.size() < 64 * 1024; ++line) made += "line " + std::to_string(line) + " of what a node prints\n";
    made.resize(64 * 1024);
    return made;
  }();
  return text;
}

std::optional<ExecScript> exec_script(const Fault& fault) {
  const milliseconds number(static_cast<milliseconds::rep>(fault.number));
  ExecScript script;
  switch (fault.behaviour) {
    case Behaviour::at_point:
      if (fault.point < Point::output) return std::nullopt;
      script.text = pattern_text();
      break;
    case Behaviour::exit_status: script.status = static_cast<int>(fault.number); break;
    case Behaviour::no_status: script.status.reset(); break;
    case Behaviour::no_status_eof:
      script.text = "half\n";
      script.status.reset();
      script.closes = false;
      break;
    case Behaviour::signal:
      script.status.reset();
      script.signal = "KILL";
      break;
    case Behaviour::late_status:
      script.text = "soon\n";
      script.then = number;
      break;
    case Behaviour::flood:
    case Behaviour::stderr_flood:
    case Behaviour::endless:
      script.text = pattern_text();
      script.on_stderr = fault.behaviour == Behaviour::stderr_flood;
      script.bytes = fault.behaviour == Behaviour::endless ? endless_bytes : fault.number;
      break;
    case Behaviour::trickle:
    case Behaviour::endless_trickle:
      script.text = "drop ";
      script.piece = 1;
      script.bytes = fault.behaviour == Behaviour::trickle ? fault.number : endless_bytes;
      script.every = fault.behaviour == Behaviour::trickle ? milliseconds(50) : number;
      break;
    case Behaviour::deaf:
      script.reads_input = script.ends = false;
      break;
    case Behaviour::deaf_exit:
      script.reads_input = false;
      script.then = number;
      break;
    case Behaviour::cat: script.echoes_input = true; break;
    case Behaviour::binary: script.text = binary_text(); break;
    case Behaviour::invalid_utf8: script.text = "caf\xe9 \xff\xfe \xc0\xaf \xed\xa0\x80 end\n"; break;
    case Behaviour::escapes: script.text = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m\x9b" "5n\r\xe2\x80\xae" "gnol\n"; break;
    case Behaviour::clock_1970: script.text = "1970-01-01T00:00:07Z\n"; break;
    case Behaviour::clock_2038: script.text = "2038-01-19T03:14:09Z\n"; break;
    default: return std::nullopt;
  }
  if (script.bytes == 0) script.bytes = script.text.size();
  return script;
}

}  // namespace kfab::sim

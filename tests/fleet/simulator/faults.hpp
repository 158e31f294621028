#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace kfab::sim {

// What is done to a connection at a point of it. `corrupt` flips one bit of a byte; `disconnect` is SSH's own goodbye.
enum class Action : std::uint8_t { none, stall, reset, hang_up, half_close, garbage, corrupt, disconnect };

// Where, in the order of a login. The first two are played without libssh, the next four below it on the bytes from
// the server (`byte` counts them from 0), the others in place of the server's answer at that station: `auth` is the
// question whether a key would do, `signature` the proof of it, `output` half of the output, `status`, `eof` and
// `close` the three messages that end a command.
enum class Point : std::uint8_t {
  accept, banner, kexinit, kexreply, newkeys, byte, service, auth, signature, channel, exec, output, status, eof, close
};

enum class Behaviour : std::uint8_t {
  healthy,
  at_point,   // Fault::action at Fault::point, else healthy
  // By sockets alone
  black_hole, max_startups, crowded,
  // No SSH
  banner_trickle, garbage_banner, endless_lines, http, banner_too_long, ssh1, echo, huge_packet,
  // SSH, slowly or in an odd way, but in order
  greeting, old_version, slow_banner, laggy,
  // Who it is and who is let in
  wrong_host_key, changed_host_key, bad_signature, auth_refused, auth_partial, auth_partial_stall,
  channel_refused, exec_refused,
  // How a command ends
  exit_status, no_status, no_status_eof, signal, late_status,
  // What it prints and reads
  flood, stderr_flood, endless, trickle, endless_trickle, deaf, deaf_exit, cat, binary, invalid_utf8, escapes,
  clock_1970, clock_2038
};

// One node's part. Written "NAME", "NAME:NUMBER" or "ACTION@POINT[:NUMBER]"; the number is the byte within the packet
// or the stream for the points below libssh, and what the row in the table says for a behaviour.
struct Fault {
  Behaviour behaviour = Behaviour::healthy;
  Action action = Action::none;
  Point point = Point::accept;
  std::uint64_t number = 0;
};
std::optional<Fault> parse_fault(std::string_view);

struct FaultRow {
  std::string_view name;
  Behaviour behaviour;
  std::uint64_t number;       // when none is given
  std::string_view meaning;
};
std::span<const FaultRow> fault_table();
std::span<const std::string_view> action_names();   // in the order of the enums
std::span<const std::string_view> point_names();

// Who plays a fault.
enum class Layer : std::uint8_t { listener, raw, wire, session };
Layer layer_of(const Fault&);

// What a command does on a node. The text is sent over and over until `bytes` are out.
struct ExecScript {
  std::string_view text{};
  std::uint64_t bytes = 0;               // text.size() when 0
  bool on_stderr = false;
  std::chrono::milliseconds every{0};    // pause between pieces; 0: as fast as the window allows
  std::size_t piece = 0;
  std::chrono::milliseconds then{0};     // before the exit status
  std::optional<int> status = 0;
  std::string_view signal{};
  bool ends = true, closes = true;
  bool reads_input = true, echoes_input = false;
};
std::optional<ExecScript> exec_script(const Fault&);   // none: what a healthy node does

constexpr std::uint64_t endless_bytes = ~std::uint64_t{0};
// What the output of `binary`, `invalid_utf8`, ... is, for whoever compares.
std::string_view binary_text();          // every byte value, 1 KiB
std::string_view pattern_text();         // 64 KiB of lines, of floods and of ACTION@output

}  // namespace kfab::sim

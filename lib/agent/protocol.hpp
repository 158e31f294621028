#pragma once

#include <string>
#include <string_view>

#include "json/value.hpp"

// How kfab and the agent on a node talk: one JSON object per line, UTF-8, over the agent's stdin and stdout. The
// agent's stderr is free text for a person. Unknown members are ignored by both sides; an unknown message type is
// ignored by the host; anything else that is new needs a new protocol version.
//
// Host to agent
//   {"type":"request","protocol":1,"run_id":"...","deadline_s":600,"heartbeat_s":12,"task":"boot|clock|detach|facts|job|provision|reboot|relay|selftest|test|undo", ...}
//       the first line; the other members are the task's own
//   {"type":"heartbeat"}   at least every heartbeat_s; any line counts
//   {"type":"cancel"}      stop now, in good order
//   {"type":"turn","name":"...","now":1800000000.0}   this node may go on with what it asked a turn for; the host's clock as
//       it says so, in seconds since 1970
//   end of file            the owner is gone: the same, and nothing more is written than the pipe takes
//
// Agent to host
//   {"type":"hello","protocol":1,"version":"0.1.0","sha256":"<of the agent's own file>","uid":0,"pid":4711,
//    "board_serial":"..."|null}   at once; the serial is the board's, else the product's, null where neither is told
//   {"type":"progress","step":"package:chrony","done":3,"total":24,"message":"..."}
//   {"type":"turn","name":"...","state":"wanted"|"over"}   what only so many nodes may do at once: the task waits until the
//       host says that it is this node's turn, and says when that is over. Waiting is no part of deadline_s
//   task messages:  {"type":"facts","facts":{...}}      (facts.hpp)
//                   {"type":"resource", ...}            (provision_task.hpp, undo_task.hpp)
//                   of task "test": tests/test_task.hpp; "selftest": tests/selftest_task.hpp; "relay": relay_task.hpp; "clock": clock_task.hpp; "boot" and "reboot": boot_task.hpp;
//                   "detach" and "job": jobs/job_task.hpp
//   {"type":"done","ok":true,"error":null}  or  {"type":"done","ok":false,"error":{"code":"KF2101","message":"..."}}
//       the last line. Without it nothing that the agent said counts as complete.
//
// The agent's exit status is 0 after "done" with ok true, 1 after ok false, 3 when its owner vanished, 2 for a wrong
// command line. It ends at the deadline, at end of file, at cancel, on SIGTERM, SIGINT and SIGHUP, and when no line
// came for heartbeat_s; a task that does not return is left behind by the exit of the process, its children killed.
namespace kfab::agent {

inline constexpr int protocol_version = 1;
inline constexpr double default_heartbeat_s = 12;
// A request larger than this is refused; other lines of the host may have 64 KiB. The agent's lines have no more
// than `max_agent_line_bytes`: what is longer (a diff, an output) is cut by the task that sends it.
inline constexpr std::size_t max_request_bytes = std::size_t{64} << 20;
inline constexpr std::size_t max_agent_line_bytes = std::size_t{4} << 20;
// Within this after the reason to stop arose, the process is gone, whatever its task does.
inline constexpr double stop_grace_s = 1.5;

// The members that every request has, to which the task's own are added.
inline json::Object request_header(std::string_view run_id, std::string_view task, double deadline_s,
                                   double heartbeat_s = default_heartbeat_s) {
  return json::Object{{"type", "request"}, {"protocol", protocol_version}, {"run_id", run_id},
                      {"deadline_s", deadline_s}, {"heartbeat_s", heartbeat_s}, {"task", task}};
}

}  // namespace kfab::agent

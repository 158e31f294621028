#include "ssh/outcome.hpp"

#include <fmt/format.h>

#include <array>

#include "base/codes/ssh.hpp"
#include "base/result.hpp"
#include "base/text.hpp"

namespace kfab::ssh {

std::string_view to_string(Phase phase) {
  constexpr std::array<std::string_view, 8> words{"resolve", "connect", "banner", "kex", "auth", "channel", "command", "close"};
  return words[static_cast<std::size_t>(phase)];
}

CommandEnd ended(NodeOutcome outcome, Phase phase, Diagnostic why) {
  CommandEnd end;
  end.outcome = outcome;
  end.phase = phase;
  end.why = std::move(why);
  return end;
}

CommandEnd timed_out(Phase phase, std::chrono::milliseconds limit, const std::string& who) {
  const std::string time = format_duration_s(std::chrono::duration<double>(limit).count());
  if (phase == Phase::command || phase == Phase::close) {
    return ended(NodeOutcome::timed_out, phase,
                 error(code::remote_command_timed_out, fmt::format("{}: the command did not end within {}", who, time)));
  }
  return ended(NodeOutcome::timed_out, phase,
               error(code::ssh_timed_out, fmt::format("{}: not through the phase {} within {}", who, to_string(phase), time)));
}

CommandEnd judge(const EndEvidence& evidence, const std::string& who) {
  CommandEnd end;
  end.phase = Phase::command;
  end.exit_status = evidence.exit_status;
  end.signal = evidence.signal;
  if (evidence.transport_error) {
    end.outcome = NodeOutcome::unreachable;
    end.why = error(code::ssh_connection_lost, fmt::format("{}: connection lost while the command ran: {}", who, *evidence.transport_error));
  } else if (!evidence.signal.empty()) {
    end.outcome = NodeOutcome::failed;
    end.phase = Phase::close;
    end.why = error(code::remote_command_killed, fmt::format("{}: the command was ended by signal {}", who, one_line(evidence.signal, 32)));
  } else if (!evidence.exit_status || !evidence.end_of_output || !evidence.closed) {
    end.outcome = NodeOutcome::unreachable;
    end.why = error(code::ssh_no_exit_status, fmt::format("{}: the channel ended, but no exit status came", who));
  } else if (*evidence.exit_status != 0) {
    end.outcome = NodeOutcome::failed;
    end.phase = Phase::close;
    end.why = error(code::remote_command_failed, fmt::format("{}: exit status {}", who, *evidence.exit_status));
  } else {
    end.outcome = NodeOutcome::ok;
    end.phase = Phase::close;
  }
  return end;
}

}  // namespace kfab::ssh

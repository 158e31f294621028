#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/codes/ssh.hpp"
#include "base/text.hpp"
#include "ssh/openssh.hpp"
#include "ssh/outcome.hpp"

namespace kfab::ssh {
namespace {

constexpr std::size_t max_line = 16 * 1024, max_said = 40, max_offered = 20;

std::optional<int> number_after(std::string_view line, std::string_view words) {
  const std::size_t at = line.find(words);
  if (at == std::string_view::npos) return std::nullopt;
  line.remove_prefix(at + words.size());
  int value = 0;
  return std::from_chars(line.data(), line.data() + line.size(), value).ec == std::errc() ? std::optional(value) : std::nullopt;
}

// How far the log line shows that ssh has come.
struct Milestone { std::string_view begins; Phase phase; };
constexpr Milestone milestones[] = {
    {"debug1: Connecting to ", Phase::connect},
    {"debug1: Executing proxy command", Phase::connect},
    {"debug1: Local version string ", Phase::banner},
    {"debug1: Remote protocol version ", Phase::kex},
    {"debug1: SSH2_MSG_NEWKEYS received", Phase::auth},
    {"Authenticated to ", Phase::channel},
};

// What ssh says when it gives up, and what that is. The first row that fits a line holds; `in` says where it can stand.
struct Reason { std::string_view words; NodeOutcome outcome; Phase phase; Code code; };
constexpr Reason reasons[] = {
    {"Could not resolve hostname", NodeOutcome::unreachable, Phase::resolve, code::ssh_resolve_failed},
    {"Connection timed out during banner exchange", NodeOutcome::timed_out, Phase::banner, code::ssh_timed_out},
    {"ssh: connect to host", NodeOutcome::unreachable, Phase::connect, code::ssh_connect_failed},
    {"open failed: connect failed", NodeOutcome::unreachable, Phase::connect, code::ssh_connect_failed},
    {"open failed: administratively prohibited", NodeOutcome::refused, Phase::channel, code::ssh_channel_refused},
    {"Unable to negotiate with", NodeOutcome::unreachable, Phase::kex, code::ssh_kex_failed},
    {"is marked as revoked", NodeOutcome::refused, Phase::kex, code::host_key_revoked},
    {"REVOKED HOST KEY DETECTED", NodeOutcome::refused, Phase::kex, code::host_key_revoked},
    {"REMOTE HOST IDENTIFICATION HAS CHANGED", NodeOutcome::refused, Phase::kex, code::host_key_changed},
    {"Host key verification failed", NodeOutcome::refused, Phase::kex, code::host_key_unknown},
    {"Permission denied (", NodeOutcome::refused, Phase::auth, code::ssh_auth_refused},
    {"Too many authentication failures", NodeOutcome::refused, Phase::auth, code::ssh_auth_refused},
    {"request failed on channel", NodeOutcome::refused, Phase::channel, code::ssh_channel_refused},
    {"session request failed: Session open refused", NodeOutcome::refused, Phase::channel, code::ssh_channel_refused},
    {"tdio forwarding request failed", NodeOutcome::unreachable, Phase::connect, code::ssh_connect_failed},
    {"stdio forwarding failed", NodeOutcome::unreachable, Phase::connect, code::ssh_connect_failed},
    {"Bad configuration option", NodeOutcome::unreachable, Phase::resolve, code::openssh_not_possible},
    {"terminating, ", NodeOutcome::unreachable, Phase::resolve, code::openssh_not_possible},
    {"Bad owner or permissions on", NodeOutcome::unreachable, Phase::resolve, code::openssh_not_possible},
    {"ControlPath too long", NodeOutcome::unreachable, Phase::resolve, code::openssh_not_possible},
    {"banner exchange:", NodeOutcome::unreachable, Phase::banner, code::ssh_not_ssh},
    {"kex_exchange_identification:", NodeOutcome::unreachable, Phase::banner, code::ssh_not_ssh},
    {"not responding", NodeOutcome::unreachable, Phase::command, code::ssh_connection_lost},
};

// Of several, the one that is furthest on the way: what came after it was not reached. Of one phase, the first row.
const Reason* reason_of(const OpensshLog& log) {
  const Reason* best = nullptr;
  for (const Reason& row : reasons) {
    const bool there = std::any_of(log.said.begin(), log.said.end(), [&](const std::string& line) { return line.find(row.words) != std::string::npos; });
    if (there && (best == nullptr || row.phase > best->phase)) best = &row;
  }
  return best;
}

std::string last_said(const OpensshLog& log, std::string_view with = {}) {
  for (auto line = log.said.rbegin(); line != log.said.rend(); ++line)
    if (line->find(with) != std::string::npos) return one_line(*line, 300);
  return {};
}

void add_keys(Diagnostic& why, const OpensshLog& log) {
  for (const std::string& key : log.offered) why.help.push_back("offered: " + one_line(key));
  if (!log.methods.empty()) why.help.push_back("the server would take: " + one_line(log.methods));
  for (const std::string& line : log.said)
    if (line.find("oad key \"") != std::string::npos || line.find("no such identity") != std::string::npos) why.help.push_back("ssh: " + one_line(line));
}

// The end of a connection that never came to the command, from what one ssh said. `where` names the machine.
std::optional<CommandEnd> gave_up(const OpensshLog& log, const std::string& where) {
  const Reason* reason = reason_of(log);
  if (reason == nullptr) return std::nullopt;
  const std::string said = last_said(log, reason->words);
  std::string message = fmt::format("{}: ssh: {}", where, said);
  if (reason->code == code::host_key_unknown) message = fmt::format("the host key of {} is not known{}", where, log.host_key.empty() ? "" : ": " + one_line(log.host_key));
  if (reason->code == code::host_key_changed) message = fmt::format("THE HOST KEY OF {} HAS CHANGED{}", where, log.host_key.empty() ? "" : ": it offers " + one_line(log.host_key));
  if (reason->code == code::host_key_revoked) message = fmt::format("{} offers the revoked host key {}", where, one_line(log.host_key));
  Diagnostic why = error(reason->code, message);
  if (reason->code == code::ssh_auth_refused) add_keys(why, log);
  if (reason->code == code::host_key_changed)
    for (const std::string& line : log.said)
      if (line.starts_with("Offending")) why.help.push_back("ssh: " + one_line(line));
  return ended(reason->outcome, reason->phase, std::move(why));
}

}  // namespace

void OpensshLog::add(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t end = bytes.find('\n');
    const std::string_view part = bytes.substr(0, end);
    if (!skipping_) rest_.append(part);
    if (rest_.size() > max_line) skipping_ = true;   // no line that matters is so long
    if (end == std::string_view::npos) return;
    if (!skipping_) line(rest_);
    rest_.clear();
    skipping_ = false;
    bytes.remove_prefix(end + 1);
  }
}

void OpensshLog::finish() {
  if (!skipping_ && !rest_.empty()) line(rest_);
  rest_.clear();
}

void OpensshLog::line(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  for (const Milestone& row : milestones)
    if (line.starts_with(row.begins) && row.phase > phase) phase = row.phase;
  const auto begins = [&](std::string_view words) { return line.starts_with(words); };
  const auto start_command = [&] {
    command_started = true;
    phase = std::max(phase, Phase::command);
  };
  if (!begins("debug")) {
    if (line.empty() || begins("@@@") || begins("Authenticated to ") || begins("Transferred: ") || begins("Bytes per second: ")) return;
    if (said.size() == max_said) said.erase(said.begin() + max_said / 2);   // the first ones and the last ones tell most
    said.emplace_back(line.substr(0, 600));
  } else if (begins("debug2: exec request accepted on channel ")) {
    start_command();
  } else if (begins("debug1: mux_client_request_session: master session id: ")) {
    master_channel = number_after(line, "master session id: ");
    start_command();
  } else if (begins("debug2: Received exit status from master ")) {
    exit_status = number_after(line, "from master ");
  } else if (begins("debug2: Control master terminated unexpectedly")) {
    master_lost = true;
  } else if (begins("debug1: setting up multiplex master socket")) {
    is_master = true;
  } else if (begins("debug1: client_input_channel_req: channel ") && line.find(" rtype exit-signal ") != std::string_view::npos) {
    if (const auto channel = number_after(line, "channel ")) signalled.push_back(*channel);
  } else if (begins("debug1: client_input_channel_req: channel ") && line.find(" rtype exit-status ") != std::string_view::npos) {
    if (!is_master) status_came_ = true;
  } else if (begins("debug1: Exit status ")) {
    // Of an ssh without a master: its own word, worth something only with the server's message before it.
    if (status_came_ && !exit_status) exit_status = number_after(line, "Exit status ");
  } else if (begins("debug1: Server host key: ")) {
    host_key = std::string(line.substr(25, 200));
  } else if (begins("debug1: Authentications that can continue: ")) {
    methods = std::string(line.substr(43, 200));
  } else if (begins("debug1: Offering public key: ") && offered.size() < max_offered) {
    offered.emplace_back(line.substr(29, 200));
  }
}

CommandEnd judge_openssh(const OpensshEvidence& evidence, const Target& target, const std::string& who) {
  const OpensshLog& log = evidence.log;
  if (log.exit_status && evidence.ssh_status == log.exit_status) {
    EndEvidence proof;
    proof.end_of_output = evidence.end_of_output;
    proof.closed = true;   // ssh ends only when the channel is closed
    proof.exit_status = log.exit_status;
    return judge(proof, who);
  }
  const bool signalled = evidence.signalled_in_master || (log.master_channel
      ? log.is_master && std::find(log.signalled.begin(), log.signalled.end(), *log.master_channel) != log.signalled.end()
      : !log.signalled.empty());
  if (log.command_started && signalled && evidence.ssh_status == 255) {
    CommandEnd end = ended(NodeOutcome::failed, Phase::close,
                           error(code::remote_command_killed, fmt::format("{}: the command was ended by a signal; ssh(1) does not say by which", who)));
    end.signal = "unknown";
    return end;
  }
  if (log.command_started) {
    const std::string said = last_said(log);
    const std::string why = !evidence.ssh_status ? "ssh itself was killed" : !said.empty() ? said : log.master_lost ? "the shared connection ended" : "no exit status came";
    return ended(NodeOutcome::unreachable, Phase::command,
                 error(code::ssh_connection_lost, fmt::format("{}: connection lost while the command ran: {}", who, why)));
  }
  // Not even begun. Where a jump host failed, its own ssh knows why; the outermost that did is the cause.
  for (std::size_t i = 0; i < evidence.jumps.size() && i < target.via.size(); ++i) {
    if (auto end = gave_up(evidence.jumps[i], fmt::format("{} (jump host {})", who, one_line(target.via[i]->node)))) {
      // That it cannot connect further is about the machine behind it.
      if (end->phase == Phase::connect && last_said(evidence.jumps[i], "open failed").empty() && i > 0) continue;
      return *end;
    }
  }
  if (auto end = gave_up(log, who)) return *end;
  const std::string said = last_said(log);
  const std::string why = !evidence.ssh_status ? "ssh itself was killed" : said.empty() ? fmt::format("ssh ended with {} and did not say why", *evidence.ssh_status) : said;
  const Code code = log.phase <= Phase::connect ? code::ssh_connect_failed : log.phase == Phase::banner ? code::ssh_not_ssh : code::ssh_connection_lost;
  return ended(NodeOutcome::unreachable, log.phase, error(code, fmt::format("{}: ssh: {}", who, why)));
}

}  // namespace kfab::ssh

#include "fleet/supervisor.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/codes/commands.hpp"
#include "base/codes/ssh.hpp"
#include "base/embedded.hpp"
#include "base/ids.hpp"
#include "base/text.hpp"
#include "fleet/one_line_script.hpp"

KFAB_EMBEDDED(session_sh)
KFAB_EMBEDDED(supervisor_sh)

namespace kfab::fleet {
namespace {

bool name_byte(char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; }

constexpr std::size_t longest_word = 600;   // what the script may say: longer is not its own

}  // namespace

std::string_view mode_word(Become become) {
  switch (become) {
    case Become::none: return "plain";
    case Become::sudo: return "sudo";
    case Become::sudo_password: return "ask";
  }
  return "plain";
}

Result<Variable> parse_variable(std::string_view text) {
  const std::size_t equals = text.find('=');
  const std::string_view name = text.substr(0, equals);
  const auto bad = [&](std::string_view why) {
    return error(code::bad_variable, fmt::format("'{}' {}", one_line(name, 60), why));
  };
  if (equals == std::string_view::npos) return bad("has no value: write NAME=VALUE");
  if (name.empty() || (name.front() >= '0' && name.front() <= '9') || !std::all_of(name.begin(), name.end(), name_byte))
    return bad("is not the name of an environment variable");
  if (name.starts_with("kf_") || name == "IFS") return bad("is a name that the supervising shell uses itself");
  return Variable{std::string(name), std::string(text.substr(equals + 1))};
}

std::size_t lines_of(std::string_view text) { return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) + 1; }

std::string supervisor_script() { return session_script(embedded_supervisor_sh()); }

std::string session_script(std::string_view rest) { return one_line_script(embedded_session_sh()) + " " + one_line_script(rest); }

std::string session_line(std::string_view script, std::string_view nonce, Become become) {
  return fmt::format("exec /bin/sh -c 'eval \"$1\"' kfab '{}' {} {} 0", script, nonce, mode_word(become));
}

SupervisedLine supervise(std::string_view command, const std::vector<Variable>& environment, std::uint64_t input_bytes, Become become) {
  static const std::string script = supervisor_script();
  SupervisedLine supervised;
  supervised.nonce = random_hex(8);
  supervised.preamble = fmt::format("{}\n", command);
  for (const Variable& variable : environment)
    supervised.preamble += fmt::format("{} {}\n{}\n", lines_of(variable.value), variable.name, variable.value);
  supervised.line = fmt::format("{} {} {} {}", session_line(script, supervised.nonce, become), lines_of(command), environment.size(), input_bytes);
  return supervised;
}

void SupervisorVoice::feed(std::string_view bytes, const std::function<void(std::string_view)>& pass_on,
                           const std::function<void(const Word&)>& on_word) {
  if (ready_ && held_.empty() && !after_prompt_) return pass_on(bytes);
  held_ += bytes;
  while (!ready_) {
    if (after_prompt_ && !held_.empty()) {   // some sudos end the line of a prompt that was answered
      if (held_.front() == '\n') held_.erase(0, 1);
      after_prompt_ = false;
    }
    const std::size_t at = held_.find(nonce_);
    if (at == std::string::npos) {
      std::size_t keep = std::min(held_.size(), nonce_.size() - 1);
      while (keep > 0 && !held_.ends_with(std::string_view(nonce_).substr(0, keep))) --keep;
      if (held_.size() > keep) pass_on(std::string_view(held_).substr(0, held_.size() - keep));
      held_.erase(0, held_.size() - keep);
      return;
    }
    const std::size_t end = held_.find(';', at);
    if (end == std::string::npos) {
      if (held_.size() - at > longest_word) ready_ = true;   // not ours: nothing is withheld
      break;
    }
    const std::vector<std::string> parts = split(std::string_view(held_).substr(at, end - at), ':');
    if (at > 0) pass_on(std::string_view(held_).substr(0, at));
    held_.erase(0, end + 1);
    Word word{parts.size() > 1 ? parts[1] : "", parts.size() > 2 ? parts[2] : ""};
    if (word.word == "ready") ready_ = true;
    if (word.word == "password") after_prompt_ = true;
    on_word(word);
  }
  if (ready_ && !held_.empty()) pass_on(std::exchange(held_, {}));
}

Diagnostic supervisor_error(const SupervisorVoice::Word& said, const std::string& node) {
  struct Row { std::string_view word; Code code; std::string_view words; };
  constexpr Row rows[] = {
      {"no_tool", code::exec_no_tool, "a program is missing"},
      {"no_space", code::exec_no_space, "no space for the command's input"},
      {"cut_short", code::exec_cut_short, "did not arrive whole"},
      {"no_sudo", code::sudo_missing, "there is no sudo"},
  };
  for (const Row& row : rows) {
    if (row.word == said.word) return error(row.code, fmt::format("{}: {}: {}", one_line(node), row.words, one_line(said.detail, 300)));
  }
  return error(code::exec_not_started, fmt::format("{}: unknown word '{}'", one_line(node), one_line(said.word, 40)));
}

}  // namespace kfab::fleet

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/diagnostic.hpp"
#include "base/result.hpp"

// The host's side of supervisor.sh: how a command travels to a node so that it does not outlive kfab there, and so that
// nothing that an operator typed is ever read by a login shell.
namespace kfab::fleet {

// How a command becomes root's. `sudo` never asks; `sudo_password` answers sudo's prompt, and only that.
enum class Become : std::uint8_t { none, sudo, sudo_password };
std::string_view mode_word(Become);   // plain, sudo, ask: as the scripts call it

// "NAME=VALUE" taken apart. The name is a shell's, and not one that the supervisor itself uses.
struct Variable {
  std::string name, value;
};
Result<Variable> parse_variable(std::string_view text);   // errors: bad_variable

// A node hears from kfab at least this often. It gives up after 12 s of silence: supervisor.sh, and the agent
// (agent/protocol.hpp).
inline constexpr std::chrono::seconds heartbeat_every{4};
inline constexpr std::string_view heartbeat = ".";

// What is sent to every node of a run: the constant line, and the bytes that come first on standard input.
struct SupervisedLine {
  std::string nonce;      // random hex: marks the supervisor's words among those of the command
  std::string line;       // for ssh::Command::line; nothing in it varies but numbers of our own making
  std::string preamble;   // command and environment; `input` follows it
};
SupervisedLine supervise(std::string_view command, const std::vector<Variable>& environment, std::uint64_t input_bytes, Become);

// The script as it travels: without comments, on one line.
std::string supervisor_script();

// What supervisor.sh shares with other scripts that take a command channel: session.sh in front of `rest`, on one line;
// the line that starts such a script, to which its arguments are added; the lines that a text has for its take().
std::string session_script(std::string_view rest);
std::string session_line(std::string_view script, std::string_view nonce, Become);
std::size_t lines_of(std::string_view text);

// Takes the supervisor's words out of what comes on standard error, until it says "ready". What else comes is passed
// on as it is, at once but for what may be the beginning of a word.
class SupervisorVoice {
 public:
  struct Word { std::string word, detail; };
  explicit SupervisorVoice(std::string nonce) : nonce_(std::move(nonce)) {}
  void feed(std::string_view bytes, const std::function<void(std::string_view)>& pass_on, const std::function<void(const Word&)>& on_word);
  // What is held back, once nothing more comes.
  std::string rest() { return std::exchange(held_, {}); }

 private:
  std::string nonce_, held_;
  bool ready_ = false, after_prompt_ = false;
};

// Why a command was not started, by the supervisor's word for it.
Diagnostic supervisor_error(const SupervisorVoice::Word&, const std::string& node);

}  // namespace kfab::fleet

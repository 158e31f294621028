#include "term/prompt.hpp"

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include <string>

#include "base/codes/cli.hpp"
#include "base/codes/commands.hpp"
#include "base/text.hpp"

namespace kfab::term {

Result<bool> confirm(std::string_view question, const PromptRules& rules, std::istream& in, std::ostream& err) {
  if (rules.assume_yes) return true;
  if (!rules.may_ask)
    return error(code::confirmation_missing, "cannot ask \"" + one_line(question) + "\" here: give --yes to answer it with yes");
  err << printable(question) << " [y/N] " << std::flush;
  std::string answer;
  if (!std::getline(in, answer)) {
    err << '\n';
    return false;
  }
  const std::string word = to_lower(trim(answer));
  return word == "y" || word == "yes";
}

namespace {

// The terminal with its echo off.
class SilentTerminal {
 public:
  SilentTerminal() : fd_(::open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC)) {
    if (fd_ < 0 || ::tcgetattr(fd_, &before_) != 0) return;
    termios silent = before_;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHONL);
    usable_ = ::tcsetattr(fd_, TCSAFLUSH, &silent) == 0;
  }
  ~SilentTerminal() {
    if (usable_) ::tcsetattr(fd_, TCSAFLUSH, &before_);
    if (fd_ >= 0) ::close(fd_);
  }
  SilentTerminal(const SilentTerminal&) = delete;
  SilentTerminal& operator=(const SilentTerminal&) = delete;
  bool usable() const { return usable_; }
  void say(std::string_view text) const {
    while (!text.empty()) {
      const ssize_t written = ::write(fd_, text.data(), text.size());
      if (written <= 0) return;
      text.remove_prefix(static_cast<std::size_t>(written));
    }
  }
  // One line, without its end. False at the end of the input and when something interrupts.
  bool read_line(Secret& into) const {
    for (;;) {
      char byte = 0;
      const ssize_t got = ::read(fd_, &byte, 1);
      if (got != 1) return false;
      if (byte == '\n' || byte == '\r') return true;
      if (!into.append(byte)) return false;
    }
  }

 private:
  int fd_ = -1;
  termios before_{};
  bool usable_ = false;
};

}  // namespace

Result<Secret> ask_secret(std::string_view question) {
  const SilentTerminal terminal;
  if (!terminal.usable()) return error(code::become_cannot_ask, "cannot ask for a password: there is no terminal");
  terminal.say(printable(question));
  Secret secret;
  const bool whole = terminal.read_line(secret);
  terminal.say("\n");
  if (!whole || secret.empty()) return error(code::become_cannot_ask, "no password was given");
  return secret;
}

}  // namespace kfab::term

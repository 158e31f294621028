#include "term/stream.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <charconv>

#include "base/text.hpp"

namespace kfab::term {
namespace {

constexpr std::size_t usual_width = 80;
constexpr std::size_t widest = 1000;

std::string variable(const Getenv& getenv, std::string_view name) { return getenv(name).value_or(std::string{}); }

std::optional<std::size_t> parse_width(std::string_view text) {
  std::size_t width = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), width);
  if (error != std::errc{} || end == text.data() || width == 0 || width > widest) return std::nullopt;
  return width;
}

bool forces_colour(const std::string& value) { return !value.empty() && value != "0"; }

std::size_t window_width(int fd, const Getenv& getenv) {
  winsize size{};
  if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return parse_width(variable(getenv, "COLUMNS")).value_or(usual_width);
}

}  // namespace

bool decide_colour(ColourChoice choice, const Getenv& getenv, bool terminal) {
  if (choice != ColourChoice::automatic) return choice == ColourChoice::always;
  if (!variable(getenv, "NO_COLOR").empty()) return false;
  if (forces_colour(variable(getenv, "CLICOLOR_FORCE")) || forces_colour(variable(getenv, "FORCE_COLOR"))) return true;
  if (variable(getenv, "CLICOLOR") == "0") return false;
  const std::string kind = variable(getenv, "TERM");
  if (kind.empty() || kind == "dumb") return false;
  return terminal;
}

bool locale_is_utf8(const Getenv& getenv) {
  for (const std::string_view name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const std::string value = variable(getenv, name);
    if (value.empty()) continue;   // the first that is set decides
    const std::string lower = to_lower(value);
    return lower.find("utf-8") != std::string::npos || lower.find("utf8") != std::string::npos;
  }
  return false;
}

bool is_terminal(int fd) { return isatty(fd) == 1; }

StreamFacts stream_facts(int fd, ColourChoice choice, const Getenv& getenv) {
  StreamFacts facts;
  const std::string forced = variable(getenv, "KFAB_FORCE_TTY");
  facts.terminal = !forced.empty() || is_terminal(fd);
  facts.colour = decide_colour(choice, getenv, facts.terminal);
  facts.unicode = locale_is_utf8(getenv);
  if (!forced.empty()) facts.width = parse_width(forced.substr(0, forced.find('x'))).value_or(usual_width);
  else if (facts.terminal) facts.width = window_width(fd, getenv);
  return facts;
}

}  // namespace kfab::term

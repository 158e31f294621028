#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

// What a stream can show. isatty, the environment's words on colour, and the width of the window are read here and
// nowhere else.
namespace kfab::term {

// Reads an environment variable; nothing when it is not set.
using Getenv = std::function<std::optional<std::string>(std::string_view)>;

enum class ColourChoice { automatic, always, never };   // --color auto|always|never

// The facts by which everything for people is rendered. `width` is in columns and absent where nothing may be cut: on
// files and pipes.
struct StreamFacts {
  bool terminal = false;
  bool colour = false;
  bool unicode = false;               // symbols outside ASCII may be shown
  std::optional<std::size_t> width{};
};

// First match wins: --color always or never; NO_COLOR not empty: off; CLICOLOR_FORCE or FORCE_COLOR not empty and not
// 0: on; CLICOLOR=0: off; TERM=dumb or unset: off; else whether the stream is a terminal.
bool decide_colour(ColourChoice, const Getenv&, bool terminal);

// Whether the locale (LC_ALL, else LC_CTYPE, else LANG) is a UTF-8 one.
bool locale_is_utf8(const Getenv&);

// Whether a person may be at the other end of `fd`, whatever the environment says.
bool is_terminal(int fd);

// The facts of file descriptor `fd`. The width of a terminal is the window's, else COLUMNS, else 80.
// KFAB_FORCE_TTY=80x24 makes every stream a terminal of that size, for tests.
StreamFacts stream_facts(int fd, ColourChoice, const Getenv&);

}  // namespace kfab::term

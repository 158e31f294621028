#pragma once

#include <span>
#include <string>

#include "base/diagnostic.hpp"
#include "cli/args.hpp"
#include "term/stream.hpp"

namespace kfab::cli {

// What a command line asks for.
struct Parsed {
  enum class Wish : std::uint8_t {
    run,           // `args.command()` with `args`
    help,          // --help: of `args.command()`, or of kfab when there is none
    version,       // --version
    nothing,       // no words at all
    refused,       // `errors` say why; nothing was run
  };
  Wish wish = Wish::refused;
  Args args{nullptr};
  Diagnostics errors;
};

// Reads the words after the program's name against the tables. Global options may stand before or after the command,
// `--` ends options, nothing is ever abbreviated, and a mistyped word gets a suggestion and is not run.
Parsed parse(std::span<const std::string> words, const term::Getenv&);

}  // namespace kfab::cli

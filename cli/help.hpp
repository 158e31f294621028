#pragma once

#include <span>
#include <string>
#include <string_view>

#include "cli/option_table.hpp"
#include "term/stream.hpp"

namespace kfab::cli {

// What `kfab help TOPIC` knows besides the commands.
struct HelpTopic {
  std::string_view name;
  std::string_view about;
  std::string (*text)(const term::StreamFacts&);
};
std::span<const HelpTopic> help_topics();

// The pages, wrapped to the stream's width (80 where it has none, at most 100).
std::string overview_help(const term::StreamFacts&);                        // kfab --help
std::string short_help();                                                   // kfab alone
std::string command_help(const CommandSpec&, const term::StreamFacts&);     // kfab help COMMAND
std::string usage_line(const CommandSpec&);                                 // "kfab lint MANIFEST... [options]"

// One environment variable that kfab heeds.
struct VariableRow {
  std::string_view name, meaning;
};
std::span<const VariableRow> environment_table();

// "-w, --nodes SET" and what the value may be and defaults to: as help and manual show an option.
std::string option_heading(const OptionSpec&);
std::string option_text(const OptionSpec&);

// Breaks words into lines of at most `width` columns, each after `indent` blanks. Paragraphs are separated by a blank line.
std::string wrap(std::string_view text, std::size_t width, std::size_t indent);

}  // namespace kfab::cli

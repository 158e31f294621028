#pragma once

#include <string>
#include <vector>

#include "base/diagnostic.hpp"
#include "manifest/load.hpp"
#include "term/stream.hpp"

namespace kfab::cli {

struct DiagnosticStyle {
  bool one_line = false;      // --diagnostics short: file:line:column: error[KF1003]: ...
  bool only_errors = false;   // -q
  bool next_steps = true;     // of findings without a place in a text
  std::size_t most = 20;      // what is past them is counted
  std::string manifest{};     // what is to be typed for the word MANIFEST in a hint; empty: the word stays
};

// Findings for people, on stderr: with the line and a caret where `sources` has the text, with suggestions and the next
// step, and a last line that counts them.
std::string render_diagnostics(const Diagnostics&, const std::vector<manifest::SourceText>& sources, const DiagnosticStyle&,
                               const term::StreamFacts&);

}  // namespace kfab::cli

#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/codes.hpp"
#include "base/codes/internal.hpp"

namespace kfab {

// Where in a text something stands. Lines and columns count from 1, columns in code points (tabs as one);
// byte_offset counts from 0. The end is exclusive and on the same or a later line.
struct SourceSpan {
  std::string file;
  std::uint32_t line = 0;
  std::uint32_t column = 0;
  std::uint32_t end_line = 0;
  std::uint32_t end_column = 0;
  std::size_t byte_offset = 0;
};

// One finding that a person or a script must be told: what is wrong, where, and what to do. The code decides severity
// and the next step (codes.hpp); `help` adds what only this occurrence knows.
struct Diagnostic {
  Code code = code::internal;
  Severity severity = Severity::error;
  std::string message;                   // one sentence, no final full stop, no control characters
  std::string path{};                    // in the document: "spec.tranches[1].due"; empty when there is none
  std::optional<SourceSpan> span{};      // the offending token
  std::string label{};                   // words beside the caret: "found the string 'eight'"
  std::vector<std::string> help{};       // further lines: "keys allowed here: ..."
  std::vector<std::string> suggestions{};  // replacements for the token, best first
  std::string node{};                    // the node it is about, if any
};

using Diagnostics = std::vector<Diagnostic>;

// A diagnostic of the code's own severity.
Diagnostic make_diagnostic(Code code, std::string message);

bool has_errors(const Diagnostics&);

}  // namespace kfab

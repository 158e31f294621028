#pragma once

#include <string>
#include <string_view>

namespace kfab::cli {

// Text for scdoc, with a backslash before what has a meaning there.
std::string escape(std::string_view text);
// The same at the start of a line, where more characters have a meaning.
std::string escape_line(std::string_view line);
std::string bold(std::string_view text);
std::string slanted(std::string_view text);
// A term and, indented below it, what it means, as a sentence.
std::string definition(const std::string& term, std::string_view text);

// The comment over a YAML document, as paragraphs.
std::string leading_comment(std::string_view yaml);

}  // namespace kfab::cli

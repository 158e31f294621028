#include "cli/scdoc.hpp"

#include "base/text.hpp"

namespace kfab::cli {

std::string escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("\\_*#<>~[]`").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

std::string escape_line(std::string_view line) {
  const bool special = !line.empty() && std::string_view("-.|!:;").find(line.front()) != std::string_view::npos;
  return (special ? "\\" : "") + escape(line);
}

std::string bold(std::string_view text) { return "*" + escape(text) + "*"; }
std::string slanted(std::string_view text) { return "_" + escape(text) + "_"; }

std::string definition(const std::string& term, std::string_view text) { return term + "\n\t" + escape_line(text) + ".\n\n"; }

std::string leading_comment(std::string_view yaml) {
  std::string out;
  for (const auto line : split_lines(yaml)) {
    if (!line.starts_with('#')) break;
    const auto words = trim(line.substr(1));
    out += words.empty() ? "\n" : escape_line(words) + "\n";
  }
  return out;
}

}  // namespace kfab::cli

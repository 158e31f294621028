#include "cli/scdoc.hpp"

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

}  // namespace kfab::cli

#pragma once

#include <string>
#include <string_view>

#include "base/text.hpp"

namespace kfab::fleet {

// A script as it travels in single quotes through a login shell: without comments, on one line.
inline std::string one_line_script(std::string_view text) {
  std::string script;
  for (std::string_view line : split_lines(text)) {
    line = trim(line);
    if (line.empty() || line.front() == '#') continue;
    if (!script.empty()) script += ' ';
    script += line;
  }
  return script;
}

}  // namespace kfab::fleet

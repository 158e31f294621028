#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "commands/command.hpp"

namespace kfab::commands {

// The shells for which there is a completion file, and the file: the same bytes that are installed.
struct ShellFile {
  std::string_view shell;       // bash zsh fish
  std::string_view text;
  std::string_view install_as;  // where a user without root puts it
};
std::vector<ShellFile> shell_files();

// Schema kfab.completion/1.0: shell, script. The shell is one of shell_files().
CommandOutput run_completion(std::string_view shell);

}  // namespace kfab::commands

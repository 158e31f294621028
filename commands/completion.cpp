#include "commands/completion.hpp"

#include "base/codes/cli.hpp"
#include "base/embedded.hpp"
#include "base/result.hpp"

KFAB_EMBEDDED(completion_bash)
KFAB_EMBEDDED(completion_zsh)
KFAB_EMBEDDED(completion_fish)

namespace kfab::commands {

std::vector<ShellFile> shell_files() {
  return {{"bash", embedded_completion_bash(), "~/.local/share/bash-completion/completions/kfab"},
          {"zsh", embedded_completion_zsh(), "a directory of $fpath, as _kfab"},
          {"fish", embedded_completion_fish(), "~/.config/fish/completions/kfab.fish"}};
}

CommandOutput run_completion(std::string_view shell) {
  for (const ShellFile& file : shell_files()) {
    if (file.shell != shell) continue;
    CommandOutput out;
    out.schema = "kfab.completion/1.0";
    out.data = json::Object{{"shell", file.shell}, {"install_as", file.install_as}, {"script", file.text}};
    out.render = [text = file.text](term::Writer& writer) { writer.raw(text); };
    return out;
  }
  return not_started(error(code::bad_value, "there is no completion file for the shell '" + std::string(shell) + "'"));
}

}  // namespace kfab::commands

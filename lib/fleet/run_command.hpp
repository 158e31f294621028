#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/secret.hpp"
#include "fleet/fleet.hpp"
#include "fleet/supervisor.hpp"

namespace kfab::fleet {

// One command for many nodes. What is referred to outlives the run.
struct CommandTask {
  std::string text;                        // as the operator typed it
  std::vector<Variable> environment{};     // not with plain
  std::string_view input{};                // what the command reads
  Become become = Become::none;            // with plain: none
  const Secret* password = nullptr;        // for Become::sudo_password: the password and a line end
  // The text is the login shell's own line, and its input the channel's: nothing ends it on the node when kfab goes.
  bool plain = false;
};

// Takes what nodes print while they print it, so that nothing has to be kept. Called on the driving thread; does not
// throw.
class OutputTaker {
 public:
  virtual ~OutputTaker() = default;
  virtual void on_output(std::size_t target_index, bool is_stderr, std::string_view bytes) = 0;
  virtual void on_result(std::size_t target_index, const CommandResult&) = 0;   // once per target, also if it never ran
};

// run_command() of fleet.hpp with all that a command can be given. A command that is not plain is ended with all its
// processes within 15 s of the end of kfab or of the connection (supervisor.hpp). A node that did not start it is
// refused, and its result has neither exit status nor signal. With a taker, the results keep the first
// max_stdout_bytes and max_stderr_bytes, and the taker gets everything.
std::vector<CommandResult> run_command(ssh::Transport&, const std::vector<ssh::Target>&, const CommandTask&, const FleetOptions&,
                                       const Clock&, EventSink&, const CancelToken&, OutputTaker* = nullptr);

}  // namespace kfab::fleet

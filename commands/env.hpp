#pragma once

#include <filesystem>
#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/cancel.hpp"
#include "base/clock.hpp"
#include "base/event.hpp"
#include "base/redact.hpp"
#include "base/result.hpp"
#include "base/secret.hpp"
#include "base/usage.hpp"
#include "term/stream.hpp"

namespace kfab::ssh {
class Transport;
}

namespace kfab {

// Everything a command may touch. A command never looks at argv, asks isatty or opens a socket by itself, so each one
// runs in a test with fakes. What it finds it returns (command.hpp); `out` is only for what cannot wait for the end,
// and nothing may be written to it under -o json or ndjson.
struct Env {
  std::ostream& out;
  std::ostream& err;
  const Clock& clock;
  EventSink& events;              // what happens while it happens: live line, NDJSON, or nowhere
  CancelToken& cancel;
  std::function<std::optional<std::string>(std::string_view)> getenv;
  std::filesystem::path state_dir;               // --state, KFAB_STATE_DIR, XDG_STATE_HOME/kfab: runs, host keys, locks
  bool state_dir_named = false;                  // by --state: a command that only reads refuses one that is not there
  std::string run_id;                            // of this run: base/ids.hpp
  Timestamp started_at{};
  std::vector<std::string> command_line{};       // as typed, without the program's name: for the run's record
  std::string kfab_version{};
  std::filesystem::path executable{};            // this kfab, for demo and the like
  std::function<Result<std::string>()> read_stdin;   // all of standard input, bounded; for "-"
  // Yes, no, or the error confirmation_missing when nobody can be asked. --yes answers by itself.
  std::function<Result<bool>(std::string_view question)> confirm;
  // A password, typed on the terminal without being shown. Empty, or an error, where nobody can be asked.
  std::function<Result<Secret>(std::string_view question)> ask_secret{};
  bool interactive = false;                      // a person is there: stdin and stderr are terminals, no --no-input
  term::StreamFacts out_facts{}, err_facts{};
  // The way to nodes. Made when it is first needed, because most commands never open a connection; an empty function
  // means the command makes the ordinary one from the site's settings.
  std::function<std::shared_ptr<ssh::Transport>()> transport{};
  std::function<ProcessUsage()> usage{};         // what kfab has taken of this machine; empty: nobody tells
  // Knows the secrets of this run; whatever leaves the process goes through it. The process does so for results, findings
  // and events, Recorder for the store; a command that writes elsewhere does it itself.
  std::shared_ptr<Redactor> redactor = std::make_shared<Redactor>();
};

}  // namespace kfab

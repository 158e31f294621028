#pragma once

#include <istream>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "base/cancel.hpp"
#include "base/clock.hpp"
#include "cli/args.hpp"
#include "commands/command.hpp"
#include "commands/env.hpp"
#include "json/envelope.hpp"
#include "json/redact.hpp"
#include "term/progress.hpp"

namespace kfab::cli {

// One run of kfab, from its words to its exit code. Everything that it takes from the operating system is a member, so
// that a test runs it whole in memory.
class Process {
 public:
  struct Surroundings {
    std::vector<std::string> words;                 // argv without the program
    std::istream& in;
    std::ostream& out;
    std::ostream& err;
    term::Getenv getenv;
    const Clock& clock;
    bool input_is_terminal = false;
    bool is_root = false;
    bool own_signals = false;                       // whether to watch signals while nodes are reached
    std::string executable{};
    term::StreamFacts (*facts)(int fd, term::ColourChoice, const term::Getenv&) = term::stream_facts;
  };

  explicit Process(Surroundings surroundings);
  ~Process();
  // Does what the words ask for and returns the exit code. What it throws is a bug.
  int run();
  // Says that `what` happened, in the format that was asked for. Returns the exit code of a bug.
  int report_bug(std::string_view what);
  // The exit code, once all of stdout was written or could not be: `failure` is the errno of that, 0 for none. An answer that
  // could not be written was not given, whatever it was: yes and no become incomplete, and stderr says so. A reader that
  // left (EPIPE) has seen what it wanted.
  int after_output(int code, int failure);

 private:
  enum class Format : std::uint8_t { table, json, ndjson };
  int refuse(const Diagnostics&);
  int run_command(const Args&);
  int finish(CommandOutput);
  std::optional<json::Rows> redacted_rows(std::optional<json::Rows>) const;
  Env make_env();
  void take_globals(const Args&);
  std::optional<Diagnostic> find_state_dir(const Args&);

  Surroundings world_;
  CancelToken cancel_;
  std::string version_, run_id_;
  Timestamp started_at_{};
  const CommandSpec* command_ = nullptr;
  Format format_ = Format::table;
  term::Verbosity verbosity_ = term::Verbosity::normal;
  bool short_diagnostics_ = false, assume_yes_ = false, no_input_ = false;
  term::StreamFacts out_facts_{}, err_facts_{};
  std::string state_dir_;
  bool state_dir_named_ = false;
  std::string manifest_;   // as a word that can be typed: the manifest's path, or the nodes in its stead; empty: neither
  NullEventSink nowhere_;
  std::unique_ptr<term::ProgressSink> progress_;
  std::unique_ptr<json::NdjsonSink> ndjson_;
  std::shared_ptr<Redactor> redactor_ = std::make_shared<Redactor>();
  std::unique_ptr<json::RedactingSink> clean_events_;
};

}  // namespace kfab::cli

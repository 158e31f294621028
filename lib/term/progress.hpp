#pragma once

#include <chrono>
#include <map>
#include <ostream>
#include <string>

#include "base/clock.hpp"
#include "base/event.hpp"
#include "term/stream.hpp"

namespace kfab::term {

enum class Verbosity { quiet, normal, verbose };   // -q, nothing said, -v

// Shows a run to a person, on stderr. Events it understands: "run_started" (total = number of nodes, message = what
// is done), "node_started", "progress" (node and step), "node_done" (outcome), "finding" and "message" (shown as a
// line of their own), "run_finished". On a terminal one live line, redrawn at most ten times a second, which erases
// itself; elsewhere, and only with -v, one line every ten seconds. With -q nothing but findings.
class ProgressSink final : public EventSink {
 public:
  ProgressSink(std::ostream& err, StreamFacts, const Clock&, Verbosity);
  ~ProgressSink() override;
  ProgressSink(const ProgressSink&) = delete;
  ProgressSink& operator=(const ProgressSink&) = delete;

  void emit(const Event&) override;
  // Removes the live line. After this nothing is drawn until the next event.
  void finish();

 private:
  using Instant = std::chrono::steady_clock::time_point;
  std::string summary(Instant now) const;
  void say(std::string_view text);
  void erase();
  void draw(Instant now, bool at_once);

  std::ostream& err_;
  StreamFacts facts_;
  const Clock& clock_;
  Verbosity verbosity_;
  std::string title_;
  std::string last_step_;
  long long total_ = 0, started_ = 0, done_ = 0;
  std::map<std::string, long long> outcomes_;
  Instant began_{}, last_drawn_{};
  bool running_ = false, drawn_ = false;
};

}  // namespace kfab::term

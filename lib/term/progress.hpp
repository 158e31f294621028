#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "base/event.hpp"
#include "term/stream.hpp"
#include "term/table.hpp"

namespace kfab::term {

enum class Verbosity { quiet, normal, verbose };   // -q, nothing said, -v

// How fast a count grows, of samples taken as it grows: over the last ten seconds, or over so much more that at least
// ten things fall into them, so that slow runs have a rate as well.
class RateMeter {
 public:
  using Instant = std::chrono::steady_clock::time_point;
  void restart(Instant);
  void sample(Instant, long long done);
  // Per second; 0 until a second has passed or while nothing is done.
  double per_second(Instant now, long long done) const;

 private:
  std::deque<std::pair<Instant, long long>> samples_;
};

// Shows a run to a person, on stderr. Events it understands: "run_started" (total = number of nodes, message = what
// is done), "node_started", "progress" (node and step), "node_done" (outcome), "finding" and "message" (shown as a
// line of their own), "tick" (time has passed; the node at work for the longest time, its step, done = its seconds),
// "run_finished".
//
// On a terminal one live line, redrawn at most ten times a second, which erases itself and is never wider than the
// terminal: how many are done of how many, the outcomes, nodes per second, the time left once it can be known, the nodes
// at work, and which node is waited for when few are left. What has no room is left out, the least useful first.
// Elsewhere the same as a plain line every ten seconds. With -q nothing but findings.
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
  struct Part {
    std::string text;
    Style style = Style::plain;
    int worth = 0;   // what has no room goes in this order, the least first
  };

  void begin(const Event&, Instant);
  void count(const std::string& outcome);
  std::vector<Part> parts(Instant now) const;
  std::string line(Instant now, std::size_t width) const;   // 0: as wide as it is
  void say(std::string_view text);
  void erase();
  void draw(Instant now);

  std::ostream& err_;
  StreamFacts facts_;
  const Clock& clock_;
  Verbosity verbosity_;
  std::string title_;
  long long total_ = 0, started_ = 0, done_ = 0;
  std::vector<std::pair<std::string, long long>> outcomes_;   // in the order in which they are shown
  RateMeter rate_;
  std::string oldest_, oldest_step_, step_share_;   // of the last tick; the share of its step that is done, "30 %"
  std::string share_of_;                            // the node that told it
  double oldest_s_ = 0;
  Instant began_{}, last_drawn_{};
  bool running_ = false, drawn_ = false;
};

}  // namespace kfab::term

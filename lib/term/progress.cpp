#include "term/progress.hpp"

#include <fmt/format.h>

#include "base/text.hpp"
#include "term/writer.hpp"

namespace kfab::term {
namespace {

constexpr auto redraw_every = std::chrono::milliseconds(100);
constexpr auto heartbeat_every = std::chrono::seconds(10);
constexpr std::string_view clear_line = "\r\x1b[K";

double seconds(std::chrono::steady_clock::duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace

ProgressSink::ProgressSink(std::ostream& err, StreamFacts facts, const Clock& clock, Verbosity verbosity)
    : err_(err), facts_(facts), clock_(clock), verbosity_(verbosity) {}

ProgressSink::~ProgressSink() { finish(); }

void ProgressSink::emit(const Event& event) {
  const Instant now = clock_.steady_now();
  if (event.type == "run_started") {
    title_ = one_line(event.message, 60);
    total_ = static_cast<long long>(event.total.value_or(0));
    started_ = done_ = 0;
    outcomes_.clear();
    last_step_.clear();
    began_ = now;
    last_drawn_ = now;
    running_ = true;
  } else if (event.type == "node_started") {
    ++started_;
  } else if (event.type == "node_done") {
    ++done_;
    ++outcomes_[event.outcome.empty() ? "ok" : event.outcome];
  } else if (event.type == "progress") {
    last_step_ = event.node.empty() ? event.step : event.node + " " + event.step;
    if (event.done && event.total && *event.total > 0) last_step_ += fmt::format(" {:.0f} %", 100 * *event.done / *event.total);
  } else if (event.type == "finding") {
    say(event.node.empty() ? event.message : event.node + ": " + event.message);
  } else if (event.type == "message") {
    if (verbosity_ != Verbosity::quiet) say(event.message);
  } else if (event.type == "run_finished") {
    finish();
    running_ = false;
    return;
  }
  draw(now, false);
}

void ProgressSink::finish() {
  erase();
  err_.flush();
}

std::string ProgressSink::summary(Instant now) const {
  const double elapsed = seconds(now - began_);
  std::string line = title_.empty() ? std::string("working") : title_;
  line += total_ > 0 ? fmt::format(": {} of {}", with_thousands(done_), with_thousands(total_))
                     : fmt::format(": {}", with_thousands(done_));
  for (const auto& [outcome, count] : outcomes_) line += fmt::format(", {} {}", with_thousands(count), outcome);
  if (started_ > done_) line += fmt::format(", {} under way", with_thousands(started_ - done_));
  if (done_ > 0 && elapsed >= 1) {
    const double rate = static_cast<double>(done_) / elapsed;
    line += rate >= 1 ? fmt::format(", {:.0f}/s", rate) : fmt::format(", {:.1f}/min", rate * 60);
    if (total_ > done_) line += fmt::format(", {} left", format_duration_s(static_cast<double>(total_ - done_) / rate));
  } else if (elapsed >= 1) {
    line += fmt::format(", {}", format_duration_s(elapsed));
  }
  if (!last_step_.empty()) line += " · " + one_line(last_step_, 60);
  if (!facts_.unicode) {
    const auto at = line.find(" · ");
    if (at != std::string::npos) line.replace(at, 4, " - ");
  }
  return line;
}

void ProgressSink::say(std::string_view text) {
  erase();
  err_ << one_line(text, 500) << '\n';
  err_.flush();
}

void ProgressSink::erase() {
  if (!drawn_) return;
  err_ << clear_line;
  drawn_ = false;
}

void ProgressSink::draw(Instant now, bool at_once) {
  if (!running_ || verbosity_ == Verbosity::quiet) return;
  if (facts_.terminal) {
    if (drawn_ && !at_once && now - last_drawn_ < redraw_every) return;
    const std::size_t width = facts_.width.value_or(80);
    err_ << clear_line << fit(summary(now), width > 1 ? width - 1 : 1);
    drawn_ = true;
  } else {
    if (verbosity_ != Verbosity::verbose || now - last_drawn_ < heartbeat_every) return;
    err_ << summary(now) << '\n';
  }
  last_drawn_ = now;
  err_.flush();
}

}  // namespace kfab::term

#include "term/progress.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/text.hpp"
#include "base/words.hpp"
#include "term/writer.hpp"

namespace kfab::term {
namespace {

using std::chrono::seconds;

constexpr auto redraw_every = std::chrono::milliseconds(100);
constexpr auto line_every = seconds(10);          // where there is no terminal
constexpr auto sample_every = std::chrono::milliseconds(500);
constexpr auto rate_over = seconds(10);
constexpr long long rate_of = 10;                 // things, at least
constexpr std::size_t most_samples = 256;
constexpr auto earliest_forecast = seconds(3);
constexpr long long few = 5;                      // nodes at work, of which the oldest is named
constexpr double worth_naming_s = 2;              // that it has been at work
constexpr std::string_view clear_line = "\r\x1b[K";

double in_seconds(std::chrono::steady_clock::duration d) { return std::chrono::duration<double>(d).count(); }

std::string rate_text(double per_second) {
  if (per_second >= 10) return with_thousands(static_cast<long long>(per_second + 0.5)) + "/s";
  if (per_second >= 1) return fmt::format("{:.1f}/s", per_second);
  return format_number(per_second * 60, per_second * 60 < 10 ? 1 : 0) + "/min";
}

}  // namespace

void RateMeter::restart(Instant now) { samples_.assign(1, {now, 0}); }

void RateMeter::sample(Instant now, long long done) {
  if (samples_.empty()) restart(now);
  if (now - samples_.back().first < sample_every) return;
  samples_.emplace_back(now, done);
  // The first sample is the start of the span that is looked at; it moves on while the rest is still long enough.
  while (samples_.size() > 2 && now - samples_[1].first >= rate_over && done - samples_[1].second >= rate_of) samples_.pop_front();
  if (samples_.size() <= most_samples) return;
  std::deque<std::pair<Instant, long long>> thinner;   // a long run with few ends: every second one is enough
  for (std::size_t i = 0; i < samples_.size(); i += 2) thinner.push_back(samples_[i]);
  samples_ = std::move(thinner);
}

double RateMeter::per_second(Instant now, long long done) const {
  if (samples_.empty()) return 0;
  const double span = in_seconds(now - samples_.front().first);
  return span < 1 ? 0 : static_cast<double>(done - samples_.front().second) / span;
}

ProgressSink::ProgressSink(std::ostream& err, StreamFacts facts, const Clock& clock, Verbosity verbosity)
    : err_(err), facts_(facts), clock_(clock), verbosity_(verbosity) {}

ProgressSink::~ProgressSink() { finish(); }

void ProgressSink::begin(const Event& event, Instant now) {
  title_ = one_line(event.message, 60);
  total_ = static_cast<long long>(event.total.value_or(0));
  started_ = done_ = 0;
  outcomes_.clear();
  for (const NodeOutcome outcome : all_node_outcomes) outcomes_.emplace_back(to_string(outcome), 0);
  oldest_.clear();
  share_of_.clear();
  rate_.restart(now);
  began_ = now;
  last_drawn_ = facts_.terminal ? now - redraw_every : now;
  running_ = true;
}

void ProgressSink::count(const std::string& outcome) {
  ++done_;
  for (auto& [word, number] : outcomes_) {
    if (word != outcome) continue;
    ++number;
    return;
  }
  outcomes_.emplace_back(outcome.empty() ? "ok" : outcome, 1);
}

// The common kinds come first and do little: a site has hundreds of thousands of events.
void ProgressSink::emit(const Event& event) {
  if (event.type == "node_started") {
    ++started_;
  } else if (event.type == "node_done") {
    count(event.outcome);
  } else if (event.type == "tick") {
    oldest_ = event.node;
    oldest_step_ = event.step;
    oldest_s_ = event.done.value_or(0);
  } else if (event.type == "progress" && event.node.empty()) {   // of the run itself, which no node counts
    done_ = static_cast<long long>(event.done.value_or(0));
  } else if (event.type == "progress") {
    if (started_ - done_ <= few) {
      share_of_ = event.node;
      step_share_.clear();
      if (event.done && event.total && *event.total > 0) step_share_ = fmt::format("{:.0f} %", 100 * *event.done / *event.total);
    }
  } else if (event.type == "finding") {
    say(event.node.empty() ? event.message : event.node + ": " + event.message);
  } else if (event.type == "message") {
    if (verbosity_ != Verbosity::quiet) say(event.message);
  } else if (event.type == "run_started") {
    begin(event, clock_.steady_now());
  } else if (event.type == "run_finished") {
    finish();
    running_ = false;
    return;
  }
  if (running_ && verbosity_ != Verbosity::quiet) draw(clock_.steady_now());
}

void ProgressSink::finish() {
  erase();
  err_.flush();
}

std::vector<ProgressSink::Part> ProgressSink::parts(Instant now) const {
  constexpr int always = 100;
  std::vector<Part> parts;
  const auto number = [](long long n) { return with_thousands(n); };
  parts.push_back({title_.empty() ? "working:" : title_ + ":", Style::plain, 3});
  parts.push_back({total_ > 0 ? fmt::format("{} of {}", number(done_), number(total_)) : number(done_), Style::strong, always});
  for (const auto& [word, count] : outcomes_)
    if (count > 0) parts.push_back({fmt::format("{} {}", word, number(count)), style_of(word), word == "ok" ? 6 : 7});
  const long long at_work = std::max(0LL, started_ - done_), left = total_ - done_;
  const double rate = rate_.per_second(now, done_);
  if (rate > 0) parts.push_back({rate_text(rate), Style::plain, 1});
  // A rate says when the end will be once as many are done as are at work; before, all may be equally slow.
  const bool known = rate > 0 && left > 0 && now - began_ >= earliest_forecast && done_ >= rate_of && done_ >= at_work;
  if (known) parts.push_back({brief_duration_s(static_cast<double>(left) / rate) + " left", Style::plain, 4});
  const bool named = at_work > 0 && at_work <= few && !oldest_.empty() && oldest_s_ >= worth_naming_s;
  if (at_work > 0 && !(named && at_work == 1)) parts.push_back({number(at_work) + " at work", Style::plain, 2});
  if (named) {
    std::string step = one_line(oldest_step_, 40);
    if (share_of_ == oldest_ && !step_share_.empty()) step += " " + step_share_;
    parts.push_back({fmt::format("waiting for {}: {} {}", one_line(oldest_, 60), step, brief_duration_s(oldest_s_)), Style::plain, 5});
  }
  return parts;
}

std::string ProgressSink::line(Instant now, std::size_t width) const {
  const std::string_view gap = facts_.unicode ? " · " : ", ";
  const std::size_t gap_width = display_width(gap);
  std::vector<Part> shown = parts(now);
  const auto gap_after = [&](std::size_t i) { return shown[i].text.ends_with(':'); };   // the title has a blank only
  const auto total = [&] {
    std::size_t columns = 0;
    for (std::size_t i = 0; i < shown.size(); ++i)
      columns += display_width(shown[i].text) + (i == 0 ? 0 : gap_after(i - 1) ? 1 : gap_width);
    return columns;
  };
  while (width > 0 && shown.size() > 1 && total() > width) {
    const auto least = std::min_element(shown.begin(), shown.end(), [](const Part& a, const Part& b) { return a.worth < b.worth; });
    shown.erase(least);
  }
  if (width > 0 && total() > width) return fit(shown.front().text, width);
  std::string line;
  for (std::size_t i = 0; i < shown.size(); ++i) {
    if (i > 0) line += gap_after(i - 1) ? " " : gap;
    line += paint(facts_, shown[i].style, shown[i].text);
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

void ProgressSink::draw(Instant now) {
  rate_.sample(now, done_);
  if (now - last_drawn_ < (facts_.terminal ? std::chrono::steady_clock::duration(redraw_every) : line_every)) {
    if (!facts_.terminal || drawn_) return;
  }
  last_drawn_ = now;
  if (facts_.terminal) {
    const std::size_t width = facts_.width.value_or(80);
    err_ << clear_line << line(now, width > 1 ? width - 1 : 1);
    drawn_ = true;
  } else {
    err_ << line(now, 0) << '\n';
  }
  err_.flush();
}

}  // namespace kfab::term

#include "fleet/pace.hpp"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "base/codes/agent.hpp"
#include "base/result.hpp"
#include "base/text.hpp"

namespace kfab::fleet {
namespace {

constexpr std::array<std::pair<Ramp, std::string_view>, 3> ramp_words{
    {{Ramp::doubling, "double"}, {Ramp::same, "same"}, {Ramp::rest, "rest"}}};

std::string nodes_text(std::size_t count) { return plural(static_cast<long long>(count), "node"); }
std::string number(std::size_t count) { return with_thousands(static_cast<long long>(count)); }

// "3", or "2 %, which is 3": a percentage is never shown without the number that it came to.
std::string limit_text(const Share& share, std::size_t allowed) {
  return share.percent ? fmt::format("{}, which is {}", to_string(share), number(allowed)) : number(allowed);
}

}  // namespace

std::string_view to_string(Ramp ramp) {
  for (const auto& [known, word] : ramp_words)
    if (known == ramp) return word;
  return "?";
}

std::optional<Ramp> parse_ramp(std::string_view word) {
  for (const auto& [known, name] : ramp_words)
    if (name == word) return known;
  return std::nullopt;
}

std::vector<std::size_t> batch_sizes(const PaceOptions& options, std::size_t nodes) {
  if (!options.in_batches()) return {nodes};
  const Ramp ramp = options.ramp.value_or(options.batch ? Ramp::same : Ramp::doubling);
  std::vector<std::size_t> sizes;
  std::size_t left = nodes;
  const auto take = [&](std::size_t wanted) {
    sizes.push_back(std::min(std::max<std::size_t>(wanted, 1), left));
    left -= sizes.back();
  };
  const std::size_t canary = options.canary.value_or(0);
  if (canary > 0 && left > 0) take(canary);
  const bool grows_from_canary = canary > 0 && !options.batch;
  std::size_t next = options.batch ? options.batch->of(nodes) : canary;
  if (grows_from_canary && ramp == Ramp::doubling) next *= 2;
  for (next = std::max<std::size_t>(next, 1); left > 0; next = ramp == Ramp::doubling ? next * 2 : next) {
    const bool rest = ramp == Ramp::rest && !sizes.empty();
    take(rest ? left : next);
  }
  if (sizes.empty()) sizes.push_back(0);
  return sizes;
}

Pace::Pace(std::vector<std::string> racks, PaceOptions options)
    : options_(options), was_started_(racks.size(), false) {
  std::unordered_map<std::string_view, std::size_t> known;   // keys live in `racks`
  for (const std::string& name : racks) {
    if (name.empty()) continue;
    const auto [at, fresh] = known.emplace(name, racks_.size());
    if (fresh) racks_.push_back({.name = name});
    ++racks_[at->second].nodes;
  }
  if (options_.max_fail_per_rack)
    for (Rack& rack : racks_) rack.allowed = options_.max_fail_per_rack->of(rack.nodes);
  const std::size_t nowhere = racks_.size();
  racks_.push_back({});
  rack_of_.reserve(racks.size());
  for (const std::string& name : racks) rack_of_.push_back(name.empty() ? nowhere : known.at(name));
  if (options_.max_fail) allowed_ = options_.max_fail->of(nodes());
  batches_ = batch_sizes(options_, nodes());
  open_next_batch();
}

void Pace::open_next_batch() {
  batch_started_ = batch_ended_ = batch_failures_ = 0;
  const std::size_t size = batches_[batch_];
  const bool canary = batch_ == 0 && options_.canary.value_or(0) > 0;
  if (options_.max_fail_per_batch) batch_allowed_ = options_.max_fail_per_batch->of(size);
  else batch_allowed_ = canary && !options_.max_fail ? 0 : size / 2;
}

Pace::Answer Pace::ask(std::size_t node) const {
  if (stopped() || !racks_[rack_of_[node]].closed_by.empty()) return Answer::never;
  return batch_started_ < batches_[batch_] ? Answer::start : Answer::wait;
}

void Pace::started(std::size_t node) {
  was_started_[node] = true;
  ++batch_started_;
}

void Pace::ended(std::size_t node, bool ok) {
  ++ended_;
  ++batch_ended_;
  if (!ok) {
    Rack& rack = racks_[rack_of_[node]];
    ++failures_;
    ++batch_failures_;
    ++rack.failures;
    judge_rack(rack);
    judge_run();
    judge_batch();
  }
  const bool whole = batch_started_ == batches_[batch_] && batch_ended_ == batch_started_;
  if (!stopped() && whole && batch_ + 1 < batches_.size()) {
    ++batch_;
    open_next_batch();
  }
}

void Pace::judge_rack(Rack& rack) {
  if (!rack.allowed || rack.failures <= *rack.allowed || !rack.closed_by.empty()) return;
  rack.closed_by = fmt::format("{} of {} in rack {} failed, and --max-fail-per-rack allows {}", number(rack.failures),
                               nodes_text(rack.nodes), one_line(rack.name, 80), limit_text(*options_.max_fail_per_rack, *rack.allowed));
}

void Pace::judge_run() {
  if (!allowed_ || failures_ <= *allowed_ || stopped()) return;
  stopped_by_ = fmt::format("{} of {} failed, and --max-fail allows {}", number(failures_), nodes_text(nodes()),
                            limit_text(*options_.max_fail, *allowed_));
}

void Pace::judge_batch() {
  const std::size_t size = batches_[batch_];
  const bool batches = options_.in_batches() || options_.max_fail_per_batch;
  if (!batches || batch_failures_ <= batch_allowed_ || stopped()) return;
  if (options_.max_fail_per_batch)
    stopped_by_ = fmt::format("{} of {} in batch {} failed, and --max-fail-per-batch allows {}", number(batch_failures_), nodes_text(size),
                              number(batch_ + 1), limit_text(*options_.max_fail_per_batch, batch_allowed_));
  else if (batch_ == 0 && options_.canary.value_or(0) > 0)
    stopped_by_ = size == 1 ? "the node that went first (--canary) failed"
                            : fmt::format("{} of the {} that went first (--canary) failed", number(batch_failures_), nodes_text(size));
  else
    stopped_by_ = fmt::format("{} of {} in batch {} failed, which is more than half", number(batch_failures_), nodes_text(size),
                              number(batch_ + 1));
}

const std::string& Pace::why_not(std::size_t node) const {
  static const std::string none;
  if (was_started_[node]) return none;
  const std::string& rack = racks_[rack_of_[node]].closed_by;
  return rack.empty() ? stopped_by_ : rack;
}

Diagnostic held_back(const std::string& node, std::string_view why) {
  Diagnostic diagnostic = error(code::fleet_budget_used_up, fmt::format("{}: not started: {}", one_line(node), why));
  diagnostic.node = node;
  return diagnostic;
}

}  // namespace kfab::fleet

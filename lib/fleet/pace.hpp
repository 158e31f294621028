#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/diagnostic.hpp"
#include "base/share.hpp"

namespace kfab::fleet {

// What follows the first batch: each batch twice as large as the one before, all of the same size, or all that is left.
enum class Ramp : std::uint8_t { doubling, same, rest };
std::string_view to_string(Ramp);
std::optional<Ramp> parse_ramp(std::string_view word);   // "double", "same", "rest"

// How a run goes from node to node, and when it stops. Everything absent: all nodes at once, and nothing stops it.
struct PaceOptions {
  std::optional<std::size_t> canary{};       // nodes of a first batch of its own; absent or 0: none
  std::optional<Share> batch{};              // nodes of a batch, at least 1; a percentage is of all nodes
  std::optional<Ramp> ramp{};                // absent: `same` with `batch`, else `doubling`
  std::optional<Share> max_fail{};           // nodes that may fail in the whole run; a percentage is of all nodes
  std::optional<Share> max_fail_per_batch{}; // likewise in one batch, of its nodes
  std::optional<Share> max_fail_per_rack{};  // likewise in one rack, of its selected nodes
  bool in_batches() const { return canary.value_or(0) > 0 || batch || ramp; }
};

// The sizes of the batches in which `nodes` nodes go, in order; one of all of them without batches.
std::vector<std::size_t> batch_sizes(const PaceOptions&, std::size_t nodes);

// Says which node may start now and what was used up. Pure: it knows no time, no nodes but by their index, and is told
// of every start and every end. A failure is whatever is not ok: failed, timed_out, refused and unreachable count alike.
//
// A batch consists of the nodes that are started while it is open, in whatever order the caller chooses; the next one
// opens when all of them have ended. Within a batch nothing waits for anything. Budgets are held at every end:
//   the run     more failures than max_fail: nothing more is started
//   a batch     more than max_fail_per_batch; without it, in batches only: any failure of the canary when there is no
//               max_fail, else more than half of a batch: nothing more is started
//   a rack      more than max_fail_per_rack: its other nodes are not started, the other racks go on
class Pace {
 public:
  Pace(std::vector<std::string> racks, PaceOptions options);   // the rack of each node; empty: of no rack
  enum class Answer : std::uint8_t { start, wait, never };

  Answer ask(std::size_t node) const;      // never: a budget was used up, and that is final
  void started(std::size_t node);
  void ended(std::size_t node, bool ok);
  bool stopped() const { return !stopped_by_.empty(); }   // nothing at all is started any more

  // Why `node` was not started, as a half sentence: "4 nodes of 128 failed, and --max-fail allows 3". Empty when no
  // budget is the reason.
  const std::string& why_not(std::size_t node) const;
  std::size_t nodes() const { return rack_of_.size(); }
  std::size_t failures() const { return failures_; }
  std::size_t ended_count() const { return ended_; }

 private:
  struct Rack {
    std::string name;
    std::size_t nodes = 0, failures = 0;
    std::optional<std::size_t> allowed{};
    std::string closed_by{};
  };
  void open_next_batch();
  void judge_run();
  void judge_batch();
  void judge_rack(Rack&);

  PaceOptions options_;
  std::vector<std::size_t> rack_of_;       // into racks_; the last of them has no name and no budget
  std::vector<Rack> racks_;
  std::vector<std::size_t> batches_;       // sizes
  std::vector<bool> was_started_;
  std::optional<std::size_t> allowed_{};   // failures of the run
  std::size_t batch_ = 0;                  // which one is open
  std::size_t batch_started_ = 0, batch_ended_ = 0, batch_failures_ = 0, batch_allowed_ = 0;
  std::size_t ended_ = 0, failures_ = 0;
  std::string stopped_by_;
};

// The diagnostic of a node that was not started because a budget was used up: fleet_budget_used_up.
Diagnostic held_back(const std::string& node, std::string_view why);

}  // namespace kfab::fleet

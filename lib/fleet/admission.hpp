#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "ssh/transport.hpp"

namespace kfab::fleet {

// How many nodes may be at work at the same time, as it turns out. Pure: it does nothing, and is told the time, every
// step of every node and every hang-up.
//
//   the window    starts at `first_window` and grows by one with every login, to `most`: within a few round trips it is
//                 as large as it may be, and a mistake in the manifest has not reached thousands by then
//   the slow lane a node that is not logged in after `slow_after` leaves the window, so that the dead do not hold the
//                 places of the living; at most as many as the window allows may be there, above that they count again
//   a group       nodes that share an sshd or a jump host: no more than its limit may be on their way to a login. It
//                 starts where OpenSSH's MaxStartups begins to drop connections, grows with logins, and is halved when
//                 the server hangs up (additive increase, multiplicative decrease, as in TCP)
class Admission {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::size_t first_window = 32;
  static constexpr std::chrono::milliseconds slow_after{1000};
  static constexpr double first_group_limit = 10;                    // MaxStartups 10:30:100 of sshd_config(5)
  static constexpr std::chrono::milliseconds one_halving_per{250};   // drops that come together are one sign

  Admission(const std::vector<ssh::Target>&, std::size_t most);

  // To be called before the others whenever time has passed: moves nodes into the slow lane.
  void look(Time now);
  bool room() const;                       // for any node at all
  bool may_start(std::size_t node) const;  // room, and its groups have some as well
  void started(std::size_t node);
  void entered(std::size_t node, ssh::Phase);
  void hung_up(std::size_t node);
  void ended(std::size_t node);

  std::size_t window() const { return static_cast<std::size_t>(window_); }
  std::size_t at_work() const { return at_work_; }    // of them in the slow lane:
  std::size_t slow() const { return slow_; }
  double group_limit(std::size_t node) const;         // the smallest of its groups; infinite when it is in none

 private:
  enum class Stage : std::uint8_t { idle, entering, logged_in };
  struct Node {
    Stage stage = Stage::idle;
    bool slow = false;
    bool local = false;                    // nobody to log in to
    Time since{};                          // of entering
    std::uint32_t groups[2] = {0, 0};      // into groups_; 0 is none
  };
  struct Group {
    double limit = first_group_limit;
    std::size_t entering = 0;
    bool halved = false;                   // growth is careful from then on
    Time halved_at{};
  };
  void leave_slow_lane(Node&);

  std::size_t most_;
  double window_;
  Time now_{};
  std::size_t at_work_ = 0, slow_ = 0;
  std::vector<Node> nodes_;
  std::vector<Group> groups_;
  std::vector<std::size_t> entering_;      // nodes on their way to a login, the oldest first; with some that are not any more
};

}  // namespace kfab::fleet

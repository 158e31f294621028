#pragma once

#include <string>

#include "fleet/simulator/faults.hpp"
#include "fleet/simulator/loop.hpp"

namespace kfab::sim {

// Does `action` to a connection that nobody will speak on any more and keeps it until the peer leaves. With reset and
// hang_up the descriptor is closed and -1 returned, else it is handed back.
int act(Action, int fd);

// A node that never gets as far as SSH: what it says, and what it does then, by sockets alone.
class RawNode final : public Loop::Member {
 public:
  RawNode(Loop&, int fd, const Fault&, Stats&);
  ~RawNode() override;
  void start() override;
  void on_ready(unsigned which, std::uint32_t events) override;
  void on_time() override;

 private:
  void say();
  void over();

  Loop& loop_;
  const Seat seat_;
  int fd_;
  std::string text_;                       // said in pieces of piece_, then done_
  std::size_t at_ = 0, piece_ = 0;         // piece_ 0: at once
  std::chrono::milliseconds every_{0};
  std::size_t again_from_ = 0;             // with for_ever_
  bool for_ever_ = false, echo_ = false, done_ = false;
  Action then_ = Action::stall;
};

}  // namespace kfab::sim

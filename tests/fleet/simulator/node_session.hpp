#pragma once

#include <libssh/libssh.h>
#include <libssh/server.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fleet/simulator/faults.hpp"
#include "fleet/simulator/forward.hpp"
#include "fleet/simulator/loop.hpp"

namespace kfab::sim {

// What all sessions of a simulator share.
struct ServerOptions {
  std::string authorized_key{};   // "ssh-ed25519 AAAA..."; empty: every key is let in
  std::string output{};           // of a healthy node's commands
  int exit_status = 0;            // and how they end
};

// One connection of a node that speaks SSH, by libssh, without blocking: what the client asks is answered when it
// comes, and at the fault's point something else is done instead.
class NodeSession final : public Loop::Member {
 public:
  NodeSession(Loop&, int fd, ssh_bind, const Fault&, const ServerOptions&, Stats&);
  ~NodeSession() override;
  // Called once when somebody is logged in, or when it ends without.
  void when_settled(std::function<void()> call) { settled_ = std::move(call); }
  void start() override;
  void on_ready(unsigned which, std::uint32_t events) override;
  void on_time() override { serve(); }

 private:
  struct Exec;      // one channel
  enum class Stage { kex, serving, held, gone };

  void serve();
  bool answer(ssh_message);                // true: the request is kept for a later answer
  void answer_auth(ssh_message);
  bool answer_channel_open(ssh_message);
  void answer_channel_request(ssh_message);
  bool authorized(ssh_message) const;
  bool acts_at(Point);
  void act_now(Action);
  void flush();
  void pump(Exec&);
  void read_input(Exec&);
  bool send_output(Exec&);
  void finish(Exec&);
  void arm();
  void over();
  void settle();

  Loop& loop_;
  int fd_;
  ssh_session session_ = nullptr;
  const Fault fault_;
  const ServerOptions& options_;
  Stats& stats_;
  const Seat seat_;
  Stage stage_ = Stage::kex;
  std::uint32_t armed_ = 0;
  bool partly_in_ = false;
  std::function<void()> settled_{};
  std::vector<std::unique_ptr<Exec>> execs_;
  std::vector<std::unique_ptr<Forward>> forwards_;   // null when over
};

}  // namespace kfab::sim

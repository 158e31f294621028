#pragma once

#include <libssh/libssh.h>
#include <libssh/server.h>

#include <cstdint>
#include <string>

#include "fleet/simulator/loop.hpp"

namespace kfab::sim {

// A connection through a node to another one (direct-tcpip), as a jump host makes it. Belongs to a session, which tells
// it when its own socket or this one's had something to say.
class Forward {
 public:
  // Takes the request for itself and connects to the address in it, which must be one of 127.0.0.0/8. The session is
  // told about the socket as its number `which`.
  Forward(Loop&, Loop::Member& session, unsigned which, ssh_session, ssh_message request);
  ~Forward();
  Forward(const Forward&) = delete;
  Forward& operator=(const Forward&) = delete;

  void pump();
  bool over() const { return stage_ == Stage::over; }

 private:
  enum class Stage { connecting, open, over };
  void connected();
  void to_node();
  void from_node();
  void arm();
  void end();

  Loop& loop_;
  Loop::Member& owner_;
  unsigned which_;
  ssh_session session_;
  ssh_message request_;
  ssh_channel channel_ = nullptr;
  int fd_ = -1;
  Stage stage_ = Stage::connecting;
  std::string waiting_;            // for the node's socket
  bool node_ended_ = false, client_ended_ = false, starved_ = false;   // starved: the channel takes nothing now
  std::uint32_t armed_ = 0;
};

}  // namespace kfab::sim

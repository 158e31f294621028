#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ssh/session.hpp"

namespace kfab::ssh {

// A key that ssh-agent holds.
struct AgentKey {
  std::string blob;      // the public key
  std::string comment;
};

// A conversation with ssh-agent (draft-miller-ssh-agent) that never blocks: each request is repeated until it is not
// `again`, with waits for fd() in between. One request at a time.
class AgentClient {
 public:
  explicit AgentClient(std::string socket_path) : path_(std::move(socket_path)) {}
  ~AgentClient();
  AgentClient(const AgentClient&) = delete;
  AgentClient& operator=(const AgentClient&) = delete;

  Step list(std::vector<AgentKey>& keys);
  // The inner signature blob (session.hpp) of `data` by the key.
  Step sign(std::string_view blob, std::string_view data, std::string& signature);

  int fd() const { return fd_; }              // -1: not connected, try again soon
  bool wants_write() const { return !out_.empty(); }
  const std::string& why() const { return why_; }   // after `failed`

 private:
  Step connect();
  Step exchange(std::string_view request, std::uint8_t expected, std::string& reply);
  Step fail(std::string why);

  std::string path_;
  int fd_ = -1;
  bool asked_ = false;
  std::string out_, in_, why_;
};

}  // namespace kfab::ssh

#pragma once

#include <sys/socket.h>

#include <memory>
#include <string>
#include <vector>

namespace kfab::ssh {

// Where a name leads to.
struct Endpoint {
  sockaddr_storage address{};
  socklen_t size = 0;
};

// One question to the name service, which may take its time: it is asked by one of at most 16 helper threads. An IP
// address is answered at once. The asker may leave; the answer then goes nowhere.
class Lookup {
 public:
  static std::shared_ptr<Lookup> start(const std::string& host, unsigned port);
  ~Lookup();
  Lookup(const Lookup&) = delete;
  Lookup& operator=(const Lookup&) = delete;

  bool done() const;
  int fd() const { return fd_; }   // readable when done; -1: already done, or ask again soon
  // After done(). Empty with `why` set when there is no answer.
  const std::vector<Endpoint>& endpoints() const { return endpoints_; }
  const std::string& why() const { return why_; }

 private:
  Lookup() = default;
  void answer(const std::string& host, unsigned port, bool numeric_only);
  struct State;
  int fd_ = -1;
  std::unique_ptr<State> state_;
  std::vector<Endpoint> endpoints_;
  std::string why_;
};

}  // namespace kfab::ssh

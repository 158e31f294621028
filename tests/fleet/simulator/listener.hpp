#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>

#include "fleet/simulator/host_keys.hpp"
#include "fleet/simulator/loop.hpp"
#include "fleet/simulator/node_session.hpp"
#include "fleet/simulator/script.hpp"

namespace kfab::sim {

// A number for each address of a script that counts, over all threads.
class Counter {
 public:
  std::uint64_t next(std::uint32_t address) {   // what it was before
    const std::lock_guard lock(mutex_);
    return counts_[address]++;
  }
  void back(std::uint32_t address) {
    const std::lock_guard lock(mutex_);
    --counts_[address];
  }

 private:
  std::mutex mutex_;
  std::map<std::uint32_t, std::uint64_t> counts_;
};

struct Site {
  Script script;
  HostKeyRing host_keys{"", true};
  ServerOptions server;
  Stats stats;
  Counter calls;        // connections that came
  Counter logging_in;   // connections that are not logged in yet, of crowded nodes
};

// One thread's listening socket for all addresses: takes a connection and gives it to whoever plays the address.
class Listener final : public Loop::Member {
 public:
  Listener(Loop&, Site&, int fd);
  ~Listener() override;
  void start() override;
  void on_ready(unsigned which, std::uint32_t events) override;

 private:
  void serve(int fd);
  void begin_session(int fd, std::uint32_t address, const Fault&);
  ssh_bind server_for(std::uint32_t address, const Fault&, bool& shared);

  Loop& loop_;
  Site& site_;
  int fd_;
  ssh_bind common_;   // of all nodes that share a key
};

// A socket on each of these addresses whose queue is full, so that the kernel drops every further SYN.
void dig_black_holes(const std::vector<std::uint32_t>& addresses, std::uint16_t port);

}  // namespace kfab::sim

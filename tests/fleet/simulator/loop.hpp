#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <queue>
#include <unordered_map>
#include <vector>

namespace kfab::sim {

using SteadyClock = std::chrono::steady_clock;
using Time = SteadyClock::time_point;

// How many connections there are and were, over all threads.
struct Stats {
  std::atomic<std::uint64_t> accepted{0}, logins{0}, commands{0};
  std::atomic<std::int64_t> open{0}, most_open{0};
};

// A connection, counted as long as it is there.
class Seat {
 public:
  explicit Seat(Stats& stats) : stats_(stats) {
    const auto open = ++stats_.open;
    auto most = stats_.most_open.load();
    while (most < open && !stats_.most_open.compare_exchange_weak(most, open)) {}
  }
  ~Seat() { --stats_.open; }
  Seat(const Seat&) = delete;
  Seat& operator=(const Seat&) = delete;

 private:
  Stats& stats_;
};

// One thread's sockets and timers: epoll, level-triggered. A member is a connection; it is destroyed after it said
// retire(), at the end of the round. Everything but stop() belongs to the thread that calls run().
class Loop {
 public:
  class Member {
   public:
    virtual ~Member() = default;
    virtual void start() {}
    // `which` is what watch() was told; `events` are epoll's.
    virtual void on_ready(unsigned which, std::uint32_t events) = 0;
    virtual void on_time() {}
   private:
    friend class Loop;
    std::uint64_t id_ = 0;
  };

  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  void adopt(std::unique_ptr<Member>);   // and starts it
  void retire(Member&);
  // `which`, below 65536, tells a member's sockets apart. Closing the descriptor ends the watch; one that has a copy
  // must be forgotten before.
  void watch(Member&, int fd, unsigned which, std::uint32_t events);
  void change(Member&, int fd, unsigned which, std::uint32_t events);
  void forget(int fd);
  void wake_at(Member&, Time);   // on_time() then; nothing takes it back, so members look at their own clocks

  void run();
  void stop();   // from any thread
  std::size_t members() const { return members_.size(); }

 private:
  void ring_timers();
  int wait_ms() const;

  struct Alarm {
    Time when;
    std::uint64_t member;
    bool operator>(const Alarm& other) const { return when > other.when; }
  };
  int epoll_ = -1, stop_fd_ = -1;
  std::uint64_t last_id_ = 0;
  std::unordered_map<std::uint64_t, std::unique_ptr<Member>> members_;
  std::priority_queue<Alarm, std::vector<Alarm>, std::greater<>> alarms_;
  std::vector<std::uint64_t> retired_;
};

}  // namespace kfab::sim

#include "fleet/simulator/loop.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

namespace kfab::sim {
namespace {

constexpr std::uint64_t stop_token = 0;
constexpr unsigned which_bits = 16;

void control(int epoll, int how, int fd, std::uint64_t token, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = token;
  ::epoll_ctl(epoll, how, fd, &event);
}

}  // namespace

Loop::Loop() : epoll_(::epoll_create1(EPOLL_CLOEXEC)), stop_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (epoll_ < 0 || stop_fd_ < 0) {
    std::perror("epoll");
    std::exit(1);
  }
  control(epoll_, EPOLL_CTL_ADD, stop_fd_, stop_token, EPOLLIN);
}

Loop::~Loop() {
  members_.clear();
  ::close(epoll_);
  ::close(stop_fd_);
}

void Loop::adopt(std::unique_ptr<Member> member) {
  Member& kept = *member;
  kept.id_ = ++last_id_;
  members_.emplace(kept.id_, std::move(member));
  kept.start();
}

void Loop::retire(Member& member) { retired_.push_back(member.id_); }

void Loop::watch(Member& member, int fd, unsigned which, std::uint32_t events) {
  control(epoll_, EPOLL_CTL_ADD, fd, member.id_ << which_bits | which, events);
}
void Loop::change(Member& member, int fd, unsigned which, std::uint32_t events) {
  control(epoll_, EPOLL_CTL_MOD, fd, member.id_ << which_bits | which, events);
}
void Loop::forget(int fd) { control(epoll_, EPOLL_CTL_DEL, fd, 0, 0); }
void Loop::wake_at(Member& member, Time when) { alarms_.push({when, member.id_}); }

void Loop::ring_timers() {
  const Time now = SteadyClock::now();
  while (!alarms_.empty() && alarms_.top().when <= now) {
    const std::uint64_t id = alarms_.top().member;
    alarms_.pop();
    if (const auto found = members_.find(id); found != members_.end()) found->second->on_time();
  }
}

int Loop::wait_ms() const {
  if (alarms_.empty()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(alarms_.top().when - SteadyClock::now());
  return static_cast<int>(std::clamp<std::chrono::milliseconds::rep>(left.count(), 0, 60'000));
}

void Loop::run() {
  std::array<epoll_event, 256> events{};
  for (;;) {
    const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), wait_ms());
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      if (event.data.u64 == stop_token) return;
      const auto found = members_.find(event.data.u64 >> which_bits);
      if (found != members_.end()) found->second->on_ready(static_cast<unsigned>(event.data.u64 & ((1U << which_bits) - 1)), event.events);
    }
    ring_timers();
    for (const std::uint64_t id : retired_) members_.erase(id);
    retired_.clear();
  }
}

void Loop::stop() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(stop_fd_, &one, sizeof one);
}

}  // namespace kfab::sim

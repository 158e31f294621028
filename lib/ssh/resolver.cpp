#include "ssh/resolver.hpp"

#include <netdb.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <system_error>
#include <thread>

namespace kfab::ssh {
namespace {

// Threads that may block for as long as a name server is silent. They are never joined: leaving kfab must not wait
// for them, so everything that they touch is shared with them.
class HelperThreads {
 public:
  static constexpr int most = 16;

  static void submit(std::function<void()> job) {
    static const auto pool = std::make_shared<HelperThreads>();
    bool start = false;
    {
      const std::lock_guard lock(pool->mutex_);
      pool->jobs_.push_back(std::move(job));
      start = pool->threads_ < most && pool->threads_ < static_cast<int>(pool->jobs_.size()) + pool->busy_;
      if (start) ++pool->threads_;
    }
    if (!start) return;
    try {
      std::thread([shared = pool] { shared->work(); }).detach();
    } catch (const std::system_error&) {   // no more threads: those that run go on; if none does, the deadline says so
      const std::lock_guard lock(pool->mutex_);
      --pool->threads_;
    }
  }

 private:
  void work() {
    for (;;) {
      std::function<void()> job;
      {
        const std::lock_guard lock(mutex_);
        if (jobs_.empty()) {
          --threads_;
          return;
        }
        job = std::move(jobs_.front());
        jobs_.pop_front();
        ++busy_;
      }
      job();
      const std::lock_guard lock(mutex_);
      --busy_;
    }
  }

  std::mutex mutex_;
  std::deque<std::function<void()>> jobs_;
  int threads_ = 0, busy_ = 0;
};

}  // namespace

struct Lookup::State {
  std::atomic<bool> done{false};
};

Lookup::~Lookup() {
  if (fd_ >= 0) ::close(fd_);
}

bool Lookup::done() const { return state_->done.load(std::memory_order_acquire); }

void Lookup::answer(const std::string& host, unsigned port, bool numeric_only) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (numeric_only ? AI_NUMERICHOST : AI_ADDRCONFIG);
  addrinfo* list = nullptr;
  const int failed = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
  if (failed != 0) {
    why_ = ::gai_strerror(failed);
    return;
  }
  why_.clear();
  for (const addrinfo* one = list; one != nullptr; one = one->ai_next) {
    Endpoint endpoint;
    if (one->ai_addrlen > sizeof endpoint.address) continue;
    std::memcpy(&endpoint.address, one->ai_addr, one->ai_addrlen);
    endpoint.size = one->ai_addrlen;
    endpoints_.push_back(endpoint);
  }
  ::freeaddrinfo(list);
}

std::shared_ptr<Lookup> Lookup::start(const std::string& host, unsigned port) {
  std::shared_ptr<Lookup> lookup(new Lookup);
  lookup->state_ = std::make_unique<State>();
  lookup->answer(host, port, true);
  if (!lookup->endpoints_.empty()) {
    lookup->state_->done = true;
    return lookup;
  }
  lookup->fd_ = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  HelperThreads::submit([lookup, host, port] {
    lookup->answer(host, port, false);
    lookup->state_->done.store(true, std::memory_order_release);
    const std::uint64_t one = 1;
    if (lookup->fd_ >= 0) (void)!::write(lookup->fd_, &one, sizeof one);
  });
  return lookup;
}

}  // namespace kfab::ssh

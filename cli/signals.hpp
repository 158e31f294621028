#pragma once

#include <atomic>
#include <thread>

#include "base/cancel.hpp"

namespace kfab::cli {

// Makes writes to a closed pipe an error instead of the end of the process.
void ignore_broken_pipes();

// While it lives, SIGINT, SIGTERM and SIGHUP are blocked in this thread and in all that it starts, and one thread
// waits for them. The first raises the token and says so at once on stderr; the second raises it again, and a process
// that has not ended a second later is ended with 128 + the signal. SIGHUP counts as SIGTERM.
class SignalWatch {
 public:
  explicit SignalWatch(CancelToken&);
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

 private:
  void watch();
  CancelToken& token_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace kfab::cli

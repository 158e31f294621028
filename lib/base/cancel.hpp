#pragma once

#include <atomic>

namespace kfab {

// How a person says stop. The signal thread writes it, everybody else reads it: 0 go on, 1 start nothing new and wind
// down, 2 leave at once. Only ever rises.
class CancelToken {
 public:
  void raise(int signal) {
    signal_.store(signal, std::memory_order_relaxed);
    level_.fetch_add(1, std::memory_order_release);
  }
  int level() const { return level_.load(std::memory_order_acquire); }
  bool requested() const { return level() > 0; }
  int signal() const { return signal_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int> level_{0};
  std::atomic<int> signal_{0};
};

}  // namespace kfab

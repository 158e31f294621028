#pragma once

#include <cstddef>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <variant>

namespace kfab::ssh {

// What waits to be written to a command's standard input: one thread puts in, another takes out. The front keeps its
// address until it was consumed whole, because libssh2 wants the same pointer again after EAGAIN.
class InputQueue {
 public:
  static constexpr std::size_t max_owned_bytes = std::size_t{4} << 20;

  bool push(std::string bytes) {
    const std::lock_guard lock(mutex_);
    if (closed_ || owned_bytes_ > max_owned_bytes) return false;
    if (bytes.empty()) return true;
    if (discarding_) return true;
    owned_bytes_ += bytes.size();
    items_.emplace_back(std::move(bytes));
    return true;
  }
  bool push_view(std::string_view bytes) {
    const std::lock_guard lock(mutex_);
    if (closed_) return false;
    if (!bytes.empty() && !discarding_) items_.emplace_back(bytes);
    return true;
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  // Nobody reads it any more: what waits is dropped, what comes is taken and dropped.
  void discard() {
    const std::lock_guard lock(mutex_);
    discarding_ = true;
    items_.clear();
    owned_bytes_ = 0;
    offset_ = 0;
  }

  bool empty() const {
    const std::lock_guard lock(mutex_);
    return items_.empty();
  }
  bool closed() const {
    const std::lock_guard lock(mutex_);
    return closed_;
  }
  std::string_view front() const {
    const std::lock_guard lock(mutex_);
    const std::string_view whole = std::visit([](const auto& item) { return std::string_view(item); }, items_.front());
    return whole.substr(offset_);
  }
  void consume(std::size_t count) {
    const std::lock_guard lock(mutex_);
    offset_ += count;
    if (offset_ < front_size()) return;
    if (const auto* owned = std::get_if<std::string>(&items_.front())) owned_bytes_ -= owned->size();
    items_.pop_front();
    offset_ = 0;
  }

 private:
  std::size_t front_size() const {
    return std::visit([](const auto& item) { return item.size(); }, items_.front());
  }

  mutable std::mutex mutex_;
  std::deque<std::variant<std::string, std::string_view>> items_;
  std::size_t offset_ = 0;
  std::size_t owned_bytes_ = 0;
  bool closed_ = false, discarding_ = false;
};

}  // namespace kfab::ssh

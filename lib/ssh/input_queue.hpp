#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <variant>

namespace kfab::ssh {

// What waits to be written to a command's standard input. The front keeps its address until it was consumed whole,
// because libssh2 wants the same pointer again after EAGAIN.
class InputQueue {
 public:
  static constexpr std::size_t max_owned_bytes = std::size_t{4} << 20;

  bool push(std::string bytes) {
    if (closed_ || owned_bytes_ > max_owned_bytes) return false;
    if (bytes.empty()) return true;
    owned_bytes_ += bytes.size();
    items_.emplace_back(std::move(bytes));
    return true;
  }
  bool push_view(std::string_view bytes) {
    if (closed_) return false;
    if (!bytes.empty()) items_.emplace_back(bytes);
    return true;
  }
  void close() { closed_ = true; }
  // Nobody reads it any more: what waits is dropped, what comes is taken and dropped.
  void discard() {
    items_.clear();
    owned_bytes_ = 0;
    offset_ = 0;
  }

  bool empty() const { return items_.empty(); }
  bool closed() const { return closed_; }
  std::string_view front() const {
    const std::string_view whole = std::visit([](const auto& item) { return std::string_view(item); }, items_.front());
    return whole.substr(offset_);
  }
  void consume(std::size_t count) {
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

  std::deque<std::variant<std::string, std::string_view>> items_;
  std::size_t offset_ = 0;
  std::size_t owned_bytes_ = 0;
  bool closed_ = false;
};

}  // namespace kfab::ssh

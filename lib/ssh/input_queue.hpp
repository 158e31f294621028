#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "ssh/transport.hpp"

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
  bool push_source(const ByteSource& source, std::uint64_t from, std::uint64_t count) {
    const std::lock_guard lock(mutex_);
    if (closed_) return false;
    if (count > 0 && !discarding_) items_.emplace_back(Sourced{&source, from, count, {}});
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
  // Empty when a source has failed, and only then.
  std::string_view front() {
    const std::lock_guard lock(mutex_);
    if (auto* sourced = std::get_if<Sourced>(&items_.front()); sourced != nullptr && sourced->chunk.empty()) {
      sourced->chunk.resize(static_cast<std::size_t>(std::min<std::uint64_t>(chunk_bytes, sourced->left)));
      if (!sourced->source->read(sourced->at, sourced->chunk.data(), sourced->chunk.size())) sourced->chunk.clear();
    }
    const std::string_view whole = std::visit([](const auto& item) { return std::string_view(item); }, items_.front());
    return whole.substr(offset_);
  }
  void consume(std::size_t count) {
    const std::lock_guard lock(mutex_);
    offset_ += count;
    if (offset_ < front_size()) return;
    if (auto* sourced = std::get_if<Sourced>(&items_.front()); sourced != nullptr && sourced->left > sourced->chunk.size()) {
      sourced->at += sourced->chunk.size();
      sourced->left -= sourced->chunk.size();
      sourced->chunk.clear();
      offset_ = 0;
      return;
    }
    if (const auto* owned = std::get_if<std::string>(&items_.front())) owned_bytes_ -= owned->size();
    items_.pop_front();
    offset_ = 0;
  }

 private:
  static constexpr std::size_t chunk_bytes = 64 * 1024;   // of a source that are in memory at a time
  struct Sourced {
    const ByteSource* source;
    std::uint64_t at, left;
    std::string chunk;
    operator std::string_view() const { return chunk; }
    std::size_t size() const { return chunk.size(); }
  };
  std::size_t front_size() const {
    return std::visit([](const auto& item) { return item.size(); }, items_.front());
  }

  mutable std::mutex mutex_;
  std::deque<std::variant<std::string, std::string_view, Sourced>> items_;
  std::size_t offset_ = 0;
  std::size_t owned_bytes_ = 0;
  bool closed_ = false, discarding_ = false;
};

}  // namespace kfab::ssh

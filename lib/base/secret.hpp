#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

namespace kfab {

// A password in memory: on pages of its own that are not swapped where the system allows it, not in a core dump, and
// overwritten before they are given back. It is written out by view(), never copied into a string.
class Secret {
 public:
  static constexpr std::size_t max_bytes = 1024;
  Secret();
  ~Secret();
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;

  // False, and nothing is taken, when there is no room or no memory for one more byte.
  bool append(char byte);
  void drop_last();   // of what was appended, if anything
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  // The bytes; valid, at the same address, for as long as this object or the one it was moved to.
  std::string_view view() const { return {bytes_, size_}; }

 private:
  void wipe();
  char* bytes_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace kfab

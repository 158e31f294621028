#include "base/secret.hpp"

#include <string.h>
#include <sys/mman.h>

#include <utility>

namespace kfab {

Secret::Secret() {
  void* pages = ::mmap(nullptr, max_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return;   // then it takes no byte
  (void)::mlock(pages, max_bytes);   // refused where RLIMIT_MEMLOCK is 0: still not in a core dump
  (void)::madvise(pages, max_bytes, MADV_DONTDUMP);
  bytes_ = static_cast<char*>(pages);
}

Secret::~Secret() { wipe(); }

Secret::Secret(Secret&& other) noexcept : bytes_(std::exchange(other.bytes_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    wipe();
    bytes_ = std::exchange(other.bytes_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

bool Secret::append(char byte) {
  if (bytes_ == nullptr || size_ == max_bytes) return false;
  bytes_[size_++] = byte;
  return true;
}

void Secret::drop_last() {
  if (size_ > 0) bytes_[--size_] = '\0';
}

void Secret::wipe() {
  if (bytes_ == nullptr) return;
  ::explicit_bzero(bytes_, max_bytes);
  ::munmap(bytes_, max_bytes);
  bytes_ = nullptr;
  size_ = 0;
}

}  // namespace kfab

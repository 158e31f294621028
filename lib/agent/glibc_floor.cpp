// libstdc++.a refers to arc4random, which glibc has only since 2.36, even where no random device is used. This one
// answers from getrandom(2), so that the agent starts on every node with glibc 2.34.
#include <sys/random.h>

#include <cstdint>

extern "C" std::uint32_t arc4random() noexcept;
extern "C" std::uint32_t arc4random() noexcept {
  std::uint32_t value = 0;
  while (::getrandom(&value, sizeof value, 0) != static_cast<ssize_t>(sizeof value)) {}
  return value;
}

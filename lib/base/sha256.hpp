#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace kfab {

// FIPS 180-4 SHA-256. Our own, because the agent may link nothing but libc and both sides must agree. Uses the processor's
// own instructions for it (SHA extensions of x86-64) where it has them.
class Sha256 {
 public:
  Sha256();
  void update(std::string_view bytes);
  std::string hex();   // the digest of all that was given; the object is used up

 private:
  void blocks(const unsigned char* bytes, std::size_t count);   // of 64 bytes
  std::array<std::uint32_t, 8> state_;
  std::array<unsigned char, 64> pending_{};
  std::size_t pending_size_ = 0;
  std::uint64_t total_bytes_ = 0;
};

std::string sha256_hex(std::string_view bytes);

// The two ways to the same state, for the test that holds them against each other: `count` blocks of 64 bytes are taken
// into `state`. The second says false, and does nothing, on a processor without the instructions.
namespace sha256_blocks {
void portable(std::array<std::uint32_t, 8>& state, const unsigned char* bytes, std::size_t count);
bool by_instructions(std::array<std::uint32_t, 8>& state, const unsigned char* bytes, std::size_t count);
}  // namespace sha256_blocks

}  // namespace kfab

#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace kfab {

// FIPS 180-4 SHA-256. Our own, because the agent may link nothing but libc and both sides must agree.
class Sha256 {
 public:
  Sha256();
  void update(std::string_view bytes);
  std::string hex();   // the digest of all that was given; the object is used up

 private:
  void block(const unsigned char* bytes);
  std::array<std::uint32_t, 8> state_;
  std::array<unsigned char, 64> pending_{};
  std::size_t pending_size_ = 0;
  std::uint64_t total_bytes_ = 0;
};

std::string sha256_hex(std::string_view bytes);

}  // namespace kfab

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace kfab::ssh {

// Base64 of RFC 4648 with padding, on one line.
std::string base64_encode(std::string_view bytes);
// Nothing when the text is no whole base64; blanks are not skipped.
std::optional<std::string> base64_decode(std::string_view text);

// HMAC-SHA-1 as 20 raw bytes. For the hashed host names of known_hosts only: nothing is secured by it here.
std::string hmac_sha1(std::string_view key, std::string_view message);

// "SHA256:..." as ssh-keygen -l prints it, of a public key blob.
std::string fingerprint(std::string_view key_blob);

// Reading SSH wire data (RFC 4251 section 5). Each returns nothing, and takes nothing, when too little is there.
class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : rest_(bytes) {}
  std::optional<std::uint32_t> u32();
  std::optional<std::uint8_t> u8();
  std::optional<std::string_view> string();
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};
void put_u32(std::string& out, std::uint32_t value);
void put_string(std::string& out, std::string_view bytes);

// "ssh-ed25519": the type that a public key blob begins with; empty when it is no blob.
std::string_view key_type(std::string_view key_blob);

}  // namespace kfab::ssh

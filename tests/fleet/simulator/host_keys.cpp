#include "fleet/simulator/host_keys.hpp"

#include <openssl/evp.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "base/sha256.hpp"
#include "fleet/simulator/script.hpp"

namespace kfab::sim {
namespace {

constexpr std::size_t key_bytes = 32;
constexpr std::string_view type = "ssh-ed25519";

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "simulator: %s\n", what);
  std::exit(1);
}

// RFC 4251 section 5.
std::string u32(std::uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 255);
  return bytes;
}
std::string field(std::string_view bytes) { return u32(static_cast<std::uint32_t>(bytes.size())) + std::string(bytes); }

std::string base64(const std::string& bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const auto* from = static_cast<const unsigned char*>(static_cast<const void*>(bytes.data()));
  auto* to = static_cast<unsigned char*>(static_cast<void*>(text.data()));
  text.resize(static_cast<std::size_t>(EVP_EncodeBlock(to, from, static_cast<int>(bytes.size()))));
  return text;
}

std::string public_half(const std::array<unsigned char, key_bytes>& secret) {
  using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
  const Key key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, secret.data(), secret.size()), EVP_PKEY_free);
  std::string half(key_bytes, '\0');
  std::size_t size = half.size();
  auto* to = static_cast<unsigned char*>(static_cast<void*>(half.data()));
  if (!key || EVP_PKEY_get_raw_public_key(key.get(), to, &size) != 1) fail("libcrypto makes no ed25519 key");
  return half;
}

}  // namespace

KeyText make_key(std::string_view seed) {
  const std::string hex = sha256_hex(seed);
  std::array<unsigned char, key_bytes> secret{};
  for (std::size_t i = 0; i < key_bytes; ++i) secret[i] = static_cast<unsigned char>(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
  const std::string half = public_half(secret);
  const std::string blob = field(type) + field(half);
  const std::string pair = std::string(secret.begin(), secret.end()) + half;
  std::string hidden = u32(7) + u32(7) + field(type) + field(half) + field(pair) + field("simulator");
  for (char pad = 1; hidden.size() % 8 != 0; ++pad) hidden += pad;
  const std::string file = std::string("openssh-key-v1\0", 15) + field("none") + field("none") + field("") + u32(1) + field(blob) + field(hidden);
  const std::string text = base64(file);
  KeyText key;
  key.private_file = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
  for (std::size_t at = 0; at < text.size(); at += 70) key.private_file += text.substr(at, 70) + "\n";
  key.private_file += "-----END OPENSSH PRIVATE KEY-----\n";
  key.public_line = std::string(type) + " " + base64(blob);
  return key;
}

KeyText HostKeyRing::of(std::uint32_t address) const {
  return make_key(seed_ + " host " + (one_for_all_ ? "all" : to_text(address)));
}

ssh_bind make_server(const KeyText& key, const char* version) {
  ssh_bind server = ssh_bind_new();
  ssh_key parsed = nullptr;
  const bool no = false;
  if (server == nullptr || ssh_pki_import_privkey_base64(key.private_file.c_str(), nullptr, nullptr, nullptr, &parsed) != SSH_OK ||
      ssh_bind_options_set(server, SSH_BIND_OPTIONS_PROCESS_CONFIG, &no) != SSH_OK ||
      ssh_bind_options_set(server, SSH_BIND_OPTIONS_IMPORT_KEY, parsed) != SSH_OK) {
    fail("libssh takes no host key");
  }
  if (version != nullptr) ssh_bind_options_set(server, SSH_BIND_OPTIONS_BANNER, version);
  return server;   // owns the key
}

}  // namespace kfab::sim

#pragma once

#include <libssh/libssh.h>
#include <libssh/server.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace kfab::sim {

// An ed25519 key made from words: the same words, the same key.
struct KeyText {
  std::string private_file;   // in OpenSSH's own format
  std::string public_line;    // "ssh-ed25519 AAAA..."
};
KeyText make_key(std::string_view seed);

// The host keys of all nodes: one for all, or one for each address; and others for those that play false.
class HostKeyRing {
 public:
  HostKeyRing(std::string seed, bool one_for_all) : seed_(std::move(seed)), one_for_all_(one_for_all) {}
  KeyText of(std::uint32_t address) const;
  KeyText false_of(std::uint32_t address) const { return make_key(seed_ + " false " + std::to_string(address)); }
  bool one_for_all() const { return one_for_all_; }

 private:
  std::string seed_;
  bool one_for_all_;
};

// What libssh needs to be a server with this key: a bind that never binds anything.
ssh_bind make_server(const KeyText&, const char* version);

}  // namespace kfab::sim

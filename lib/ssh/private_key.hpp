#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "ssh/signing_key.hpp"

namespace kfab::ssh {

// A private key file, looked into as far as is needed to know what to do with it.
struct PrivateKey {
  std::string path;
  std::string text;          // the file, as libssh2 is given it
  std::string type;          // "ssh-ed25519", "ssh-rsa", ...; empty when the format does not tell
  std::string public_blob;   // where the file holds it (OpenSSH format) or PATH.pub does; may be empty
  bool encrypted = false;
  std::shared_ptr<const SigningKey> signing{};   // null: libssh2 has to make something of `text` itself
};

// Reads OpenSSH's own format and the PEM forms. Errors: ssh_key_unreadable.
Result<PrivateKey> load_private_key(const std::string& path);
Result<PrivateKey> inspect_private_key(std::string path, std::string text);

bool is_rsa(std::string_view type);

}  // namespace kfab::ssh

#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace kfab::ssh {

// The secret half of a key, decoded once and then used by every connection of a run: libssh2, given the file, would
// decode it again for each node. Ed25519 and ECDSA on the NIST curves; signing is safe from several threads at once.
class SigningKey {
 public:
  // From the unencrypted "openssh-key-v1" body, or from the text of an unencrypted PEM file. Null when it is of
  // another kind (RSA, damaged, encrypted): then libssh2 is given the file, and says what it thinks of it.
  static std::shared_ptr<const SigningKey> from_openssh(std::string_view body);
  static std::shared_ptr<const SigningKey> from_pem(std::string_view text);
  ~SigningKey();
  SigningKey(const SigningKey&) = delete;
  SigningKey& operator=(const SigningKey&) = delete;

  // "ssh-ed25519", "ecdsa-sha2-nistp256", ...
  const std::string& type() const { return type_; }
  // The public key as it stands in authorized_keys, before base64.
  const std::string& public_blob() const { return public_blob_; }
  // The inner signature blob (session.hpp). False when the library fails, as it does without memory.
  bool sign(std::string_view data, std::string& signature) const;

 private:
  struct Secret;
  SigningKey(std::unique_ptr<Secret>, std::string type, std::string public_blob);
  std::unique_ptr<Secret> secret_;
  std::string type_, public_blob_;
};

}  // namespace kfab::ssh

#pragma once

#include <string>

#include "ssh/codec.hpp"

namespace kfab::ssh::test {

// A public key blob of the form that key_type() reads; its 32 bytes are all `fill`.
inline std::string ed25519_blob(char fill) {
  std::string blob;
  put_string(blob, "ssh-ed25519");
  put_string(blob, std::string(32, fill));
  return blob;
}
inline std::string blob_of(const std::string& type, char fill) {
  std::string blob;
  put_string(blob, type);
  put_string(blob, std::string(64, fill));
  return blob;
}
inline std::string line_of(const std::string& names, const std::string& blob) {
  return names + " " + std::string(key_type(blob)) + " " + base64_encode(blob) + "\n";
}

}  // namespace kfab::ssh::test

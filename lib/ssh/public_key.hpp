#pragma once

#include <string_view>

namespace kfab::ssh {

// What a signature may be made by: whatever OpenSSH takes today, or also RSA with SHA-1, which old servers still use to
// prove their host key, and which nobody may use to sign a certificate.
enum class Signatures { of_today, with_sha1 };

// Whether `signature` (string algorithm, string value: RFC 4253 section 6.6) was made over `data` by the owner of the
// plain public key `key_blob`: ssh-ed25519, ecdsa-sha2-nistp256/384/521 or ssh-rsa of at least 2048 bits with
// rsa-sha2-256/512. False also for anything that cannot be read.
bool verify_signature(std::string_view key_blob, std::string_view signature, std::string_view data, Signatures = Signatures::of_today);

}  // namespace kfab::ssh

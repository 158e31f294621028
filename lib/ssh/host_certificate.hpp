#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kfab::ssh {

// An OpenSSH host certificate (OpenSSH's PROTOCOL.certkeys): a host's public key, who it may call itself, from when to
// when, and the signature of an authority under all that. libssh2 hands it over unchecked where it can negotiate one at
// all, which 1.10 cannot, so it is read and verified here.
struct HostCertificate {
  std::string type;                        // "ssh-ed25519-cert-v01@openssh.com"
  std::string plain_blob;                  // the certified key by itself: a blob of type "ssh-ed25519"
  std::uint64_t serial = 0;
  bool for_host = false;                   // else for a user, or for something unknown
  std::string key_id;                      // the authority's words: untrusted
  std::vector<std::string> principals;     // names and addresses; untrusted
  std::uint64_t valid_after = 0;           // seconds since 1970, inclusive
  std::uint64_t valid_before = 0;          // exclusive; all bits set: for ever
  std::vector<std::string> critical;       // names of critical options
  std::string authority_blob;              // the key that signed it
  bool signature_good = false;             // it did sign this
};

// "ssh-ed25519-cert-v01@openssh.com" for "ssh-ed25519" and back; empty when there is none.
std::string certificate_type(std::string_view plain_type);
std::string plain_type(std::string_view certificate_type);
bool is_certificate(std::string_view key_blob);

// Reads a certificate of an Ed25519, ECDSA or RSA key. Nothing when it is none, or is damaged: every field is bounded
// by the blob.
std::optional<HostCertificate> read_certificate(std::string_view blob);

// Why this certificate does not vouch for a machine with one of these names (lower case) at this time, in seconds since
// 1970: one line of words, safe to show; nothing when it does. Whether the authority is one that counts is the caller's
// to say. Stricter than ssh(1) in one point: a certificate without principals vouches for nobody instead of for all.
std::optional<std::string> objection(const HostCertificate&, const std::vector<std::string>& names, std::uint64_t now);

// "id 'gpu1', serial 7, signed by SHA256:...", safe to show.
std::string describe(const HostCertificate&);

}  // namespace kfab::ssh

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kfab::ssh {

// What one side of a key exchange is ready to use (RFC 4253 section 7.1), each list best first. Of the ciphers and MACs
// only those towards the server are kept: nobody offers others for the way back.
struct KexOffer {
  std::vector<std::string> kex, host_keys, ciphers, macs;
};

// Reads an SSH_MSG_KEXINIT from its message number on; what follows it is not looked at. Nothing when it is none, is cut
// short, or holds names that no algorithm has.
std::optional<KexOffer> parse_kexinit(std::string_view packet);

// For each list in which the two have nothing in common: "cipher (the server offers only a, b)". Names that say nothing
// about what can be used (extensions such as kex-strict-s-v00@openssh.com) do not count.
std::vector<std::string> nothing_in_common(const KexOffer& ours, const KexOffer& theirs);

}  // namespace kfab::ssh

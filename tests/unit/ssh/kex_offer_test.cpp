#include <doctest/doctest.h>

#include <random>

#include "ssh/codec.hpp"
#include "ssh/kex_offer.hpp"

using namespace kfab::ssh;

namespace {

std::string kexinit(const std::vector<std::string>& lists) {
  std::string packet(1, '\x14');
  packet += std::string(16, 'c');
  for (const std::string& list : lists) put_string(packet, list);
  packet += std::string(5, '\0');
  return packet;
}

const KexOffer old_library{{"curve25519-sha256"}, {"ssh-ed25519", "ssh-rsa"}, {"aes256-ctr"}, {"hmac-sha2-256"}};

}  // namespace

TEST_CASE("kex offer: what two sides lack is named list by list") {
  const auto modern = parse_kexinit(kexinit({"sntrup761x25519-sha512@openssh.com,curve25519-sha256,kex-strict-s-v00@openssh.com", "ssh-ed25519",
                                             "chacha20-poly1305@openssh.com,aes256-gcm@openssh.com", "aes256-ctr",
                                             "hmac-sha2-512-etm@openssh.com", "", "none", "none", "", ""}));
  REQUIRE(modern);
  const auto missing = nothing_in_common(old_library, *modern);
  REQUIRE(missing.size() == 2);
  CHECK(missing[0] == "cipher (the server offers only chacha20-poly1305@openssh.com, aes256-gcm@openssh.com)");
  CHECK(missing[1] == "MAC (the server offers only hmac-sha2-512-etm@openssh.com)");
  CHECK(nothing_in_common(old_library, old_library).empty());
  const auto marker_only = parse_kexinit(kexinit({"kex-strict-s-v00@openssh.com", "ssh-ed25519", "aes256-ctr", "", "hmac-sha2-256", "", "", "", "", ""}));
  REQUIRE(marker_only);
  CHECK(nothing_in_common(old_library, *marker_only).at(0) == "key exchange (the server offers none)");
}

TEST_CASE("kex offer: truncated, random and hostile packets are no offers") {
  const std::string whole = kexinit({"a", "b", "c", "d", "e", "f", "g", "h", "", ""});
  CHECK(parse_kexinit(whole));
  for (std::size_t size = 0; size < whole.size() - 5; ++size) CHECK_FALSE(parse_kexinit(whole.substr(0, size)));
  CHECK_FALSE(parse_kexinit(kexinit({"a\x1b[2J", "b", "c", "d", "e", "f", "g", "h", "", ""})));
  CHECK_FALSE(parse_kexinit(kexinit({std::string(9000, 'a'), "b", "c", "d", "e", "f", "g", "h", "", ""})));
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes(random() % 200, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    if (!bytes.empty()) bytes[0] = 20;
    (void)parse_kexinit(bytes);
  }
}

#include <doctest/doctest.h>

#include "ssh/codec.hpp"
#include "unit/ssh/keys.hpp"

using namespace kfab::ssh;

TEST_CASE("base64 goes there and back, and refuses what is none") {
  for (const std::string text : {"", "f", "fo", "foo", "foob", "fooba", "foobar"}) CHECK(base64_decode(base64_encode(text)) == text);
  CHECK(base64_encode("foob") == "Zm9vYg==");
  CHECK(base64_decode("Zm9vYg==") == "foob");
  for (const char* bad : {"Zm9", "Zm9vY", "Zm 9", "Zm9=Yg==", "Z===", "====", "Zm\n9"}) CHECK_FALSE(base64_decode(bad));
}

TEST_CASE("HMAC-SHA-1 gives the values of RFC 2202") {
  const auto hex = [](const std::string& bytes) {
    std::string text;
    for (unsigned char byte : bytes) { text += "0123456789abcdef"[byte >> 4]; text += "0123456789abcdef"[byte & 15]; }
    return text;
  };
  CHECK(hex(hmac_sha1(std::string(20, '\x0b'), "Hi There")) == "b617318655057264e28bc0b6fb378c8ef146be00");
  CHECK(hex(hmac_sha1("Jefe", "what do ya want for nothing?")) == "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
  CHECK(hex(hmac_sha1(std::string(80, '\xaa'), "Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data")) ==
        "e8e99d0f45237d786d6bbaa7965c7808bbff1a91");
}

TEST_CASE("a fingerprint is the one that ssh-keygen -l prints") {
  const auto blob = base64_decode("AAAAC3NzaC1lZDI1NTE5AAAAIMXiV+i0olX1w9J5w93EieH8Q+M102w0wLiy1+nRJJ0p");
  REQUIRE(blob);
  CHECK(fingerprint(*blob) == "SHA256:2wed5R4lZdhooG0DIxa0wwYJhwbvLTMXpKtpf+v15Yk");
  CHECK(key_type(*blob) == "ssh-ed25519");
}

TEST_CASE("a wire reader takes nothing when too little is there") {
  std::string bytes;
  put_u32(bytes, 5);
  bytes += "abc";
  WireReader reader(bytes);
  CHECK_FALSE(reader.string());
  CHECK(reader.u32() == 5u);
  CHECK_FALSE(reader.u32());
  CHECK(reader.rest() == "abc");
  CHECK(key_type("") == "");
  CHECK(key_type("\xff\xff\xff\xff") == "");
}

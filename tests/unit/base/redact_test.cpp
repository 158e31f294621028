#include "base/redact.hpp"

#include <doctest/doctest.h>

using namespace kfab;

namespace {
// What base64 says of it, as a program on a node would write it.
std::string base64(const std::string& bytes) {
  static const char* letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  std::size_t i = 0;
  for (; i + 2 < bytes.size(); i += 3) {
    const unsigned v = static_cast<unsigned char>(bytes[i]) << 16 | static_cast<unsigned char>(bytes[i + 1]) << 8 | static_cast<unsigned char>(bytes[i + 2]);
    for (int shift = 18; shift >= 0; shift -= 6) out += letters[v >> shift & 63];
  }
  if (i + 1 == bytes.size()) {
    const unsigned v = static_cast<unsigned char>(bytes[i]) << 16;
    out += {letters[v >> 18 & 63], letters[v >> 12 & 63], '=', '='};
  } else if (i + 2 == bytes.size()) {
    const unsigned v = static_cast<unsigned char>(bytes[i]) << 16 | static_cast<unsigned char>(bytes[i + 1]) << 8;
    out += {letters[v >> 18 & 63], letters[v >> 12 & 63], letters[v >> 6 & 63], '='};
  }
  return out;
}
}  // namespace

TEST_CASE("redactor: a value in every place and form goes, the rest stays") {
  Redactor redactor;
  CHECK(redactor.empty());
  CHECK(redactor.text("nothing known") == "nothing known");
  const std::string secret = "p\"ss\\w0rd+/?!";
  redactor.add("db", secret);
  CHECK_FALSE(redactor.empty());
  CHECK(redactor.text("a " + secret + " b " + secret) == "a (secret db) b (secret db)");
  CHECK(redactor.text("{\"x\":\"p\\\"ss\\\\w0rd+/?!\"}") == "{\"x\":\"(secret db)\"}");
  for (const char* before : {"", "u", "us", "use", "user:"})
    for (const char* after : {"", "x", "xy", "\n"}) {
      const std::string encoded = base64(before + secret + after);
      CAPTURE(encoded);
      CHECK(redactor.text("h: " + encoded).find("(secret db)") != std::string::npos);
    }
  CHECK(redactor.text("p\"ss\\w0rd") == "p\"ss\\w0rd");   // a part of it is not it
}

TEST_CASE("redactor: of several lines each goes, also by itself; short ones stay") {
  Redactor redactor;
  redactor.add("key", "-----BEGIN-----\nMIIEvQIBADANBgkq\nab\n-----END-----\n");
  CHECK(redactor.text("found MIIEvQIBADANBgkq there, ab too") == "found (secret key) there, ab too");
  CHECK(redactor.text("-----BEGIN-----\nMIIEvQIBADANBgkq\nab\n-----END-----\n") == "(secret key)");
  CHECK(redactor.text("-----BEGIN----- MIIEvQIBADANBgkq ab -----END-----") == "(secret key)");   // as a message has it on one line
}

TEST_CASE("redactor: of two that hold each other the longer is told first, and what stands instead is not looked at again") {
  Redactor redactor;
  redactor.add("short", "secret-1");
  redactor.add("long", "my-secret-1-and-more");
  redactor.add("word", "(secret");   // stands in what is put in
  CHECK(redactor.text("my-secret-1-and-more secret-1") .find("secret-1") == std::string::npos);
}

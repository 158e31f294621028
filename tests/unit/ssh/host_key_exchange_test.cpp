#include "ssh/host_key_exchange.hpp"

#include <doctest/doctest.h>

#include <random>

#include "ssh/codec.hpp"

using namespace kfab::ssh;

namespace {

std::string packet(const std::string& payload) {
  std::string bytes;
  put_u32(bytes, static_cast<std::uint32_t>(payload.size() + 1 + 4));
  bytes += '\4' + payload + std::string(4, '\0');
  return bytes;
}

std::string kexinit(const std::string& kex, const std::string& keys) {
  std::string payload = '\x14' + std::string(16, 'c');
  put_string(payload, kex);
  put_string(payload, keys);
  for (int i = 0; i < 8; ++i) put_string(payload, i < 6 ? "none" : "");
  return payload + '\0' + std::string(4, '\0');
}

const std::string version = "SSH-2.0-test\r\n";

}  // namespace

// Against real servers, all types and curves: tests/fleet/host_keys_test.cpp.
TEST_CASE("the exchange asks, says what the server has, and fails in words") {
  HostKeyExchange exchange({"ssh-ed25519"});
  CHECK(exchange.output().starts_with("SSH-2.0-kfab_hostkeys\r\n"));
  exchange.sent(exchange.output().size());
  CHECK(exchange.feed("welcome\r\nto this\n") == Step::again);
  CHECK_FALSE(exchange.banner_seen());
  CHECK(exchange.feed(version) == Step::again);
  CHECK(exchange.banner_seen());
  SUBCASE("no type in common") {
    CHECK(exchange.feed(packet(kexinit("curve25519-sha256", "rsa-sha2-512,ssh-rsa,ecdsa-sha2-nistp256"))) == Step::failed);
    CHECK(exchange.none_in_common());
    CHECK(exchange.offered() == std::vector<std::string>{"ssh-rsa", "ecdsa-sha2-nistp256"});
  }
  SUBCASE("no curve in common") {
    CHECK(exchange.feed(packet(kexinit("mlkem768x25519-sha256", "ssh-ed25519"))) == Step::failed);
    CHECK(exchange.why().find("mlkem768x25519-sha256") != std::string::npos);
    CHECK_FALSE(exchange.none_in_common());
  }
  SUBCASE("a key that is not proven") {
    CHECK(exchange.feed(packet(kexinit("curve25519-sha256", "ssh-ed25519"))) == Step::again);
    CHECK_FALSE(exchange.output().empty());
    std::string key, reply = "\x1f", signature;
    put_string(key, "ssh-ed25519");
    put_string(key, std::string(32, 'k'));
    put_string(signature, "ssh-ed25519");
    put_string(signature, std::string(64, 's'));
    put_string(reply, key);
    put_string(reply, std::string(32, 'p'));
    put_string(reply, signature);
    CHECK(exchange.feed(packet(reply)) == Step::failed);
    CHECK(exchange.why() == "it does not hold the host key that it showed");
    CHECK(exchange.host_key().empty());
  }
  SUBCASE("a server that hangs up, in its own words made harmless") {
    std::string bye = "\1";
    put_u32(bye, 2);
    put_string(bye, "too many\n\x1b[31mconnections");
    CHECK(exchange.feed(packet(bye)) == Step::failed);
    CHECK(exchange.why().find('\x1b') == std::string::npos);
  }
}

TEST_CASE("hostile servers: nothing grows without bound, and no bytes are taken on trust") {
  {
    HostKeyExchange exchange({"ssh-ed25519"});
    Step step = Step::again;
    for (int i = 0; i < 100 && step == Step::again; ++i) step = exchange.feed(std::string(1000, 'x'));
    CHECK(step == Step::failed);
  }
  for (const std::string& bytes : {std::string("\xff\xff\xff\xff", 4), std::string("\0\0\0\1\0", 5), std::string("\0\0\0\5\5aaaaa", 10), packet("\x1f")}) {
    HostKeyExchange exchange({"ssh-ed25519"});
    CHECK(exchange.feed(version + bytes) == Step::failed);
  }
  {
    HostKeyExchange exchange({"ssh-ed25519"});
    std::string endless = version;
    for (int i = 0; i < 100; ++i) endless += packet("\2ignored");
    CHECK(exchange.feed(endless) == Step::failed);
  }
  CHECK(HostKeyExchange({"ssh-ed25519"}).feed("SSH-1.5-old\n") == Step::failed);
  std::mt19937 random(7);
  const std::string whole = version + packet(kexinit("curve25519-sha256,ecdh-sha2-nistp256", "ssh-ed25519")) + packet("\x1f" + std::string(200, 'r'));
  for (int i = 0; i < 2000; ++i) {
    std::string changed = whole;
    for (int j = 0; j < 3; ++j) changed[version.size() + random() % (whole.size() - version.size())] = static_cast<char>(random());
    HostKeyExchange exchange({"ssh-ed25519", "ssh-rsa"});
    const std::size_t cut = random() % changed.size();
    (void)exchange.feed(std::string_view(changed).substr(0, cut));
    CHECK(exchange.feed(std::string_view(changed).substr(cut)) != Step::done);
  }
}

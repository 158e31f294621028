#include "ssh/host_key_exchange.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/text.hpp"
#include "ssh/codec.hpp"
#include "ssh/host_certificate.hpp"
#include "ssh/public_key.hpp"

namespace kfab::ssh {
namespace {

#include "ssh/libcrypto.inc"

// RFC 4250 section 4.1, RFC 5656 section 7.1.
enum Message : std::uint8_t { msg_disconnect = 1, msg_ignore = 2, msg_unimplemented = 3, msg_debug = 4, msg_kexinit = 20, msg_ecdh_init = 30, msg_ecdh_reply = 31 };

constexpr std::string_view own_version = "SSH-2.0-kfab_hostkeys";
constexpr std::size_t most_banner_bytes = 16 * 1024;    // what a server may say before its version, and the version itself
constexpr std::size_t most_packet_bytes = 256 * 1024;   // as OpenSSH: certificates may be long
constexpr int most_messages = 64;

// The ways to agree on a secret: curves that libcrypto knows, and the digest that goes with each.
struct Agreement {
  std::string_view name, kind, group;   // libcrypto's names
  const EVP_MD* (*digest)();
};
constexpr std::array agreements{Agreement{"curve25519-sha256", "X25519", "", EVP_sha256},
                                Agreement{"curve25519-sha256@libssh.org", "X25519", "", EVP_sha256},
                                Agreement{"ecdh-sha2-nistp256", "EC", "P-256", EVP_sha256},
                                Agreement{"ecdh-sha2-nistp384", "EC", "P-384", EVP_sha384},
                                Agreement{"ecdh-sha2-nistp521", "EC", "P-521", EVP_sha512}};

// None of these is ever used, but a server hangs up when it shares none.
constexpr std::string_view ciphers =
    "chacha20-poly1305@openssh.com,aes256-gcm@openssh.com,aes128-gcm@openssh.com,aes256-ctr,aes192-ctr,aes128-ctr,aes256-cbc,aes128-cbc,3des-cbc";
constexpr std::string_view macs =
    "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,umac-128-etm@openssh.com,hmac-sha2-256,hmac-sha2-512,umac-128@openssh.com,hmac-sha1";

// A certified RSA key is proven by SHA-2 as well, under names of its own.
struct RsaName { std::string_view algorithm, type; };
constexpr std::array rsa_names{RsaName{"rsa-sha2-512", "ssh-rsa"}, RsaName{"rsa-sha2-256", "ssh-rsa"}, RsaName{"ssh-rsa", "ssh-rsa"},
                               RsaName{"rsa-sha2-512-cert-v01@openssh.com", "ssh-rsa-cert-v01@openssh.com"},
                               RsaName{"rsa-sha2-256-cert-v01@openssh.com", "ssh-rsa-cert-v01@openssh.com"}};

std::vector<std::string> algorithms_of(const std::vector<std::string>& types) {
  std::vector<std::string> algorithms;
  for (const std::string& type : types) {
    bool rsa = false;
    for (const RsaName& name : rsa_names) {
      if (name.type != type) continue;
      algorithms.emplace_back(name.algorithm);
      rsa = true;
    }
    if (!rsa) algorithms.push_back(type);
  }
  return algorithms;
}

std::string type_of(std::string_view algorithm) {
  for (const RsaName& name : rsa_names) {
    if (name.algorithm == algorithm) return std::string(name.type);
  }
  return std::string(algorithm);
}

bool contains(const std::vector<std::string>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

void put_mpint(std::string& out, std::string_view unsigned_bytes) {
  const std::size_t first = unsigned_bytes.find_first_not_of('\0');
  if (first == std::string_view::npos) {
    put_u32(out, 0);
    return;
  }
  unsigned_bytes.remove_prefix(first);
  const bool high = (static_cast<unsigned char>(unsigned_bytes.front()) & 0x80) != 0;
  put_string(out, (high ? std::string(1, '\0') : std::string()) + std::string(unsigned_bytes));
}

std::string random_bytes(std::size_t count) {
  std::string bytes(count, '\0');
  if (RAND_bytes(static_cast<unsigned char*>(static_cast<void*>(bytes.data())), static_cast<int>(count)) != 1) bytes.clear();
  return bytes;
}

std::string digest(const EVP_MD* by, std::string_view data) {
  std::string out(EVP_MAX_MD_SIZE, '\0');
  unsigned size = 0;
  if (EVP_Digest(data.data(), data.size(), static_cast<unsigned char*>(static_cast<void*>(out.data())), &size, by, nullptr) != 1) return {};
  out.resize(size);
  return out;
}

Pkey fresh_key(const Agreement& agreement) {
  EVP_PKEY* key = agreement.group.empty() ? EVP_PKEY_Q_keygen(nullptr, nullptr, agreement.kind.data())
                                          : EVP_PKEY_Q_keygen(nullptr, nullptr, agreement.kind.data(), agreement.group.data());
  return Pkey(key);
}

std::string public_point(EVP_PKEY* key) {
  unsigned char* encoded = nullptr;
  const std::size_t size = EVP_PKEY_get1_encoded_public_key(key, &encoded);
  if (size == 0) return {};
  std::string point(static_cast<const char*>(static_cast<const void*>(encoded)), size);
  OPENSSL_free(encoded);
  return point;
}

// Empty when the server's point is none, or the secret would be zero.
std::string shared_secret(EVP_PKEY* own, std::string_view server_point) {
  const Pkey peer(EVP_PKEY_new());
  const PkeyContext context(EVP_PKEY_CTX_new(own, nullptr));
  if (!peer || !context || EVP_PKEY_copy_parameters(peer.get(), own) != 1) return {};
  if (EVP_PKEY_set1_encoded_public_key(peer.get(), bytes_of(server_point), server_point.size()) != 1) return {};
  std::size_t size = 0;
  if (EVP_PKEY_derive_init(context.get()) != 1 || EVP_PKEY_derive_set_peer(context.get(), peer.get()) != 1 ||
      EVP_PKEY_derive(context.get(), nullptr, &size) != 1) {
    return {};
  }
  std::string secret(size, '\0');
  if (EVP_PKEY_derive(context.get(), static_cast<unsigned char*>(static_cast<void*>(secret.data())), &size) != 1) return {};
  secret.resize(size);
  return secret;
}

// RFC 4253 section 6, before any key is in use: padded to a multiple of 8, without a MAC.
std::string packet_of(std::string_view payload) {
  std::size_t padding = 8 - (5 + payload.size()) % 8;
  if (padding < 4) padding += 8;
  std::string packet;
  put_u32(packet, static_cast<std::uint32_t>(1 + payload.size() + padding));
  packet.push_back(static_cast<char>(padding));
  packet.append(payload);
  packet.append(padding, '\0');
  return packet;
}

}  // namespace

const std::vector<std::string>& scannable_types() {
  static const std::vector<std::string> types{"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"};
  return types;
}

struct HostKeyExchange::State {
  std::vector<std::string> algorithms;
  std::string out, in, server_version, own_kexinit, server_kexinit, host_key, why;
  std::vector<std::string> offered;
  const Agreement* agreement = nullptr;
  Pkey own_key;
  std::string own_point, algorithm;
  std::size_t before_version = 0;
  int messages = 0;
  bool skip_guess = false, none_in_common = false;
  Step step = Step::again;

  Step fail(std::string reason) {
    why = std::move(reason);
    return step = Step::failed;
  }

  void start(const std::vector<std::string>& types) {
    algorithms = algorithms_of(types);
    std::vector<std::string> agreement_names;
    for (const Agreement& each : agreements) agreement_names.emplace_back(each.name);
    own_kexinit.push_back(static_cast<char>(msg_kexinit));
    own_kexinit += random_bytes(16);
    put_string(own_kexinit, join(agreement_names, ","));
    put_string(own_kexinit, join(algorithms, ","));
    for (int direction = 0; direction < 2; ++direction) put_string(own_kexinit, ciphers);
    for (int direction = 0; direction < 2; ++direction) put_string(own_kexinit, macs);
    for (int direction = 0; direction < 2; ++direction) put_string(own_kexinit, "none,zlib@openssh.com,zlib");
    for (int direction = 0; direction < 2; ++direction) put_string(own_kexinit, "");   // languages
    own_kexinit.push_back('\0');   // no guess follows
    put_u32(own_kexinit, 0);
    out = std::string(own_version) + "\r\n" + packet_of(own_kexinit);
  }

  // Lines before the version are the server's affair (RFC 4253 section 4.2). False: more is needed, or it failed.
  bool read_version() {
    for (;;) {
      const std::size_t end = in.find('\n');
      if (before_version + (end == std::string::npos ? in.size() : end) > most_banner_bytes) {
        fail("it does not speak SSH");
        return false;
      }
      if (end == std::string::npos) return false;
      std::string line = in.substr(0, end);
      in.erase(0, end + 1);
      before_version += end + 1;
      if (!line.empty() && line.back() == '\r') line.pop_back();
      if (!line.starts_with("SSH-")) continue;
      if (!line.starts_with("SSH-2.0-") && !line.starts_with("SSH-1.99-")) {
        fail("it speaks another version of SSH: " + one_line(line, 60));
        return false;
      }
      server_version = std::move(line);
      return true;
    }
  }

  // The next whole payload; nothing when more is needed or it failed.
  std::optional<std::string> read_packet() {
    WireReader reader(in);
    const auto size = reader.u32();
    if (!size) return std::nullopt;
    if (*size < 2 || *size > most_packet_bytes) {
      fail("it sent a packet that is none");
      return std::nullopt;
    }
    if (reader.rest().size() < *size) return std::nullopt;
    const auto padding = static_cast<unsigned char>(reader.rest().front());
    if (padding + 2u > *size) {
      fail("it sent a packet that is none");
      return std::nullopt;
    }
    std::string payload = in.substr(5, *size - padding - 1u);
    in.erase(0, 4 + *size);
    return payload;
  }

  Step take(const std::string& payload) {
    if (++messages > most_messages) return fail("it does not come to the point");
    const auto type = static_cast<std::uint8_t>(payload.front());
    WireReader reader(std::string_view(payload).substr(1));
    if (type == msg_ignore || type == msg_debug || type == msg_unimplemented) return Step::again;
    if (type == msg_disconnect) {
      (void)reader.u32();
      return fail("it hung up: " + one_line(reader.string().value_or("without a reason")));
    }
    if (type == msg_kexinit && server_kexinit.empty()) return take_kexinit(payload);
    if (server_kexinit.empty()) return fail("it sent something else than its offer");
    if (skip_guess) {   // it guessed what would be agreed on, and wrong
      skip_guess = false;
      return Step::again;
    }
    if (type == msg_ecdh_reply) return take_reply(reader);
    return fail("it sent something else than its host key");
  }

  Step take_kexinit(const std::string& payload) {
    server_kexinit = payload;
    if (payload.size() < 17) return fail("its offer is cut short");
    WireReader reader(std::string_view(payload).substr(17));
    std::array<std::vector<std::string>, 10> lists;
    for (auto& list : lists) {
      const auto names = reader.string();
      if (!names) return fail("its offer is cut short");
      list = split(*names, ',');
    }
    const auto guesses = reader.u8();
    if (!guesses) return fail("its offer is cut short");
    for (const std::string& name : lists[1]) {
      if (std::string type = type_of(name); !type.empty() && !contains(offered, type) && offered.size() < 64) offered.push_back(std::move(type));
    }
    for (const Agreement& each : agreements) {
      if (agreement == nullptr && contains(lists[0], each.name)) agreement = &each;
    }
    for (const std::string& name : algorithms) {
      if (algorithm.empty() && contains(lists[1], name)) algorithm = name;
    }
    if (algorithm.empty()) {
      none_in_common = true;
      return fail("it has no host key of a type that was asked for; it has " + one_line(join(offered, ", ")));
    }
    if (agreement == nullptr) return fail("kfab and the server know no key exchange in common; it knows " + one_line(join(lists[0], ", ")));
    skip_guess = *guesses != 0 && (lists[0].front() != agreements.front().name || lists[1].front() != algorithms.front());
    own_key = fresh_key(*agreement);
    own_point = own_key ? public_point(own_key.get()) : std::string();
    if (own_point.empty()) return fail("libcrypto cannot make a key for " + std::string(agreement->name));
    std::string init(1, static_cast<char>(msg_ecdh_init));
    put_string(init, own_point);
    out += packet_of(init);
    return Step::again;
  }

  Step take_reply(WireReader reader) {
    const auto key = reader.string(), point = reader.string(), signature = reader.string();
    if (!key || !point || !signature) return fail("its answer is cut short");
    if (key_type(*key) != type_of(algorithm)) return fail("it showed a host key of another type than was agreed on");
    const std::string secret = shared_secret(own_key.get(), *point);
    if (secret.empty()) return fail("its half of the key exchange is none");
    std::string hashed;
    for (const std::string_view part : {own_version, std::string_view(server_version), std::string_view(own_kexinit), std::string_view(server_kexinit), *key,
                                        std::string_view(own_point), *point}) {
      put_string(hashed, part);
    }
    put_mpint(hashed, secret);
    std::string plain(*key);
    if (is_certificate(*key)) {
      const auto certificate = read_certificate(*key);
      if (!certificate) return fail("its host certificate is damaged");
      plain = certificate->plain_blob;
    }
    if (!verify_signature(plain, *signature, digest(agreement->digest(), hashed), Signatures::with_sha1)) {
      return fail("it does not hold the host key that it showed");
    }
    host_key = *key;
    return step = Step::done;
  }
};

HostKeyExchange::HostKeyExchange(const std::vector<std::string>& types) : state_(std::make_unique<State>()) { state_->start(types); }
HostKeyExchange::~HostKeyExchange() = default;

std::string_view HostKeyExchange::output() const { return state_->out; }
void HostKeyExchange::sent(std::size_t count) { state_->out.erase(0, count); }

Step HostKeyExchange::feed(std::string_view bytes) {
  State& state = *state_;
  if (state.step != Step::again) return state.step;
  state.in += bytes;
  if (state.server_version.empty() && !state.read_version()) return state.step;
  while (state.step == Step::again) {
    const auto payload = state.read_packet();
    if (!payload) break;
    (void)state.take(*payload);
  }
  return state.step;
}

bool HostKeyExchange::banner_seen() const { return !state_->server_version.empty(); }
const std::vector<std::string>& HostKeyExchange::offered() const { return state_->offered; }
bool HostKeyExchange::none_in_common() const { return state_->none_in_common; }
const std::string& HostKeyExchange::host_key() const { return state_->host_key; }
const std::string& HostKeyExchange::why() const { return state_->why; }

}  // namespace kfab::ssh

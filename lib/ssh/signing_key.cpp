#include "ssh/signing_key.hpp"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

#include <array>
#include <vector>

#include "ssh/codec.hpp"

namespace kfab::ssh {
namespace {

template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* pointer) const { Free(pointer); }
};
using Pkey = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using PkeyContext = std::unique_ptr<EVP_PKEY_CTX, Freed<EVP_PKEY_CTX_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, Freed<EVP_MD_CTX_free>>;
using Bignum = std::unique_ptr<BIGNUM, Freed<BN_clear_free>>;
using Parameters = std::unique_ptr<OSSL_PARAM, Freed<OSSL_PARAM_free>>;
using Builder = std::unique_ptr<OSSL_PARAM_BLD, Freed<OSSL_PARAM_BLD_free>>;
using Signature = std::unique_ptr<ECDSA_SIG, Freed<ECDSA_SIG_free>>;
using Bio = std::unique_ptr<BIO, Freed<BIO_free_all>>;

const unsigned char* bytes_of(std::string_view text) { return static_cast<const unsigned char*>(static_cast<const void*>(text.data())); }
unsigned char* bytes_of(std::string& text) { return static_cast<unsigned char*>(static_cast<void*>(text.data())); }

// RFC 5656: the curves by their SSH name, OpenSSL's, and the digest that goes with each.
struct Curve {
  std::string_view ssh, group;
  const EVP_MD* (*digest)();
};
constexpr std::array curves{Curve{"nistp256", "prime256v1", EVP_sha256}, Curve{"nistp384", "secp384r1", EVP_sha384},
                            Curve{"nistp521", "secp521r1", EVP_sha512}};
const Curve* curve_by_ssh_name(std::string_view name) {
  for (const Curve& curve : curves) {
    if (curve.ssh == name) return &curve;
  }
  return nullptr;
}

std::string ed25519_blob(std::string_view point) {
  std::string blob;
  put_string(blob, "ssh-ed25519");
  put_string(blob, point);
  return blob;
}
std::string ecdsa_blob(const Curve& curve, std::string_view point) {
  std::string blob;
  put_string(blob, "ecdsa-sha2-" + std::string(curve.ssh));
  put_string(blob, curve.ssh);
  put_string(blob, point);
  return blob;
}

// An SSH mpint: big-endian, with a zero byte in front where the first bit would make it negative.
std::string mpint(const BIGNUM* number) {
  std::string bytes(static_cast<std::size_t>(BN_num_bytes(number)), '\0');
  BN_bn2bin(number, bytes_of(bytes));
  if (!bytes.empty() && (static_cast<unsigned char>(bytes.front()) & 0x80) != 0) bytes.insert(bytes.begin(), '\0');
  return bytes;
}

Pkey ecdsa_key(const Curve& curve, std::string_view point, std::string_view scalar) {
  const Bignum number(BN_bin2bn(bytes_of(scalar), static_cast<int>(scalar.size()), nullptr));
  const Builder builder(OSSL_PARAM_BLD_new());
  if (!number || !builder) return nullptr;
  if (OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, curve.group.data(), curve.group.size()) != 1 ||
      OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()) != 1 ||
      OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_PRIV_KEY, number.get()) != 1) {
    return nullptr;
  }
  const Parameters parameters(OSSL_PARAM_BLD_to_param(builder.get()));
  const PkeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  EVP_PKEY* key = nullptr;
  if (!parameters || !context || EVP_PKEY_fromdata_init(context.get()) != 1) return nullptr;
  if (EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_KEYPAIR, parameters.get()) != 1) return nullptr;
  return Pkey(key);
}

std::string octets(const EVP_PKEY* key, const char* name) {
  std::size_t size = 0;
  if (EVP_PKEY_get_octet_string_param(key, name, nullptr, 0, &size) != 1) return {};
  std::string bytes(size, '\0');
  if (EVP_PKEY_get_octet_string_param(key, name, bytes_of(bytes), size, &size) != 1) return {};
  bytes.resize(size);
  return bytes;
}

}  // namespace

struct SigningKey::Secret {
  Pkey key;
  const Curve* curve = nullptr;   // of ECDSA; null: Ed25519
};

SigningKey::SigningKey(std::unique_ptr<Secret> secret, std::string type, std::string public_blob)
    : secret_(std::move(secret)), type_(std::move(type)), public_blob_(std::move(public_blob)) {}
SigningKey::~SigningKey() = default;

// OpenSSH's PROTOCOL.key: after the public key comes one string with two equal check numbers, the key's type, its
// parts, a comment and padding.
std::shared_ptr<const SigningKey> SigningKey::from_openssh(std::string_view body) {
  constexpr std::string_view magic("openssh-key-v1\0", 15);
  if (!body.starts_with(magic)) return nullptr;
  WireReader outer(body.substr(magic.size()));
  const auto cipher = outer.string();
  const auto kdf = outer.string(), kdf_options = outer.string();
  const auto count = outer.u32();
  const auto blob = outer.string(), secret_part = outer.string();
  if (!cipher || *cipher != "none" || !kdf || !kdf_options || !count || *count != 1 || !blob || !secret_part) return nullptr;
  WireReader inner(*secret_part);
  const auto check = inner.u32(), again = inner.u32();
  const auto type = inner.string();
  if (!check || !again || *check != *again || !type) return nullptr;
  auto secret = std::make_unique<Secret>();
  std::string made;
  if (*type == "ssh-ed25519") {
    constexpr std::size_t point_bytes = 32, secret_bytes = 64;   // the seed, and the point once more
    const auto point = inner.string(), seed_and_point = inner.string();
    if (!point || point->size() != point_bytes || !seed_and_point || seed_and_point->size() != secret_bytes) return nullptr;
    secret->key.reset(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, bytes_of(*seed_and_point), point_bytes));
    made = ed25519_blob(*point);
  } else if (type->starts_with("ecdsa-sha2-")) {
    const auto name = inner.string(), point = inner.string(), scalar = inner.string();
    secret->curve = name ? curve_by_ssh_name(*name) : nullptr;
    if (secret->curve == nullptr || !point || !scalar) return nullptr;
    secret->key = ecdsa_key(*secret->curve, *point, *scalar);
    made = ecdsa_blob(*secret->curve, *point);
  }
  if (!secret->key || made != *blob) return nullptr;
  return std::shared_ptr<const SigningKey>(new SigningKey(std::move(secret), std::string(*type), std::move(made)));
}

std::shared_ptr<const SigningKey> SigningKey::from_pem(std::string_view text) {
  const Bio bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  if (!bio) return nullptr;
  const auto no_passphrase = [](char*, int, int, void*) { return -1; };
  auto secret = std::make_unique<Secret>();
  secret->key.reset(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
  if (!secret->key) return nullptr;
  if (EVP_PKEY_is_a(secret->key.get(), "ED25519") == 1) {
    std::string blob = ed25519_blob(octets(secret->key.get(), OSSL_PKEY_PARAM_PUB_KEY));
    return std::shared_ptr<const SigningKey>(new SigningKey(std::move(secret), "ssh-ed25519", std::move(blob)));
  }
  std::array<char, 64> group{};
  std::size_t size = 0;
  if (EVP_PKEY_get_utf8_string_param(secret->key.get(), OSSL_PKEY_PARAM_GROUP_NAME, group.data(), group.size(), &size) != 1) return nullptr;
  for (const Curve& curve : curves) {
    if (curve.group != std::string_view(group.data(), size)) continue;
    // The point as SSH wants it: uncompressed, whatever the file says.
    EVP_PKEY_set_utf8_string_param(secret->key.get(), OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, "uncompressed");
    const std::string point = octets(secret->key.get(), OSSL_PKEY_PARAM_PUB_KEY);
    if (point.empty()) return nullptr;
    secret->curve = &curve;
    return std::shared_ptr<const SigningKey>(
        new SigningKey(std::move(secret), "ecdsa-sha2-" + std::string(curve.ssh), ecdsa_blob(curve, point)));
  }
  return nullptr;
}

bool SigningKey::sign(std::string_view data, std::string& signature) const {
  const DigestContext context(EVP_MD_CTX_new());
  const EVP_MD* digest = secret_->curve == nullptr ? nullptr : secret_->curve->digest();
  if (!context || EVP_DigestSignInit(context.get(), nullptr, digest, nullptr, secret_->key.get()) != 1) return false;
  std::size_t size = 0;
  if (EVP_DigestSign(context.get(), nullptr, &size, bytes_of(data), data.size()) != 1) return false;
  std::string made(size, '\0');
  if (EVP_DigestSign(context.get(), bytes_of(made), &size, bytes_of(data), data.size()) != 1) return false;
  made.resize(size);
  if (secret_->curve == nullptr) {
    signature = std::move(made);
    return true;
  }
  const unsigned char* der = bytes_of(std::string_view(made));
  const Signature parts(d2i_ECDSA_SIG(nullptr, &der, static_cast<long>(made.size())));
  if (!parts) return false;
  signature.clear();
  put_string(signature, mpint(ECDSA_SIG_get0_r(parts.get())));
  put_string(signature, mpint(ECDSA_SIG_get0_s(parts.get())));
  return true;
}

}  // namespace kfab::ssh

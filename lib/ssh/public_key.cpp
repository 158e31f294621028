#include "ssh/public_key.hpp"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include <array>
#include <memory>
#include <string>

#include "ssh/codec.hpp"

namespace kfab::ssh {
namespace {

#include "ssh/libcrypto.inc"

using Bignum = std::unique_ptr<BIGNUM, Freed<BN_free>>;
using Parameters = std::unique_ptr<OSSL_PARAM, Freed<OSSL_PARAM_free>>;
using Builder = std::unique_ptr<OSSL_PARAM_BLD, Freed<OSSL_PARAM_BLD_free>>;
using EcdsaSignature = std::unique_ptr<ECDSA_SIG, Freed<ECDSA_SIG_free>>;

constexpr int least_rsa_bits = 2048, most_rsa_bits = 16384;

// Which signatures a type of key makes, and what libcrypto has to be told about them.
enum class Family { ed25519, ecdsa, rsa };
struct Algorithm {
  std::string_view name, key_type, group;   // group: libcrypto's name of the curve
  Family family;
  const EVP_MD* (*digest)();
};
constexpr std::array algorithms{
    Algorithm{"ssh-ed25519", "ssh-ed25519", "", Family::ed25519, nullptr},
    Algorithm{"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", "prime256v1", Family::ecdsa, EVP_sha256},
    Algorithm{"ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384", "secp384r1", Family::ecdsa, EVP_sha384},
    Algorithm{"ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521", "secp521r1", Family::ecdsa, EVP_sha512},
    Algorithm{"rsa-sha2-512", "ssh-rsa", "", Family::rsa, EVP_sha512},
    Algorithm{"rsa-sha2-256", "ssh-rsa", "", Family::rsa, EVP_sha256},
    Algorithm{"ssh-rsa", "ssh-rsa", "", Family::rsa, EVP_sha1},   // last: only where SHA-1 is allowed
};

Pkey from_data(const char* kind, const Builder& builder) {
  const Parameters parameters(OSSL_PARAM_BLD_to_param(builder.get()));
  const PkeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, kind, nullptr));
  EVP_PKEY* key = nullptr;
  if (!parameters || !context || EVP_PKEY_fromdata_init(context.get()) != 1) return nullptr;
  if (EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, parameters.get()) != 1) return nullptr;
  return Pkey(key);
}

Bignum number(std::string_view mpint) {
  if (mpint.size() > most_rsa_bits / 8 + 1 || (!mpint.empty() && (static_cast<unsigned char>(mpint.front()) & 0x80) != 0)) return nullptr;   // negative
  return Bignum(BN_bin2bn(bytes_of(mpint), static_cast<int>(mpint.size()), nullptr));
}

Pkey ecdsa_key(const Algorithm& algorithm, WireReader reader) {
  const auto curve = reader.string(), point = reader.string();
  const Builder builder(OSSL_PARAM_BLD_new());
  if (!curve || !point || !algorithm.name.ends_with(*curve) || !reader.rest().empty() || !builder) return nullptr;
  if (point->empty() || point->front() != 4) return nullptr;   // uncompressed points only, as OpenSSH
  if (OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, algorithm.group.data(), algorithm.group.size()) != 1 ||
      OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point->data(), point->size()) != 1) {
    return nullptr;
  }
  return from_data("EC", builder);
}

Pkey rsa_key(WireReader reader) {
  const auto e = reader.string(), n = reader.string();
  if (!e || !n || !reader.rest().empty()) return nullptr;
  const Bignum exponent = number(*e), modulus = number(*n);
  const Builder builder(OSSL_PARAM_BLD_new());
  if (!exponent || !modulus || !builder || BN_num_bits(modulus.get()) < least_rsa_bits || BN_num_bits(exponent.get()) > 64) return nullptr;
  if (OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get()) != 1 ||
      OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, exponent.get()) != 1) {
    return nullptr;
  }
  return from_data("RSA", builder);
}

Pkey key_of(const Algorithm& algorithm, std::string_view key_blob) {
  WireReader reader(key_blob);
  const auto type = reader.string();
  if (!type || *type != algorithm.key_type) return nullptr;
  if (algorithm.family == Family::ecdsa) return ecdsa_key(algorithm, reader);
  if (algorithm.family == Family::rsa) return rsa_key(reader);
  const auto point = reader.string();
  if (!point || point->size() != 32 || !reader.rest().empty()) return nullptr;
  return Pkey(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, bytes_of(*point), point->size()));
}

// RFC 5656: two mpints; libcrypto wants them as DER.
std::string der_of(std::string_view value) {
  WireReader reader(value);
  const auto r = reader.string(), s = reader.string();
  if (!r || !s || !reader.rest().empty()) return {};
  Bignum first = number(*r), second = number(*s);
  const EcdsaSignature signature(ECDSA_SIG_new());
  if (!first || !second || !signature || ECDSA_SIG_set0(signature.get(), first.get(), second.get()) != 1) return {};
  (void)first.release();    // they are the signature's now
  (void)second.release();
  unsigned char* encoded = nullptr;
  const int size = i2d_ECDSA_SIG(signature.get(), &encoded);
  if (size <= 0) return {};
  std::string der(static_cast<const char*>(static_cast<const void*>(encoded)), static_cast<std::size_t>(size));
  OPENSSL_free(encoded);
  return der;
}

}  // namespace

bool verify_signature(std::string_view key_blob, std::string_view signature, std::string_view data, Signatures allowed) {
  WireReader reader(signature);
  const auto name = reader.string(), value = reader.string();
  if (!name || !value || !reader.rest().empty()) return false;
  for (const Algorithm& algorithm : algorithms) {
    if (algorithm.name != *name || algorithm.key_type != key_type(key_blob)) continue;
    if (algorithm.digest == EVP_sha1 && allowed != Signatures::with_sha1) return false;
    const Pkey key = key_of(algorithm, key_blob);
    const DigestContext context(EVP_MD_CTX_new());
    const std::string raw = algorithm.family == Family::ecdsa ? der_of(*value) : std::string(*value);
    if (!key || !context || raw.empty()) return false;
    const EVP_MD* digest = algorithm.digest == nullptr ? nullptr : algorithm.digest();
    if (EVP_DigestVerifyInit(context.get(), nullptr, digest, nullptr, key.get()) != 1) return false;
    return EVP_DigestVerify(context.get(), bytes_of(raw), raw.size(), bytes_of(data), data.size()) == 1;
  }
  return false;
}

}  // namespace kfab::ssh

#include "ssh/host_certificate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "base/clock.hpp"
#include "base/text.hpp"
#include "ssh/codec.hpp"
#include "ssh/public_key.hpp"

namespace kfab::ssh {
namespace {

constexpr std::uint32_t kind_host = 2;
constexpr std::size_t most_principals = 256;   // as OpenSSH

// Which fields of the certificate are the key itself, after the nonce.
struct Kind {
  std::string_view plain, certificate;
  int fields;
};
constexpr std::array kinds{Kind{"ssh-ed25519", "ssh-ed25519-cert-v01@openssh.com", 1},
                           Kind{"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256-cert-v01@openssh.com", 2},
                           Kind{"ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384-cert-v01@openssh.com", 2},
                           Kind{"ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521-cert-v01@openssh.com", 2},
                           Kind{"ssh-rsa", "ssh-rsa-cert-v01@openssh.com", 2}};

const Kind* kind_of(std::string_view certificate) {
  for (const Kind& kind : kinds) {
    if (kind.certificate == certificate) return &kind;
  }
  return nullptr;
}

std::optional<std::uint64_t> read_u64(WireReader& reader) {
  const auto high = reader.u32(), low = reader.u32();
  if (!high || !low) return std::nullopt;
  return std::uint64_t{*high} << 32 | *low;
}

std::string time_text(std::uint64_t seconds) {
  constexpr std::uint64_t year_9999 = 253'402'300'799;
  if (seconds > year_9999) return "for ever";
  return to_rfc3339(Timestamp(std::chrono::seconds(static_cast<std::int64_t>(seconds))));
}

// Names and, where they come in pairs, data that is not looked at.
bool read_list(std::string_view packed, bool pairs, std::vector<std::string>& names) {
  WireReader reader(packed);
  while (!reader.rest().empty()) {
    const auto name = reader.string();
    if (!name || (pairs && !reader.string()) || names.size() == most_principals) return false;
    names.emplace_back(*name);
  }
  return true;
}

}  // namespace

std::string certificate_type(std::string_view plain_type) {
  for (const Kind& kind : kinds) {
    if (kind.plain == plain_type) return std::string(kind.certificate);
  }
  return {};
}

std::string plain_type(std::string_view certificate_type) {
  const Kind* kind = kind_of(certificate_type);
  return kind == nullptr ? std::string() : std::string(kind->plain);
}

bool is_certificate(std::string_view key_blob) { return kind_of(key_type(key_blob)) != nullptr; }

std::optional<HostCertificate> read_certificate(std::string_view blob) {
  WireReader reader(blob);
  const auto type = reader.string(), nonce = reader.string();
  const Kind* kind = type && nonce ? kind_of(*type) : nullptr;
  if (kind == nullptr) return std::nullopt;
  HostCertificate certificate;
  certificate.type = *type;
  put_string(certificate.plain_blob, kind->plain);
  for (int i = 0; i < kind->fields; ++i) {
    const auto field = reader.string();
    if (!field) return std::nullopt;
    put_string(certificate.plain_blob, *field);
  }
  const auto serial = read_u64(reader);
  const auto use = reader.u32();
  const auto key_id = reader.string(), principals = reader.string();
  const auto after = read_u64(reader), before = read_u64(reader);
  const auto critical = reader.string(), extensions = reader.string(), reserved = reader.string(), authority = reader.string();
  if (!serial || !use || !key_id || !principals || !after || !before || !critical || !extensions || !reserved || !authority) return std::nullopt;
  const std::string_view signed_part = blob.substr(0, blob.size() - reader.rest().size());
  const auto signature = reader.string();
  if (!signature || !reader.rest().empty()) return std::nullopt;
  if (!read_list(*principals, false, certificate.principals) || !read_list(*critical, true, certificate.critical)) return std::nullopt;
  certificate.serial = *serial;
  certificate.for_host = *use == kind_host;
  certificate.key_id = *key_id;
  certificate.valid_after = *after;
  certificate.valid_before = *before;
  certificate.authority_blob = *authority;
  // An authority that is itself certified is none: there are no chains.
  certificate.signature_good = !is_certificate(*authority) && verify_signature(*authority, *signature, signed_part);
  return certificate;
}

std::optional<std::string> objection(const HostCertificate& certificate, const std::vector<std::string>& names, std::uint64_t now) {
  if (!certificate.signature_good) return "its signature is not one of the key that it names as its authority";
  if (!certificate.for_host) return "it is for a user, not for a host";
  if (now < certificate.valid_after) return "it is not valid before " + time_text(certificate.valid_after);
  if (now >= certificate.valid_before) return "it was valid until " + time_text(certificate.valid_before);
  if (!certificate.critical.empty()) return fmt::format("it has the critical option {}, which no host certificate can have", one_line(certificate.critical.front(), 60));
  if (certificate.principals.empty()) return "it names no principals, so it would vouch for any machine: sign it again with `ssh-keygen -n NAME,ADDRESS`";
  const auto named = [&](const std::string& principal) { return std::find(names.begin(), names.end(), to_lower(principal)) != names.end(); };
  if (std::any_of(certificate.principals.begin(), certificate.principals.end(), named)) return std::nullopt;
  std::vector<std::string> some(certificate.principals.begin(), certificate.principals.begin() + std::min<std::ptrdiff_t>(4, std::ssize(certificate.principals)));
  return fmt::format("it is for {}{}, not for {}", one_line(join(some, ", ")), some.size() < certificate.principals.size() ? ", ..." : "", one_line(join(names, " or ")));
}

std::string describe(const HostCertificate& certificate) {
  return fmt::format("id '{}', serial {}, signed by {}", one_line(certificate.key_id, 60), certificate.serial, fingerprint(certificate.authority_blob));
}

}  // namespace kfab::ssh

#include "ssh/private_key.hpp"

#include "base/codes/ssh.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "ssh/codec.hpp"

namespace kfab::ssh {
namespace {

constexpr std::size_t max_key_bytes = 64 * 1024;

// What stands between the BEGIN and END lines of `label`, without line breaks; empty when there is no such part.
std::string armoured(std::string_view text, std::string_view label) {
  const std::string begin = "-----BEGIN " + std::string(label) + "-----";
  const std::string end = "-----END " + std::string(label) + "-----";
  const std::size_t from = text.find(begin);
  if (from == std::string_view::npos) return {};
  const std::size_t to = text.find(end, from);
  if (to == std::string_view::npos) return {};
  std::string body;
  for (std::string_view line : split_lines(text.substr(from + begin.size(), to - from - begin.size()))) {
    if (line.find(':') == std::string_view::npos) body += trim(line);   // headers of old PEM have a colon
  }
  return body;
}

Diagnostic unreadable(const std::string& path, std::string_view why) {
  return error(code::ssh_key_unreadable, "cannot use the private key " + one_line(path) + ": " + std::string(why));
}

// OpenSSH's PROTOCOL.key: "openssh-key-v1\0", cipher name, kdf name, kdf options, number of keys, public key...
Status read_openssh(PrivateKey& key, const std::string& body) {
  constexpr std::string_view magic("openssh-key-v1\0", 15);
  const auto bytes = base64_decode(body);
  if (!bytes || !std::string_view(*bytes).starts_with(magic)) return unreadable(key.path, "it is damaged");
  WireReader reader(std::string_view(*bytes).substr(magic.size()));
  const auto cipher = reader.string();
  const auto kdf = reader.string();
  const auto kdf_options = reader.string();
  const auto count = reader.u32();
  const auto blob = reader.string();
  if (!cipher || !kdf || !kdf_options || !count || *count != 1 || !blob) return unreadable(key.path, "it is damaged");
  key.encrypted = *cipher != "none";
  key.public_blob = *blob;
  key.type = key_type(*blob);
  key.signing = SigningKey::from_openssh(*bytes);
  return ok();
}

// PKCS#8 names the algorithm by object identifier near its start; these are the DER forms of the ones in use.
std::string pkcs8_type(const std::string& body) {
  struct Row { std::string_view oid, type; };
  constexpr Row rows[] = {
      {std::string_view("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", 9), "ssh-rsa"},
      {std::string_view("\x2a\x86\x48\xce\x3d\x02\x01", 7), "ecdsa-sha2-nistp256"},
      {std::string_view("\x2b\x65\x70", 3), "ssh-ed25519"},
  };
  const auto der = base64_decode(body);
  if (!der) return {};
  const std::string_view head = std::string_view(*der).substr(0, 40);
  for (const Row& row : rows) {
    if (head.find(row.oid) != std::string_view::npos) return std::string(row.type);
  }
  return {};
}

}  // namespace

bool is_rsa(std::string_view type) { return type == "ssh-rsa"; }

Result<PrivateKey> inspect_private_key(std::string path, std::string text) {
  PrivateKey key;
  key.path = std::move(path);
  if (const std::string body = armoured(text, "OPENSSH PRIVATE KEY"); !body.empty()) {
    KFAB_TRY_VOID(read_openssh(key, body));
  } else if (!armoured(text, "RSA PRIVATE KEY").empty()) {
    key.type = "ssh-rsa";
    key.encrypted = text.find("Proc-Type: 4,ENCRYPTED") != std::string::npos;
  } else if (!armoured(text, "EC PRIVATE KEY").empty()) {
    key.type = "ecdsa-sha2-nistp256";
    key.encrypted = text.find("Proc-Type: 4,ENCRYPTED") != std::string::npos;
  } else if (!armoured(text, "ENCRYPTED PRIVATE KEY").empty()) {
    key.encrypted = true;
  } else if (const std::string pkcs8 = armoured(text, "PRIVATE KEY"); !pkcs8.empty()) {
    key.type = pkcs8_type(pkcs8);
  } else {
    return unreadable(key.path, text.find("ssh-") == 0 ? "it is a public key" : "it holds no private key that kfab knows");
  }
  if (!key.signing && !key.encrypted) key.signing = SigningKey::from_pem(text);
  if (key.signing) {
    key.type = key.signing->type();
    key.public_blob = key.signing->public_blob();
  }
  key.text = std::move(text);
  return key;
}

Result<PrivateKey> load_private_key(const std::string& path) {
  auto text = read_file(path, max_key_bytes);
  if (!text) return unreadable(path, text.error().message);
  KFAB_TRY(key, inspect_private_key(path, std::move(*text)));
  if (key.public_blob.empty()) {
    if (auto pub = read_file(path + ".pub", max_key_bytes)) {
      const auto words = split(std::string(trim(*pub)), ' ');
      if (words.size() >= 2) key.public_blob = base64_decode(words[1]).value_or("");
      if (!key.public_blob.empty()) key.type = key_type(key.public_blob);
    }
  }
  return key;
}

}  // namespace kfab::ssh

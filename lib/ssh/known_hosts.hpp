#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace kfab::ssh {

// One line of a known_hosts file (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").
struct KnownHost {
  enum class Marker { none, revoked, cert_authority };
  Marker marker = Marker::none;
  std::string type;        // "ssh-ed25519"
  std::string blob;        // the public key itself
  std::size_t line = 0;    // from 1
  std::size_t file = 0;    // the caller's number of the file
};

// The name under which a known_hosts file knows a machine: "host", or "[host]:port" when the port is not 22. ASCII
// letters in lower case.
std::string known_hosts_name(std::string_view host, unsigned port);

// Several known_hosts files, read once: plain names are found by hash, patterns with wildcards and negation one by
// one, and the hashed |1| lines, each of which costs an HMAC, only when nothing else matched.
class KnownHosts {
 public:
  // Lines that cannot be read are skipped and counted, as OpenSSH does.
  void add(std::string_view text, std::size_t file = 0);
  // One more line, as it was just stored.
  void add_line(std::string_view line, std::size_t line_number, std::size_t file);

  // The unmarked lines that apply to a name (known_hosts_name): hashed ones only when no other does.
  std::vector<const KnownHost*> find(std::string_view name) const;
  // The @revoked and @cert-authority lines that apply to it, hashed or not.
  std::vector<const KnownHost*> find_marked(std::string_view name) const;
  std::size_t size() const { return entries_.size(); }
  std::size_t skipped() const { return skipped_; }

 private:
  struct Hashed { std::string salt, digest; std::size_t entry; };
  struct Patterns { std::vector<std::string> words; std::size_t entry; };
  void add_names(std::string_view names, std::size_t entry);
  std::vector<const KnownHost*> matching(std::string_view name, bool marked) const;

  std::vector<KnownHost> entries_;
  std::unordered_map<std::string, std::vector<std::size_t>> plain_;
  std::vector<Patterns> patterns_;
  std::vector<Hashed> hashed_;
  std::size_t skipped_ = 0;
};

}  // namespace kfab::ssh

#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ssh/session.hpp"

namespace kfab::ssh {

// The client's half of an SSH key exchange (RFC 4253, RFC 8731, RFC 5656) that goes as far as the server's proof that it
// holds its host key, and no further: nobody logs in, nothing is encrypted. It asks for any type of host key, also
// those that libssh2 cannot: certificates, and RSA keys with SHA-2. Bytes in, bytes out: it knows no socket. Everything
// that a server may send is bounded.
class HostKeyExchange {
 public:
  // The host key algorithms to ask for, best first: types of keys or certificates. "ssh-rsa" stands for every way to
  // prove an RSA key.
  explicit HostKeyExchange(const std::vector<std::string>& types);
  ~HostKeyExchange();
  HostKeyExchange(const HostKeyExchange&) = delete;
  HostKeyExchange& operator=(const HostKeyExchange&) = delete;

  // What is to be sent now; sent() says how much of it was.
  std::string_view output() const;
  void sent(std::size_t count);
  // What came. `again`: more is needed; `done`: host_key() is there and proven; `failed`: why() says why. After done or
  // failed nothing more is read.
  Step feed(std::string_view bytes);

  bool banner_seen() const;
  // The types that the server has, in its order, as the constructor takes them; known once it has said so, also when
  // none is among those asked for.
  const std::vector<std::string>& offered() const;
  bool none_in_common() const;      // failed because the server has no type that was asked for
  const std::string& host_key() const;   // the blob of a key or of a certificate
  const std::string& why() const;        // one line, safe to show

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Every type that a HostKeyExchange can ask for, certificates not included, best first.
const std::vector<std::string>& scannable_types();

}  // namespace kfab::ssh

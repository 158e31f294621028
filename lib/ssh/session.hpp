#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kfab::ssh {

// What a step of something that does not block has to say: it is done; it wants to be called again, with the same
// arguments, when the socket is ready; or it has failed for good.
enum class Step { done, again, failed };

enum class Stream { out, err };

// Signs `data` with a key that lives elsewhere; `again` until the signature is there. The signature is the inner
// blob of RFC 4253 section 6.6, without the name of its algorithm.
using Signer = std::function<Step(std::string_view data, std::string& signature)>;

// What a session can run on instead of a socket of its own: a stream of bytes that somebody else moves.
class Carrier {
 public:
  virtual ~Carrier() = default;
  // As send(2) and recv(2) on a socket that does not block: how many bytes were taken or given, 0 from receive() at the
  // end of the stream, or a negative errno, -EAGAIN for "later".
  virtual long send(const char* bytes, std::size_t count) = 0;
  virtual long receive(char* bytes, std::size_t count) = 0;
  virtual bool over() const = 0;   // nothing comes any more, and nothing is taken
};

// A way through a server to somewhere it can reach (direct-tcpip): a stream of bytes. Belongs to its session, and must
// be gone before it. Its steps are steps of the session.
class DirectChannel {
 public:
  ~DirectChannel();
  DirectChannel(const DirectChannel&) = delete;
  DirectChannel& operator=(const DirectChannel&) = delete;

  // As Session's: `done` with nothing in `got` is the end. `got` stays valid until the next read of any session.
  Step read(std::string_view& got);
  bool readable() const;   // whether something is there already, without asking the socket
  Step write(std::string_view bytes, std::size_t& written);
  Step close();            // tells the server; nothing else may be called after its `done` or `failed`

 private:
  friend class Session;
  struct Impl;
  explicit DirectChannel(std::unique_ptr<Impl>);
  std::unique_ptr<Impl> impl_;
};

// One SSH connection with one channel at a time on a connected, non-blocking socket or on a carrier, neither of which
// it owns and both of which must stay until this is gone. The only place that calls libssh2. Each step is repeated
// until it is not `again`; only one step may be under way at a time.
class Session {
 public:
  static std::unique_ptr<Session> open(int fd);        // null when there is no memory
  static std::unique_ptr<Session> open(Carrier&);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // The host key types this library can ask for, best first.
  static const std::vector<std::string>& host_key_types();
  // Asks for these types before all others; types it does not know are left out.
  void prefer_host_keys(const std::vector<std::string>& types);
  Step handshake();
  bool banner_seen() const;            // true once the server said what it is
  std::string_view host_key() const;   // the blob; after handshake

  Step authenticate(const std::string& user, std::string_view private_key);
  Step authenticate(const std::string& user, std::string_view public_blob, const Signer&);
  // Which methods the server would take, "publickey,password"; empty when it does not say.
  Step list_methods(const std::string& user, std::string& methods);
  bool authenticated() const;

  // A way to `host` and `port` as the server sees them. `failed` without connection_broken(): the server could not, or
  // would not, reach it.
  Step open_direct(const std::string& host, unsigned port, std::unique_ptr<DirectChannel>& channel);

  // A new channel, after the one before was closed.
  Step open_channel();
  Step exec(const std::string& line);
  // Whatever the command wrote on either stream. `got` stays valid until the next read of any session. With `again`
  // nothing is there; `done` with nothing in `got` means that the server said that nothing more comes, and that all
  // that came was read.
  Step read(Stream& which, std::string_view& got);
  // Writes some of `bytes`; `written` says how many, 0 with `again`. After `again` the same bytes are due.
  Step write(std::string_view bytes, std::size_t& written);
  // True after a failed write() or read() when it failed only because the other side is done with this channel.
  bool channel_over() const;
  Step send_eof();
  Step await_close();

  // What the server itself said about the end of the command, never what the library assumes.
  bool close_seen() const;
  std::optional<int> exit_status() const;   // present only when an exit-status message came
  std::string exit_signal() const;          // "KILL"; empty when none came

  // Asks for a sign of life; the answer shows in bytes_received() only. Not while write_pending().
  void send_keepalive();
  std::uint64_t bytes_received() const;

  // Gives the channel back, so that another can be opened; false when the session is of no more use.
  bool close_channel();
  // Says goodbye if that costs no wait.
  void disconnect();

  struct Want { bool read = false, write = false; };
  Want want() const;   // after `again`: for what to wait; neither means to try again soon
  bool write_pending() const { return want().write; }
  // The last error: libssh2's number and words.
  int error_number() const;
  std::string error_text() const;
  bool connection_broken() const;   // the last error says that the peer is gone
  // After a failed handshake: in which algorithms the server and this library have nothing in common (kex_offer.hpp);
  // empty when that is not the reason.
  std::vector<std::string> missing_algorithms() const;

 private:
  struct Impl;
  explicit Session(std::unique_ptr<Impl>);
  std::unique_ptr<Impl> impl_;
};

}  // namespace kfab::ssh
